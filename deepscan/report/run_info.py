"""Collect what a page shows of a run: its models with their thresholds, and how it was made."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os.path import basename
from typing import Any

from deepscan.cards import Calibration
from deepscan.crop_recipe import CropRecipe
from deepscan.error_rates import ErrorRates
from deepscan.errors import ContractError, ExitCode
from deepscan.faces.quality import QualityRule
from deepscan.scanning.record_source import ScanRecords

#: Sessions that a page describes: a run on many machines may have thousands.
MOST_SESSIONS = 8
#: Exit codes of scans that ran to the end.
FINISHED = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FOUND_FAKE)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as described by the records and their run.

    Attributes:
        name: Name of the model.
        facts: How it ran, by name.
        calibration: Its calibration, None if it has none or the run is not described.
        recipe: How it crops faces, None if the run is not described.
        not_for: What it must not be used for.
        cautions: What readers of its verdicts must know about its figures.
        error_rates: How often it is wrong according to its card; None if the run's file does not say.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    calibration: Calibration | None = None
    recipe: CropRecipe | None = None
    not_for: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    error_rates: tuple[ErrorRates, ...] | None = None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run.

    Attributes:
        models: Name -> model; empty if the scan only found faces.
        together: How several models come to one verdict, empty for one model.
        quality: Which faces count, None if the run is not described.
        facts: Further facts by name; empty if the run is not described.
        notes: What readers must know first.
        lacks: Those of the notes that say what is missing to read.
        custody: The given entries of case, exhibit and examiner.
    """

    models: Mapping[str, ModelInfo] = field(default_factory=dict)
    together: str = ""
    quality: QualityRule | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    custody: Mapping[str, str] = field(default_factory=dict)

    def calibration_of(self, name: str = "") -> Calibration | None:
        """Return a model's calibration; without a name, the only model's, or None if there are several."""
        if not name and len(self.models) == 1:
            (name,) = self.models
        return self.models[name].calibration if name else None

    @property
    def calibrations(self) -> dict[str, Calibration | None]:
        """The calibration of each model, by name."""
        return {name: model.calibration for name, model in self.models.items()}

    @property
    def described(self) -> bool:
        """Whether the run's file was found."""
        return bool(self.facts)


def read_run_info(records: ScanRecords, first: Mapping[str, Any] | None, count: int) -> RunInfo:
    """Read about the run of some records.

    Args:
        records: The records.
        first: One of the records, None if there are none.
        count: Number of records.

    Raises:
        ContractError: The description of the run exists, but cannot be read or belongs to another run.
    """
    run, path = records.run(), records.run_file
    ran = _ran(first) if first else {}
    if run is None:
        note = (
            f"{basename(path)}, which describes the run, is not next to the records: thresholds, error rates "
            "and parameters are unknown, and scores over time are raw"
        )
        return RunInfo(
            {name: ModelInfo(name, tuple(_engine(entry))) for name, entry in ran.items()},
            notes=(note,),
            lacks=(note,),
        )
    try:
        if first is not None and first["run"] != run["id"]:
            raise ContractError(
                f"{path} belongs to another run than the records",
                "put the records next to the run file of the same run",
            )
        return _described(run, ran, tuple(_notes(run, count, records.unfinished())))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{path} was not written by this version of deepscan: {error!r}",
            "scan again with this version",
        )


def _ran(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return a record's entry of each model, by name."""
    models = record.get("models") or ([record["model"]] if record["model"] else [])
    return {model["name"]: model for model in models}


def _described(
    run: Mapping[str, Any], ran: Mapping[str, Mapping[str, Any]], notes: tuple[str, ...]
) -> RunInfo:
    model = run["model"]
    models = run.get("models") or ({model["name"]: model} if model else {})
    engines = run.get("engines") or dict.fromkeys(models, run["engine"])
    return RunInfo(
        {name: _model(entry, {**engines[name], **ran.get(name, {})}) for name, entry in models.items()},
        model["rule"] if len(models) > 1 else "",
        QualityRule(**run["parameters"]["quality"]),
        tuple(_facts(run)),
        notes,
        notes if "manifest" in run else (),
        {name: text for name, text in (run.get("custody") or {}).items() if text},
    )


def _model(entry: Mapping[str, Any], ran: Mapping[str, Any]) -> ModelInfo:
    fitted = Calibration.from_json(entry["calibration"]) if entry["calibration"] else None
    facts = [
        ("method", entry["method"]),
        *_engine(ran),
        ("license", entry["license"]),
        *([("calibration", f"{fitted.method} on {fitted.n} {fitted.level}s")] if fitted else []),
        *([("rule", fitted.rule)] if fitted else []),
    ]
    return ModelInfo(
        entry["name"],
        tuple(facts),
        fitted,
        CropRecipe.from_json(entry["crop"]),
        tuple(entry["not_for"]),
        tuple(entry.get("cautions", ())),
        tuple(map(ErrorRates.from_json, entry["error_rates"])) if "error_rates" in entry else None,
    )


def _engine(ran: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "engine", f"{ran.get('engine') or ran['name']}, {ran['device']}, {ran['precision']}"
    if "sha256" in ran:
        yield "weights", ran["sha256"]


def _facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tool = run["tool"]
    yield "tool", " ".join(filter(None, (tool["name"], tool["version"], tool["commit"])))
    yield "run", run["id"]
    if records := run.get("records"):
        yield "records", f"{records['count']}, {records['bytes']} bytes, SHA-256 {records['sha256']}"
    if run["choice"]:
        yield "choice of model", run["choice"]["reason"]
    yield "parameters", ", ".join(_settings(run["parameters"]))
    yield "face finder", f"{run['faces']['name']}, {run['faces']['device']}"
    sessions = run["sessions"]
    if len(sessions) > MOST_SESSIONS:
        yield "sessions", f"{len(sessions):,}; these are the first {MOST_SESSIONS}"
    for session in sessions[:MOST_SESSIONS]:
        yield "command", shlex.join(session["command"])
        yield "in folder", session["folder"] or "one that no longer existed"
        end = f"to {session['ended']}, exit code {session['exit_code']}" if session["ended"] else "not ended"
        yield "from", f"{session['started']} {end}"
        yield "machine", "{system}, Python {python}, {cores} cores".format(**session["machine"])
        yield "libraries", ", ".join(f"{name} {version}" for name, version in session["libraries"].items())


def _settings(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield each parameter of a run with its value, as text."""
    for name, value in parameters.items():
        shown = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _settings(value, f"{shown} ")
        elif isinstance(value, list):
            yield f"{shown} {' '.join(map(str, value)) or 'none'}"
        else:
            text = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            yield f"{shown} {'none' if text is None else text}"


def _notes(run: Mapping[str, Any], count: int, unfinished: str) -> Iterator[str]:
    if "manifest" in run:
        rows = run["manifest"]["rows"]
        if unfinished or count < rows:
            yield unfinished or f"the run was not complete: {count:,} of its {rows:,} videos are on this page"
        return
    last = run["sessions"][-1]
    planned = last["videos"] + last["kept"]
    if last["ended"] is None:
        yield f"the run has not ended: {count} of {planned} videos are on this page"
    elif last["exit_code"] not in FINISHED or count < planned:
        yield f"the run was interrupted: {count} of {planned} videos are on this page"
