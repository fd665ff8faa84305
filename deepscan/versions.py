"""The versions of deepscan's source and of the packages it uses."""

import importlib.metadata
import subprocess
from pathlib import Path

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
    """Return the version of an installed package, or None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def libraries() -> dict[str, str]:
    """Return the version of each installed library that a scan may use."""
    return {name: version for name in LIBRARIES if (version := installed_version(name))}


def source_commit() -> str | None:
    """Return the commit of the git checkout that deepscan runs from, or None outside a checkout."""
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
