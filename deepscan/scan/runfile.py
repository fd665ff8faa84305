"""The run's record, `*.run.json` beside the journal: all that decided the outcome, and when it ran."""

import importlib.metadata
import json
import os
import platform
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import deepscan
from deepscan.cards import ModelCard
from deepscan.errors import ContractError
from deepscan.scan.options import ScanOptions
from deepscan.scan.records import utc_now
from deepscan.scan.scorer import Scorer

LIBRARIES = (
    "numpy",
    "scipy",
    "opencv-python-headless",
    "av",
    "decord",
    "onnxruntime-gpu",
    "onnxruntime",
    "torch",
)
#: What a resumed run must share with the run that it goes on with. Its time limit may differ: it decides
#: which videos end as `timeout`, not what is said of the others.
BINDING = ("tool", "parameters", "model", "faces", "engine")
FREE_PARAMETERS = frozenset({"timeout"})


def run_path(out: Path) -> Path:
    """Return where the run of an output file is described.

    It carries the output's name, so that two scans into one folder do not overwrite each other's.
    """
    return out.with_name(out.stem + ".run.json")


def describe(
    options: ScanOptions, scorer: Scorer | None, faces: ModelCard, *, frame_buffer: str, workers: int
) -> dict[str, Any]:
    """Return a new run's record, without sessions.

    Args:
        options: The scan's parameters.
        scorer: The detector, None without one.
        faces: Card of the face finder.
        frame_buffer: Where frames cross from the decoders: `memfd` or `file`.
        workers: How many decoders run at once.
    """
    return {
        "schema": 1,
        "id": uuid.uuid4().hex[:12],
        "tool": {"name": "deepscan", "version": deepscan.__version__, "commit": _commit()},
        "parameters": json.loads(json.dumps(options.to_json())),
        "model": scorer and _model(scorer.card),
        "faces": _model(faces),
        "engine": scorer and dict(scorer.describe()),
        "seed": None,  # nothing in a scan is drawn at random
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "nvidia_driver": _nvidia_driver(),
        },
        "decoding": {"workers": workers, "frame_buffer": frame_buffer},
        "sessions": [],
    }


def begin(run: dict[str, Any], command: Sequence[str], *, videos: int, kept: int, timeout: float) -> None:
    """Add a session that starts now.

    Args:
        run: The run's record; changed in place.
        command: The command line.
        videos: How many videos it is to scan.
        kept: How many records of earlier sessions stand.
        timeout: Seconds a video, which may differ from session to session.
    """
    session = {
        "command": list(command),
        "folder": str(Path.cwd()),
        "started": utc_now(),
        "ended": None,
        "exit_code": None,
        "videos": videos,
        "kept": kept,
        "timeout": timeout,
    }
    run["sessions"].append(session)


def end(run: dict[str, Any], exit_code: int | None) -> None:
    """Close the last session of a run's record with the exit code that it ends with; changed in place."""
    run["sessions"][-1] |= {"ended": utc_now(), "exit_code": exit_code}


def write(run: Mapping[str, Any], path: Path) -> None:
    """Write a run's record whole, or not at all."""
    fresh = path.with_name(path.name + ".part")
    fresh.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Return a run's record.

    Raises:
        ContractError: It is not there or cannot be read.
    """
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{path}, which describes the run, cannot be read: {error}",
            "start anew: name another file with --out, or give --overwrite",
        )
    return run


def check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Make sure that a run may be gone on with.

    Raises:
        ContractError: Something that decides the outcome differs; the message names what.
    """
    differing = []
    for part in BINDING:
        before, now = old.get(part) or {}, new.get(part) or {}
        differing += [
            f"{part}.{key} was {before.get(key)!r}, is {now.get(key)!r}"
            for key in sorted({*before, *now} - FREE_PARAMETERS)
            if before.get(key) != now.get(key)
        ]
    if differing:
        raise ContractError(
            f"the run was begun otherwise: {'; '.join(differing[:4])}",
            "repeat the first command with --resume, or start anew with another --out or --overwrite",
        )


def _model(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "method": card.method,
        "license": card.license,
        "files": {kind: file.sha256 for kind, file in card.files.items()},
        "crop": card.crop and card.crop.to_json(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    checkout = Path(deepscan.__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


def _nvidia_driver() -> str | None:
    version = Path("/sys/module/nvidia/version")
    return version.read_text().strip() if version.is_file() else None
