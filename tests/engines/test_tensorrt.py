"""The TensorRT engine without a GPU: identity, cache, checks and errors."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from deepscan import devices
from deepscan.engines import tensorrt as module
from deepscan.engines.tensorrt import (
    IDENTITY_FILE,
    MOST,
    Identity,
    is_checked,
    provider_options,
    write_identity,
)
from deepscan.errors import ContractError, ExitCode, MissingError, UsageError
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.offline import import_onnxruntime
from deepscan.onnx_session import open_session
from tests.engines import running

BUILT = Identity("weights", "a GPU", "10.1", "1.30", "fp16")


@pytest.fixture
def built(tmp_path):
    (tmp_path / "one.engine").write_bytes(b"built")
    write_identity(tmp_path, BUILT)
    return tmp_path


def test_a_checked_engine_is_used_again(built):
    assert is_checked(built, BUILT)


@pytest.mark.parametrize("field", [item.name for item in dataclasses.fields(Identity)])
def test_any_other_field_gives_another_folder_and_is_refused_in_this_one(built, field):
    other = dataclasses.replace(BUILT, **{field: "another"})
    assert other.key != BUILT.key
    with pytest.raises(ContractError, match="another model or version"):
        is_checked(built, other)


def test_an_engine_that_has_changed_since_is_refused(built):
    (built / "one.engine").write_bytes(b"other")
    with pytest.raises(ContractError, match="not the one that was checked"):
        is_checked(built, BUILT)
    (built / IDENTITY_FILE).write_text("{}")
    with pytest.raises(ContractError, match="cannot be read"):
        is_checked(built, BUILT)


def test_an_engine_that_has_not_passed_the_check_is_built_again(built):
    (built / IDENTITY_FILE).unlink()
    assert not is_checked(built, BUILT)
    assert not list(built.glob("*.engine"))


def test_the_provider_options_have_shapes_precision_and_folder(tmp_path):
    options = provider_options(tmp_path, "bf16", {"crops": np.zeros((8, 3, 32, 32))})
    assert options["trt_profile_min_shapes"] == "crops:1x3x32x32"
    assert options["trt_profile_max_shapes"] == f"crops:{MOST}x3x32x32"
    assert (options["trt_bf16_enable"], options["trt_fp16_enable"]) == (True, False)
    assert options["trt_layer_norm_fp32_fallback"]
    assert options["trt_engine_cache_path"] == str(tmp_path)


class Session:
    """A session that returns the CPU's scores plus a shift and writes an engine into the cache."""

    def __init__(self, path, options, shift):
        self.inner, self.shift, self.batches = open_session(path), shift, []
        self.folder = module.Path(options["trt_engine_cache_path"])

    def get_providers(self):
        return [module.PROVIDER, "CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_outputs(self):
        return self.inner.get_outputs()

    def run(self, names, inputs):
        (self.folder / "built.engine").write_bytes(b"engine")
        self.batches.append(len(inputs["crops"]))
        values = self.inner.run(names, inputs)
        return [
            value + self.shift * (name == "probability") for name, value in zip(names, values, strict=True)
        ]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Simulate a machine with a GPU and TensorRT, with a configurable shift of its scores."""
    machine = SimpleNamespace(shift=0.0)

    def open_simulated(path, *, device="cpu", threads=None, provider=None):
        return open_session(path) if provider is None else Session(path, provider[1], machine.shift)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.1"))
    monkeypatch.setattr(import_onnxruntime(), "get_available_providers", lambda: [module.PROVIDER])
    monkeypatch.setattr(devices, "cuda_devices", lambda: 1)
    monkeypatch.setattr(module, "gpu_name", lambda: "a GPU")
    monkeypatch.setattr(module, "open_session", open_simulated)
    return machine


def engine(card, **options):
    return running.engine(card, "tensorrt", **{"device": "auto", **options})


@pytest.mark.slow
def test_large_batches_are_split_into_the_largest_size_it_was_built_for(gpu):
    card = load_card(DEFAULT_MODEL)
    built = engine(card)
    built._session.batches.clear()
    side = card.crop.input_side
    crops = np.random.default_rng(0).normal(size=(MOST + 3, 3, side, side)).astype(np.float32)
    outputs = built.run({"crops": crops})
    assert built._session.batches == [MOST, 3]
    expected = open_session(card.path("onnx")).run(["probability"], {"crops": crops})[0]
    # The same runtime in other batches.
    np.testing.assert_allclose(outputs["probability"], expected, atol=1e-5)
    assert (built.device, built.precision, built.providers[0]) == ("cuda", "fp32", module.PROVIDER)


def test_an_engine_is_checked_once_and_one_that_fails_is_not_kept(gpu):
    card = load_card(DEFAULT_MODEL)
    assert engine(card)._session.batches, "the first use must compare scores"
    assert not engine(card)._session.batches, "the second must not"
    gpu.shift = 0.01
    engine(card, precision="fp16")  # another engine, within the tolerance of half precision
    with pytest.MonkeyPatch.context() as other:
        other.setattr(module, "gpu_name", lambda: "another GPU")
        for _ in range(2):
            with pytest.raises(ContractError, match="in fp32, at most"):
                engine(card)


def test_a_missing_gpu_or_package_is_an_error_with_exit_code_5(monkeypatch):
    card = load_card(DEFAULT_MODEL)
    with pytest.raises(UsageError, match="not run on a CPU"):
        engine(card, device="cpu")
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    with pytest.raises(MissingError, match="GPU"):
        engine(card, device="cuda")
    monkeypatch.setattr(devices, "cuda_devices", lambda: 1)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingError, match="TensorRT") as caught:
        engine(card)
    assert caught.value.exit_code == ExitCode.MISSING
    assert "pip install" in caught.value.hint


def test_a_provider_that_does_not_start_is_an_error():
    path = load_card(DEFAULT_MODEL).path("onnx")
    with pytest.raises((MissingError, ContractError)):
        open_session(path, provider=(module.PROVIDER, {}))
