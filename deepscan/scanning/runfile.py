"""Write and read the run's record, `*.run.json` next to the journal: what decided the outcome, and when."""

import hashlib
import json
import os
import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepscan.cards import sha256_of
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError, UsageError
from deepscan.faces.face_filter import FaceFilter
from deepscan.faces.finder import FaceFinder, describe_finder
from deepscan.faces.looks import Looks
from deepscan.files import atomic_write
from deepscan.models.choice import Choice
from deepscan.scanning.fusion import FUSED, RULE, fused_name
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.record_lines import utc_now
from deepscan.scanning.strength import cautions
from deepscan.version import __version__
from deepscan.versions import libraries, source_commit

#: Parts of the record that a resumed run must share with the run it continues.
RESUME_KEYS = ("tool", "parameters", "model", "faces", "face_filter", "looks", "engine")
#: The same for each of several models, by name.
PER_MODEL_KEYS = ("models", "engines")
#: Parameters that may differ. The time limit only decides which videos end as `timeout`. For the model, its
#: engine and the devices, the result of the choice is compared, not what was requested.
FREE_PARAMETERS = ("timeout", "model", "also", "engine", "device", "precision", "faces_device")
#: Keys that may differ. What a model is not for is only information for readers.
IGNORED_KEYS = frozenset(
    {"engine.details", "engine.chosen", "engines.details", "engines.chosen"}
    | {f"{part}.{key}" for part in ("model", "models") for key in ("not_for", "cautions", "error_rates")}
    | {f"parameters.{name}" for name in FREE_PARAMETERS}
)


#: Key of the hash of all other content of a run's record.
OWN_HASH = "own_sha256"
#: Values to assume for runs of earlier versions, which did not have these parameters.
EARLIER_DEFAULTS = {"parameters.evidence": False}


@dataclass(frozen=True, slots=True)
class Custody:
    """Information about the case, for the run's record and the page. No score depends on it.

    Attributes:
        case: Number or name of the case, one line, None if not given.
        exhibit: Number or name of the exhibit, likewise.
        examiner: Name of the examiner, likewise.
    """

    case: str | None = None
    exhibit: str | None = None
    examiner: str | None = None

    def __post_init__(self) -> None:
        for name, text in self.given().items():
            if not text.strip() or not text.isprintable():
                raise UsageError(f"--{name} must be one line of text, not {text!r}", "type it as one line")

    def given(self) -> dict[str, str]:
        """Return the given entries, by name."""
        return {name: text for name, text in asdict(self).items() if text is not None}


def new_id() -> str:
    """Return an identifier for a run, 12 hexadecimal digits."""
    return uuid.uuid4().hex[:12]


def describe(
    options: ScanOptions,
    scorers: Sequence[Scorer],
    finder: FaceFinder,
    choice: Choice | None = None,
    custody: Custody | None = None,
) -> dict[str, Any]:
    """Return a new run's record, without sessions.

    Args:
        options: The scan's parameters.
        scorers: The detectors. With several, the record has `models` and `engines` by name.
        finder: The face finder.
        choice: Why this model was chosen, if none was named.
        custody: Information about the case.
    """
    models = {scorer.card.name: _detector(scorer) for scorer in scorers}
    engines = {scorer.card.name: dict(scorer.describe()) for scorer in scorers}
    several: dict[str, Any] = {}
    model, engine = next(iter(models.values()), None), next(iter(engines.values()), None)
    if len(scorers) > 1:
        model, engine = {"name": fused_name([*models]), "method": FUSED, "rule": RULE}, None
        several = {"models": models, "engines": engines}
    run = {
        "schema": 1,
        "id": new_id(),
        "tool": {"name": "deepscan", "version": __version__, "commit": source_commit()},
        "custody": asdict(custody or Custody()),
        "parameters": options.to_json(),
        "choice": choice and choice.to_json(),
        "model": model,
        "faces": {**describe_finder(finder.mode), "device": finder.device},
        "face_filter": FaceFilter.describe(),
        "looks": Looks.describe(),
        "engine": engine,
        **several,
        "seed": None,  # nothing in a scan is drawn at random
        "sessions": [],
        "records": None,  # see `seal`
    }
    # Through JSON, as if read from a file, so that a resumed run can be compared with it.
    described: dict[str, Any] = json.loads(json.dumps(run))
    return described


def begin(run: dict[str, Any], command: Sequence[str], **facts: Any) -> None:
    """Add a session that starts now on this machine.

    Args:
        run: The run's record; modified in place.
        command: The command line.
        facts: Further entries of the session.
    """
    session = {
        "command": list(command),
        "folder": _folder(),
        "started": utc_now(),
        "ended": None,
        "exit_code": None,
        **facts,
        "libraries": libraries(),
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "nvidia_driver": _nvidia_driver(),
        },
    }
    run["sessions"].append(session)
    run["records"] = None


def end(run: dict[str, Any], exit_code: int | None) -> None:
    """Close the last session of a run's record with its exit code; the record is modified in place."""
    run["sessions"][-1] |= {"ended": utc_now(), "exit_code": exit_code}


def seal(run: dict[str, Any], journal: Path, count: int, table: str | None = None) -> None:
    """Record the hash of a complete journal, so that later changes are noticed.

    Args:
        run: The run's record; modified in place.
        journal: The records.
        count: Number of records.
        table: Name of the file made from them in the same folder, None if there is none.
    """
    size = journal.stat().st_size
    run["records"] = {"count": count, "bytes": size, "sha256": sha256_of(journal), "table": table}


def own_hash(run: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a run's record without that hash, whatever its order and spaces."""
    rest = json.loads(json.dumps({key: value for key, value in run.items() if key != OWN_HASH}))
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode("ascii")).hexdigest()


def is_unchanged(run: Mapping[str, Any]) -> bool:
    """Return whether a run's record matches its own hash, if it has one: earlier versions wrote none."""
    return OWN_HASH not in run or run[OWN_HASH] == own_hash(run)


def require_unchanged(run: Mapping[str, Any], journal: Path) -> None:
    """Check that a run's record and its journal are unchanged, since resuming will replace their hashes.

    Raises:
        ContractError: One of them was changed.
    """
    if not is_unchanged(run):
        raise ContractError(
            f"the file that describes the run of {journal} was edited",
            "restore it, or start a new scan with another --out",
        )
    recorded = run.get("records")
    if recorded and sha256_of(journal) != recorded["sha256"]:
        raise ContractError(
            f"{journal} was changed after its run ended",
            "find the change with deepscan verify and restore it, or start a new scan with another --out",
        )


def write(run: Mapping[str, Any], path: Path) -> None:
    """Write a run's record with its own hash, atomically."""
    with atomic_write(path) as file:
        file.write(content(run))


def content(run: Mapping[str, Any]) -> bytes:
    """Return the content of a run's record, with its own hash."""
    return json.dumps({**run, OWN_HASH: own_hash(run)}, indent=1).encode("ascii") + b"\n"


def read(path: Path) -> dict[str, Any]:
    """Return a run's record.

    Raises:
        ContractError: It is missing, cannot be read, or is not a run's record.
    """
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise _unreadable(str(path), error)


def parse(content: bytes, source: str) -> dict[str, Any]:
    """Return the run's record with this content.

    Args:
        content: The content of its file.
        source: Name of the file, for errors.

    Raises:
        ContractError: It is not a run's record.
    """
    try:
        run = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise _unreadable(source, error)
    if not isinstance(run, dict) or not _is_run(run):
        raise ContractError(
            f"{source} was not written by this version of deepscan", "restore it, or scan again"
        )
    return run


def _unreadable(source: str, error: Exception) -> ContractError:
    return ContractError(
        f"{source}, which describes the run, cannot be read: {error}", "restore it, or scan again"
    )


def _is_run(run: Mapping[str, Any]) -> bool:
    """Return whether a run's record has what all its readers rely on."""
    sealed, sessions = run.get("records"), run.get("sessions", [])
    return (
        bool(run.get("id"))
        and all(isinstance(run.get(part) or {}, dict) for part in ("tool", "custody"))
        and (not sealed or (isinstance(sealed, dict) and {"count", "sha256"} <= sealed.keys()))
        and isinstance(sessions, list)
        and all(
            isinstance(session, dict) and isinstance(session.get("ended") or "", str) for session in sessions
        )
    )


def derived_id(run: Mapping[str, Any], *also: str) -> str:
    """Return an identifier that depends only on what a resumed run must share with a run.

    Args:
        run: The run's record.
        also: What else the identifier depends on.
    """
    bound = json.dumps([sorted(_bound(run), key=lambda entry: entry[0]), *also], sort_keys=True)
    return hashlib.sha256(bound.encode("ascii")).hexdigest()[:12]


def require_compatible(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Check that a run may be continued.

    Raises:
        ContractError: Something that decides the outcome differs. The message names it.
    """
    added = [part for part in RESUME_KEYS if new.get(part) and part not in old]
    before, now = dict(_bound(old)), dict(_bound(dict(new) | dict.fromkeys(added)))
    before = {key: value for key, value in EARLIER_DEFAULTS.items() if key in now} | before
    differing = [f"it was made by a version without {part.replace('_', ' ')}" for part in added]
    differing += [
        _difference(_named(key), before.get(key), now.get(key))
        if key in before or not old.get(key.split(".")[0])
        else f"it was made by a version that did not record {key}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]
    # Custody entries that are not given again are kept.
    custody, given = (old.get("custody") or {}), (new.get("custody") or {})
    differing += [
        f"--{name} was {custody.get(name) or 'not given'}, is {text}"
        for name, text in given.items()
        if text is not None and text != custody.get(name)
    ]
    if differing:
        # Run folders have a manifest, and are never overwritten.
        other = "another --out" if "manifest" in old else "another --out or with --overwrite"
        raise ContractError(
            f"the run was started differently: {'; '.join(differing[:4])}",
            f"restore what differs, or start a new run with {other}",
        )


def typed_option(name: str) -> str:
    """Return a parameter as it is typed, such as `--min-share`."""
    return f"--{name.replace('_', '-')}"


def _difference(name: str, before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        return f"{name} differs"
    return f"{name} was {before!r}, is {now!r}"


def _named(key: str) -> str:
    part, _, name = key.partition(".")
    return typed_option(name) if part == "parameters" else key


def _bound(run: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values that a resumed run must share with a run."""
    for part in RESUME_KEYS:
        for key, value in (run.get(part) or {}).items():
            if f"{part}.{key}" not in IGNORED_KEYS:
                yield f"{part}.{key}", value
    for part in PER_MODEL_KEYS:
        for name, values in (run.get(part) or {}).items():
            yield from (
                (f"{part}.{name}.{key}", value)
                for key, value in values.items()
                if f"{part}.{key}" not in IGNORED_KEYS
            )


def _detector(scorer: Scorer) -> dict[str, Any]:
    """Describe a detector: what decides its scores and verdicts, and what its card says it is not for."""
    card = scorer.card
    return {
        **card.facts(),
        "calibration": card.calibration and card.calibration.to_json(),
        "error_rates": [rates.to_json() for rates in card.error_rates],
        "not_for": list(card.not_for),
        "cautions": cautions(card),
        "evidence": list(scorer.explanation_names),
    }


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _nvidia_driver() -> str | None:
    version = Path("/sys/module/nvidia/version")
    return version.read_text().strip() if version.is_file() else None
