"""What a report says of a run: its models with their thresholds, and how it was made."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepscan.cards import Calibration
from deepscan.crop_recipe import CropRecipe
from deepscan.error_rates import ErrorRates
from deepscan.errors import ContractError, ExitCode
from deepscan.faces.quality import QualityRule
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.runfile import read

#: Exit codes of scans that came to their end.
WHOLE = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FOUND_FAKE)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as records and their run describe it.

    Attributes:
        name: Of the model.
        facts: How it ran, by name.
        calibration: None for a model without one, or where the run is not described.
        recipe: How it cuts faces out, None where the run is not described.
        not_for: What it must not be used for.
        cautions: What a reader of its verdicts must know of its figures.
        error_rates: How often it errs by its card; None where the run's file does not say.
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
        models: By name, none where faces only were found.
        together: How several models come to one verdict, empty for one.
        quality: Which faces count, None where the run is not described.
        facts: What else there is to know, by name; nothing where the run is not described.
        notes: What a reader must be told before anything else.
        custody: Case, exhibit and examiner, those that were given.
    """

    models: Mapping[str, ModelInfo] = field(default_factory=dict)
    together: str = ""
    quality: QualityRule | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    custody: Mapping[str, str] = field(default_factory=dict)

    def calibration_of(self, name: str = "") -> Calibration | None:
        """Return a model's; without a name that of the only one, None where there are several."""
        if not name and len(self.models) == 1:
            (name,) = self.models
        return self.models[name].calibration if name else None

    @property
    def calibrations(self) -> dict[str, Calibration | None]:
        """The calibration of each model, by name."""
        return {name: model.calibration for name, model in self.models.items()}

    @property
    def described(self) -> bool:
        """Whether the run's own record was there."""
        return bool(self.facts)


def read_run_info(records: Path, first: Mapping[str, Any] | None, count: int) -> RunInfo:
    """Return the run that records are of, from `*.run.json` beside them.

    Args:
        records: The journal.
        first: One of its records, None where there is none.
        count: How many there are.

    Raises:
        ContractError: The run's record is there, and cannot be read or is of another run.
    """
    path = ScanOutput(records).run
    ran = _ran(first) if first else {}
    if not path.exists():
        note = (
            f"{path.name}, which describes the run, is not beside the records: thresholds are not known "
            "here, and scores over time are raw"
        )
        return RunInfo(
            {name: ModelInfo(name, tuple(_engine(one))) for name, one in ran.items()}, notes=(note,)
        )
    run = read(path)
    try:
        if first is not None and first["run"] != run["id"]:
            raise ContractError(
                f"{path} describes another run than these records are of",
                "put the records and the file of one run side by side",
            )
        return _described(run, ran, count)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{path} does not describe a run as this version does: {error!r}", "scan with this version"
        )


def _ran(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what a record says of each model, by name."""
    models = record.get("models") or ([record["model"]] if record["model"] else [])
    return {model["name"]: model for model in models}


def _described(run: Mapping[str, Any], ran: Mapping[str, Mapping[str, Any]], count: int) -> RunInfo:
    one = run["model"]
    several = run.get("models") or ({one["name"]: one} if one else {})
    engines = run.get("engines") or dict.fromkeys(several, run["engine"])
    return RunInfo(
        {name: _model(stated, {**engines[name], **ran.get(name, {})}) for name, stated in several.items()},
        run["model"]["rule"] if len(several) > 1 else "",
        QualityRule(**run["parameters"]["quality"]),
        tuple(_facts(run)),
        tuple(_notes(run["sessions"][-1], count)),
        {name: text for name, text in (run.get("custody") or {}).items() if text},
    )


def _model(stated: Mapping[str, Any], ran: Mapping[str, Any]) -> ModelInfo:
    fitted = Calibration.from_json(stated["calibration"]) if stated["calibration"] else None
    facts = [
        ("method", stated["method"]),
        *_engine(ran),
        ("licence", stated["license"]),
        *([("calibration", f"{fitted.method} on {fitted.n} {fitted.level}s")] if fitted else []),
        *([("rule", fitted.rule)] if fitted else []),
    ]
    return ModelInfo(
        stated["name"],
        tuple(facts),
        fitted,
        CropRecipe.from_json(stated["crop"]),
        tuple(stated["not_for"]),
        tuple(stated.get("cautions", ())),
        tuple(map(ErrorRates.from_json, stated["error_rates"])) if "error_rates" in stated else None,
    )


def _engine(ran: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "ran by", f"{ran.get('engine') or ran['name']} engine, {ran['device']}, {ran['precision']}"
    if "sha256" in ran:
        yield "weights", ran["sha256"]


def _facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tool = run["tool"]
    yield "tool", " ".join(filter(None, (tool["name"], tool["version"], tool["commit"])))
    yield "run", run["id"]
    if records := run.get("records"):
        yield "records", f"{records['count']}, {records['bytes']} bytes, SHA-256 {records['sha256']}"
    if run["choice"]:
        yield "model chosen", run["choice"]["reason"]
    yield "parameters", ", ".join(_settings(run["parameters"]))
    yield "face finder", f"{run['faces']['name']}, {run['faces']['device']}"
    for each in run["sessions"]:
        yield "command", shlex.join(each["command"])
        yield "in folder", each["folder"] or "one that is gone"
        ended = f"to {each['ended']}, exit code {each['exit_code']}" if each["ended"] else "not ended"
        yield "from", f"{each['started']} {ended}"
        yield "machine", "{system}, Python {python}, {cores} cores".format(**each["machine"])
        yield "libraries", ", ".join(f"{name} {version}" for name, version in each["libraries"].items())


def _settings(parameters: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Yield each parameter of a run with its value, in words."""
    for name, value in parameters.items():
        shown = f"{within}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _settings(value, f"{shown} ")
        elif isinstance(value, list):
            yield f"{shown} {' '.join(map(str, value)) or 'none'}"
        else:
            words = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            yield f"{shown} {'none' if words is None else words}"


def _notes(last: Mapping[str, Any], count: int) -> Iterator[str]:
    planned = last["videos"] + last["kept"]
    if last["ended"] is None:
        yield f"the run has not ended: {count} of {planned} videos are here"
    elif last["exit_code"] not in WHOLE or count < planned:
        yield f"the run was cut short: {count} of {planned} videos are here"
