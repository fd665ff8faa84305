"""Matrix product rates and operation counts from torch, and GPU load from the driver."""

import importlib.util
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from deepscan.devices import cuda_devices

#: Interval between two readings of the GPU load, in milliseconds.
POLL_MS = 200
#: Precision of an engine -> dtype of the torch matrix product; other precisions are not measured.
TORCH_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
#: Side of the square matrices, by device: large enough for the full rate, small enough to take seconds.
MATRIX_SIDES = {"cpu": 2048, "cuda": 8192}
#: Time limit of each script in seconds.
TORCH_TIMEOUT = 600
#: Scripts for a separate Python process, since torch would take memory and threads from what is measured.
_RATE = """
import sys, time, torch
device, kind, side = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3])
torch.backends.cuda.matmul.allow_tf32 = False
left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
settle = torch.cuda.synchronize if device == "cuda" else lambda: None
best = float("inf")
for _ in range(8):
    settle()
    started = time.perf_counter()
    left @ right
    settle()
    best = min(best, time.perf_counter() - started)
print(2 * side**3 / best)
"""
_OPERATIONS = """
import sys
from deepscan.models.lookup import load_card
from deepscan.analyses.cost.operations import count_flops, weightless_network
card = load_card(sys.argv[1])
print(count_flops(weightless_network(card.method, card.network)))
"""


def matmul_rate(device: str, precision: str) -> float | str:
    """Measure a large matrix product in torch.

    Args:
        device: `cpu` or `cuda`.
        precision: Precision of the network that is compared with it.

    Returns:
        Operations per second, or the reason why it was not measured.
    """
    if precision not in TORCH_DTYPES:
        return f"matrix products are not measured in {precision}"
    return _run_torch(_RATE, device, TORCH_DTYPES[precision], str(MATRIX_SIDES[device]))


def operations(model: Path) -> float | str:
    """Return the operations per crop of the network in a model folder, or why they were not counted."""
    return _run_torch(_OPERATIONS, str(model))


class GpuMonitor:
    """Context manager that samples the load of the first GPU; it has no samples without nvidia-smi."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def busy(self, since: float) -> float | None:
        """Return the share of the time in which a kernel ran on the first GPU, in percent; None if unknown.

        Args:
            since: Start of the period, as a value of `time.perf_counter`, in seconds.
        """
        samples = [busy for at, busy in self._samples if at >= since]
        return sum(samples) / len(samples) if samples else None

    def __enter__(self) -> Self:
        if cuda_devices() and shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            self._process = subprocess.Popen(
                [*query, "--id=0", f"--loop-ms={POLL_MS}"], stdout=subprocess.PIPE, text=True
            )
            self._thread = threading.Thread(target=self._read, args=(self._process,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._process is not None and self._thread is not None:
            self._process.terminate()
            self._thread.join(5)
            self._process.wait(5)

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                self._samples.append((time.perf_counter(), float(line)))


def _run_torch(code: str, *arguments: str) -> float | str:
    if importlib.util.find_spec("torch") is None:
        return "needs torch, which is not installed"
    command = [sys.executable, "-c", code, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"torch did not finish within {TORCH_TIMEOUT} s"
    if done.returncode:
        return f"torch failed: {(done.stderr.strip().splitlines() or ['no error message'])[-1]}"
    return float(done.stdout)
