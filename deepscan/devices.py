"""The devices of this machine and this process's share of them, found without loading a framework."""

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from deepscan.errors import MissingError, UsageError

DEVICES = ("auto", "cpu", "cuda")
#: Devices for finding faces. `auto` is missing until a measurement shows whether a GPU is faster.
FACE_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Budget:
    """The share of a machine that a scan may use.

    Attributes:
        cpus: Number of CPUs, at least 1.
        gpus: Number of GPUs, 0 or more.
    """

    cpus: int
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ValueError(f"cpus must be at least 1, not {self.cpus}")
        if self.gpus < 0:
            raise ValueError(f"gpus must not be negative, not {self.gpus}")

    @classmethod
    def here(cls, device: str = "auto") -> Self:
        """Return the budget of this process.

        Args:
            device: One of `DEVICES`; with `cpu`, the driver is not loaded and no GPU is counted.
        """
        return cls(usable_cpus(), 0 if device == "cpu" else cuda_devices())

    @property
    def threads(self) -> int | None:
        """Threads of a session: None with all CPUs of the machine, so that the library decides.

        ONNX Runtime then takes one per physical core, and pins them. It knows neither affinity nor quota.
        """
        return None if self.cpus >= (os.cpu_count() or 1) else self.cpus


def usable_cpus() -> int:
    """Return how many CPUs this process may use, by its affinity and the quotas of its control groups.

    A quota of one and a half CPUs counts as two. `os.cpu_count` would give all CPUs of the host, in a
    container too.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def cgroup_quota(process: Path = Path("/proc/self")) -> float | None:
    """Return the CPUs that control groups (version 1 or 2) allow a process, None if they set no limit.

    The limit of a group applies to those below it, so the lowest of all counts.

    Args:
        process: The process's folder in `/proc`.
    """
    return min((quota for folder in _cgroup_folders(process) for quota in _quotas(folder)), default=None)


def usable_memory(process: Path = Path("/proc/self")) -> int:
    """Return the bytes of memory that a process may use: those of the machine, or fewer in a control group.

    Args:
        process: The process's folder in `/proc`.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _cgroup_folders(process, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # without a limit, version 2 has "max"
                limits.append(int((folder / name).read_text()))
    return min(limits)


def _cgroup_folders(process: Path, controller: str = "cpu") -> Iterator[Path]:
    """Yield the folders of the control groups that may limit a process's CPU time, or its memory."""
    try:
        groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    except OSError:
        return
    for mount in mounts:
        # Root and mount point are before the dash; type, source and options of the file system after it.
        dash = mount.index("-")
        root, point, kind, options = mount[3], mount[4], mount[dash + 1], mount[dash + 3].split(",")
        for _, controllers, path in groups:
            first, second = kind == "cgroup" and controller in options, kind == "cgroup2"
            if not ((first and controller in controllers.split(",")) or (second and not controllers)):
                continue
            folder = Path(point)
            yield folder
            # In a container the mount may begin at the container's own group, or the path be hidden.
            group = PurePosixPath(path)
            for part in group.relative_to(root).parts if group.is_relative_to(root) else ():
                folder /= part
                yield folder


def _quotas(folder: Path) -> Iterator[float]:
    """Yield the limit that a control group sets, in CPUs, if it sets one."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            # Without a limit, version 2 has "max" and version 1 has -1.
            if quota != "max" and int(quota) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue


def cuda_devices() -> int:
    """Return the number of GPUs that the CUDA driver reports; 0 without a driver."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def gpu_name() -> str:
    """Return the name of the first GPU.

    Raises:
        MissingError: The CUDA driver reports no GPU.
    """
    driver, name = _driver(), ctypes.create_string_buffer(256)
    if driver is None or driver.cuDeviceGetName(name, len(name), 0) != 0:
        raise MissingError("the CUDA driver reports no GPU", "install the NVIDIA driver, or use --device cpu")
    return name.value.decode()


def _driver() -> ctypes.CDLL | None:
    """Return the initialised CUDA driver, or None if there is none that works."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def resolve(device: str, option: str = "--device") -> str:
    """Return `cpu` or `cuda` for a device that may be `auto`.

    Args:
        device: One of `DEVICES`.
        option: Name of the command-line option, for messages.

    Raises:
        UsageError: The device is not one of `DEVICES`.
        MissingError: The device is `cuda`, and the CUDA driver reports no GPU.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}", f"choose from: {', '.join(DEVICES)}")
    if device == "auto":
        return "cuda" if cuda_devices() else "cpu"
    if device == "cuda" and not cuda_devices():
        raise MissingError(
            f"{option} cuda: the CUDA driver reports no GPU",
            f"install the NVIDIA driver, or use {option} cpu",
        )
    return device
