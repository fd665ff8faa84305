"""Matrix product rates and GPU load, and the reasons given where torch or a GPU is missing."""

import time

import pytest
import torch

from deepscan.analyses.cost.operations import count_flops, weightless_network
from deepscan.bench import accelerator, machine
from deepscan.models.lookup import DEFAULT_MODEL, load_card


@pytest.mark.slow
def test_matmul_rate_is_measured_or_gives_a_reason(monkeypatch):
    rate = accelerator.matmul_rate("cpu", "fp32")
    # Any machine with torch reaches more than 0.1 GFLOP/s and less than 100 TFLOP/s.
    assert 1e8 < rate < 1e14
    assert "int8" in accelerator.matmul_rate("cpu", "int8")
    if not torch.cuda.is_available():
        assert accelerator.matmul_rate("cuda", "bf16").startswith("torch failed: ")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "not installed" in accelerator.matmul_rate("cpu", "fp32")


def test_torch_times_out(monkeypatch):
    monkeypatch.setattr(accelerator, "TORCH_TIMEOUT", 0.01)
    assert accelerator.matmul_rate("cpu", "fp32") == "torch did not finish within 0.01 s"


@pytest.mark.slow
def test_operations_are_counted_on_the_models_network():
    card = load_card(DEFAULT_MODEL)
    assert accelerator.operations(card.folder) == count_flops(weightless_network(card.method, card.network))


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Return a function that replaces nvidia-smi with a script, on a machine that appears to have a GPU."""

    def put(script):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        for module in (accelerator, machine):
            monkeypatch.setattr(module, "cuda_devices", lambda: 1)

    return put


def test_gpu_load_is_the_mean_since_a_point_in_time(smi, tmp_path):
    go, deadline = tmp_path / "go", time.monotonic() + 30
    smi(f"echo 10\nuntil test -e {go}; do sleep 0.05; done\necho 60\necho 80\nexec sleep 60")
    with accelerator.GpuMonitor() as monitor:
        while monitor.busy(0) != 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        since = time.perf_counter()
        go.touch()
        while monitor.busy(0) != 50 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert (monitor.busy(0), monitor.busy(since)) == (50, 70)


def test_load_is_unknown_without_a_gpu():
    with accelerator.GpuMonitor() as monitor:
        pass
    assert monitor.busy(0) is None


def test_gpus_are_described(smi):
    smi("echo 'A GPU, 81559 MiB, 550.1, 700.00 W'")
    assert machine.gpus() == [
        {"name": "A GPU", "memory.total": "81559 MiB", "driver_version": "550.1", "power.limit": "700.00 W"}
    ]


def test_the_machine_is_described_in_json_types():
    description = machine.describe()
    assert description["cores"] >= description["usable_cores"] >= 1
    assert description["memory_gb"] > 0
    assert "pyav" in description["decoders"]
    assert "CPUExecutionProvider" in description["engines"]["onnx"]["available"]
    assert description["libraries"]["numpy"]
