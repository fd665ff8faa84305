"""What only torch or a GPU's driver tells: the rate of bare matrix products, a network's operations, load."""

import importlib.util
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from deepscan.devices import cuda_devices

#: Milliseconds between two looks at a GPU.
EVERY = 200
#: Precision of an engine -> type in which torch multiplies; a precision without one has no rate.
TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
#: Side of the matrices, by device: large enough for the full rate, small enough for seconds.
SIDES = {"cpu": 2048, "cuda": 8192}
#: Seconds that torch may take for either.
TORCH_TIMEOUT = 600
#: Each is run by a Python of its own, for torch would take memory and threads from what is measured.
_RATE = """
import sys, time, torch
device, kind, side = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3])
torch.backends.cuda.matmul.allow_tf32 = False
one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
settle = torch.cuda.synchronize if device == "cuda" else lambda: None
best = float("inf")
for _ in range(8):
    settle()
    begun = time.perf_counter()
    one @ other
    settle()
    best = min(best, time.perf_counter() - begun)
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
    """Return the operations per second of a large matrix product by torch, or why it was not measured.

    Args:
        device: `cpu` or `cuda`.
        precision: Of the network whose rate is held against it.
    """
    if precision not in TYPES:
        return f"no rate of matrix products in {precision}"
    return _by_torch(_RATE, device, TYPES[precision], str(SIDES[device]))


def operations(model: Path) -> float | str:
    """Return the operations of the network in a model's folder for a crop, or why they were not counted."""
    return _by_torch(_OPERATIONS, str(model))


class Watch:
    """Looks at the GPUs while the context lasts; sees nothing where nvidia-smi is missing."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def busy(self, since: float) -> float | None:
        """Return for how much of the time since then a kernel ran on the first GPU, in percent.

        Args:
            since: By `time.perf_counter`, in seconds.
        """
        seen = [busy for at, busy in self._seen if at >= since]
        return sum(seen) / len(seen) if seen else None

    def __enter__(self) -> Self:
        if cuda_devices() and shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            self._process = subprocess.Popen(
                [*query, "--id=0", f"--loop-ms={EVERY}"], stdout=subprocess.PIPE, text=True
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
                self._seen.append((time.perf_counter(), float(line)))


def _by_torch(code: str, *arguments: str) -> float | str:
    if importlib.util.find_spec("torch") is None:
        return "needs torch, which is not installed"
    command = [sys.executable, "-c", code, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"torch was not done after {TORCH_TIMEOUT} s"
    if done.returncode:
        return f"torch failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}"
    return float(done.stdout)
