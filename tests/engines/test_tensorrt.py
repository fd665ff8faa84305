"""What surrounds TensorRT, without a GPU: what is built for what, kept, checked, and refused."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from deepscan import devices
from deepscan.engines import tensorrt as module
from deepscan.engines.tensorrt import MOST, STATED, Identity, is_checked, provider_options, write_identity
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


def test_what_was_checked_is_used_again(built):
    assert is_checked(built, BUILT)


@pytest.mark.parametrize("field", [item.name for item in dataclasses.fields(Identity)])
def test_another_of_anything_is_another_engine_and_refused_in_its_place(built, field):
    other = dataclasses.replace(BUILT, **{field: "another"})
    assert other.key != BUILT.key
    with pytest.raises(ContractError, match="something else"):
        is_checked(built, other)


def test_an_engine_that_has_changed_since_is_refused(built):
    (built / "one.engine").write_bytes(b"other")
    with pytest.raises(ContractError, match="not the one that was checked"):
        is_checked(built, BUILT)
    (built / STATED).write_text("{}")
    with pytest.raises(ContractError, match="cannot be read"):
        is_checked(built, BUILT)


def test_what_has_not_passed_the_gate_is_built_anew(built):
    (built / STATED).unlink()
    assert not is_checked(built, BUILT)
    assert not list(built.glob("*.engine"))


def test_the_provider_is_told_shapes_precision_and_place(tmp_path):
    told = provider_options(tmp_path, "bf16", {"crops": np.zeros((8, 3, 32, 32))})
    assert told["trt_profile_min_shapes"] == "crops:1x3x32x32"
    assert told["trt_profile_max_shapes"] == f"crops:{MOST}x3x32x32"
    assert (told["trt_bf16_enable"], told["trt_fp16_enable"]) == (True, False)
    assert told["trt_layer_norm_fp32_fallback"]
    assert told["trt_engine_cache_path"] == str(tmp_path)


class Session:
    """A session that gives the CPU's scores, moved, and leaves an engine where it is told to."""

    def __init__(self, path, told, moved):
        self.inner, self.moved, self.batches = open_session(path), moved, []
        self.folder = module.Path(told["trt_engine_cache_path"])

    def get_providers(self):
        return [module.PROVIDER, "CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_outputs(self):
        return self.inner.get_outputs()

    def run(self, names, inputs):
        (self.folder / "built.engine").write_bytes(b"engine")
        self.batches.append(len(inputs["crops"]))
        values = self.inner.run(names, inputs)
        return [
            value + self.moved * (name == "probability") for name, value in zip(names, values, strict=True)
        ]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine with a GPU and TensorRT, as far as the engine sees; returns what moves its scores."""
    moved = SimpleNamespace(by=0.0, opened=0)

    def opened(path, *, device="cpu", threads=None, provider=None):
        if provider is None:
            return open_session(path)
        moved.opened += 1
        return Session(path, provider[1], moved.by)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.1"))
    monkeypatch.setattr(import_onnxruntime(), "get_available_providers", lambda: [module.PROVIDER])
    monkeypatch.setattr(devices, "cuda_devices", lambda: 1)
    monkeypatch.setattr(module, "gpu_name", lambda: "a GPU")
    monkeypatch.setattr(module, "open_session", opened)
    return moved


def engine(card, **asked):
    return running.engine(card, "tensorrt", **{"device": "auto", **asked})


def test_it_runs_in_parts_that_it_was_built_for(gpu):
    card = load_card(DEFAULT_MODEL)
    built = engine(card)
    built._session.batches.clear()
    side = card.crop.input_side
    crops = np.random.default_rng(0).normal(size=(MOST + 3, 3, side, side)).astype(np.float32)
    found = built.run({"crops": crops})
    assert built._session.batches == [MOST, 3]
    expected = open_session(card.path("onnx")).run(["probability"], {"crops": crops})[0]
    # the same runtime, in other batches
    np.testing.assert_allclose(found["probability"], expected, atol=1e-5)
    assert (built.device, built.precision, built.providers[0]) == ("cuda", "fp32", module.PROVIDER)


def test_an_engine_is_checked_once_and_one_that_fails_is_not_kept(gpu):
    card = load_card(DEFAULT_MODEL)
    assert engine(card)._session.batches, "compared before it is used"
    assert not engine(card)._session.batches, "and not again"
    gpu.by = 0.01
    engine(card, precision="fp16")  # within what half precision is allowed, and an engine of its own
    with pytest.MonkeyPatch.context() as other:
        other.setattr(module, "gpu_name", lambda: "another GPU")
        for _ in range(2):
            with pytest.raises(ContractError, match="in fp32, allowed"):
                engine(card)


def test_what_is_not_there_is_told_with_exit_code_5(monkeypatch):
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


def test_a_provider_that_does_not_start_is_not_replaced():
    path = load_card(DEFAULT_MODEL).path("onnx")
    with pytest.raises((MissingError, ContractError)):
        open_session(path, provider=(module.PROVIDER, {}))
