"""What only torch or a GPU's driver tells, and what is said where they are not there."""

import time

import pytest
import torch

from deepscan.analyses.cost.operations import count_flops, weightless_network
from deepscan.bench import accelerator, machine
from deepscan.models.lookup import DEFAULT_MODEL, load_card


def test_the_rate_of_matrix_products_is_measured_or_it_is_said_why_not(monkeypatch):
    rate = accelerator.matmul_rate("cpu", "fp32")
    # Anything that runs torch multiplies at more than 0.1 GFLOP/s and at less than 100 TFLOP/s.
    assert 1e8 < rate < 1e14
    assert "int8" in accelerator.matmul_rate("cpu", "int8")
    if not torch.cuda.is_available():
        assert accelerator.matmul_rate("cuda", "bf16").startswith("torch failed: ")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "not installed" in accelerator.matmul_rate("cpu", "fp32")


def test_torch_that_takes_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(accelerator, "TORCH_TIMEOUT", 0.01)
    assert accelerator.matmul_rate("cpu", "fp32") == "torch was not done after 0.01 s"


def test_operations_are_those_of_the_models_network():
    card = load_card(DEFAULT_MODEL)
    assert accelerator.operations(card.folder) == count_flops(weightless_network(card.method, card.network))


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Return a function that puts a script in nvidia-smi's place, on a machine that seems to have a GPU."""

    def put(script):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        for module in (accelerator, machine):
            monkeypatch.setattr(module, "cuda_devices", lambda: 1)

    return put


def test_a_gpus_load_is_the_mean_of_what_was_seen_since(smi, tmp_path):
    go, until = tmp_path / "go", time.monotonic() + 30
    smi(f"echo 10\nuntil test -e {go}; do sleep 0.05; done\necho 60\necho 80\nexec sleep 60")
    with accelerator.Watch() as watch:
        while watch.busy(0) != 10 and time.monotonic() < until:
            time.sleep(0.02)
        since = time.perf_counter()
        go.touch()
        while watch.busy(0) != 50 and time.monotonic() < until:
            time.sleep(0.02)
    assert (watch.busy(0), watch.busy(since)) == (50, 70)


def test_no_gpu_is_no_load():
    with accelerator.Watch() as watch:
        pass
    assert watch.busy(0) is None


def test_the_machine_names_its_gpus(smi):
    smi("echo 'A GPU, 81559 MiB, 550.1, 700.00 W'")
    assert machine.gpus() == [
        {"name": "A GPU", "memory.total": "81559 MiB", "driver_version": "550.1", "power.limit": "700.00 W"}
    ]


def test_the_machine_is_told_as_json_types():
    told = machine.describe()
    assert told["cores"] >= told["usable_cores"] >= 1
    assert told["memory_gb"] > 0
    assert "pyav" in told["decoders"]
    assert "CPUExecutionProvider" in told["engines"]["onnx"]["available"]
    assert told["libraries"]["numpy"]
