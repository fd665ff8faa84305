"""Description of the machine and the files of a benchmark: processor, memory, GPU, system, libraries."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepscan.devices import cuda_devices, usable_cpus
from deepscan.engines import ENGINES
from deepscan.errors import DeepscanError
from deepscan.media.decoders import DECODERS, installed
from deepscan.media.frames import DecodeReport
from deepscan.versions import libraries, source_commit

#: Fields queried from nvidia-smi.
_GPU = ("name", "memory.total", "driver_version", "power.limit")


def describe() -> dict[str, Any]:
    """Return the machine and its installed software, as JSON types."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cpus(),
        "memory_gb": memory_gb(),
        "gpus": gpus(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "deepscan": source_commit(),
        "libraries": libraries(),
        "decoders": [name for name in DECODERS.names if installed(DECODERS.get(name))],
        "engines": dict(_engines()),
    }


def load_average() -> float:
    """Return the load average of the last minute: the number of running or runnable processes."""
    return round(os.getloadavg()[0], 2)


def processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def memory_gb() -> float:
    """Return the machine's memory in GiB."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def gpus() -> list[dict[str, str]]:
    """Return each GPU's name, memory, driver and power limit from nvidia-smi; empty without a GPU."""
    if not cuda_devices() or shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", f"--query-gpu={','.join(_GPU)}", "--format=csv,noheader"]
    result = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    rows = [[cell.strip() for cell in line.split(",")] for line in result.stdout.splitlines()]
    return [dict(zip(_GPU, row, strict=True)) for row in rows if len(row) == len(_GPU)]


def files(paths: Sequence[bytes], reports: Sequence[DecodeReport]) -> list[dict[str, Any]]:
    """Return a description of each measured file, from the report of its decoding."""
    return [
        {
            "name": os.path.basename(os.fsdecode(path)),
            "bytes": report.size,
            "sampled": report.decoded,
            "decoder": report.decoder,
            **(report.info.to_json() if report.info else {}),
        }
        for path, report in zip(paths, reports, strict=True)
    ]


def _engines() -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    for name in ENGINES.names:
        # torch takes seconds to import, and `libraries` lists its version already.
        if ENGINES.get(name).package == "torch":
            continue
        try:
            yield name, dict(ENGINES.get(name).describe())
        except DeepscanError as error:
            yield name, error.message
