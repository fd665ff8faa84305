"""Which devices this machine has, asked without loading a framework."""

import ctypes
import sys

from deepscan.errors import MissingError, UsageError

DEVICES = ("auto", "cpu", "cuda")
#: What may find faces. There is no `auto`, for nothing says which is quicker until a GPU has been measured.
FACE_DEVICES = ("cpu", "cuda")


def cuda_devices() -> int:
    """Return how many GPUs the CUDA driver shows; 0 where there is no driver."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def gpu_name() -> str:
    """Return what the CUDA driver calls the first GPU.

    Raises:
        MissingError: It shows none.
    """
    driver, name = _driver(), ctypes.create_string_buffer(256)
    if driver is None or driver.cuDeviceGetName(name, len(name), 0) != 0:
        raise MissingError("the CUDA driver shows no GPU", "install the driver, or use --device cpu")
    return name.value.decode()


def _driver() -> ctypes.CDLL | None:
    """Return the CUDA driver, ready to be asked; None where there is none that works."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def resolve(device: str, option: str = "--device") -> str:
    """Return `cpu` or `cuda` for what was asked for.

    Args:
        device: One of `DEVICES`.
        option: By which a user asks, for the messages.

    Raises:
        UsageError: There is no such kind of device.
        MissingError: `cuda` was asked for and no GPU is to be seen.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}", f"choose from: {', '.join(DEVICES)}")
    if device == "auto":
        return "cuda" if cuda_devices() else "cpu"
    if device == "cuda" and not cuda_devices():
        raise MissingError(
            f"{option} cuda: the CUDA driver shows no GPU", f"install the driver, or use {option} cpu"
        )
    return device
