"""The devices of this machine, found without loading a framework."""

import ctypes
import sys

from deepscan.errors import MissingError, UsageError

DEVICES = ("auto", "cpu", "cuda")
#: Devices for finding faces. `auto` is missing until a measurement shows whether a GPU is faster.
FACE_DEVICES = ("cpu", "cuda")


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
