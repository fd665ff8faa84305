"""Which packages are installed, and in which version."""

import importlib.metadata

#: Libraries that a scan may use.
LIBRARIES = (
    "numpy",
    "scipy",
    "opencv-python-headless",
    "av",
    "decord",
    "onnxruntime-gpu",
    "onnxruntime",
    "torch",
    "c2pa-python",
)


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that a scan may use and that are installed."""
    return {name: version for name in LIBRARIES if (version := installed_version(name))}
