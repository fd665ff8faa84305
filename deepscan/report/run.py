"""What a report says of a run: its models with their thresholds, and how it was made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepscan.cards import Calibration
from deepscan.errors import ContractError
from deepscan.faces.recipe import CropRecipe
from deepscan.scan.output import Output
from deepscan.scan.runfile import read


@dataclass(frozen=True, slots=True)
class Model:
    """A model as records and their run describe it.

    Attributes:
        name: Of the model.
        facts: How it ran, by name.
        calibration: None for a model without one, or where the run is not described.
        recipe: How it cuts faces out, None where the run is not described.
        not_for: What it must not be used for.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    calibration: Calibration | None = None
    recipe: CropRecipe | None = None
    not_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run.

    Attributes:
        models: By name, none where faces only were found.
        rule: How several models come to one verdict, empty for one.
        facts: What else there is to know, by name.
        notes: What a reader must be told before anything else.
    """

    models: Mapping[str, Model] = field(default_factory=dict)
    rule: str = ""
    facts: Sequence[tuple[str, str]] = ()
    notes: tuple[str, ...] = ()


def read_run(records: Path, first: Mapping[str, Any] | None) -> Run:
    """Return the run that records are of, from `*.run.json` beside them.

    Args:
        records: The journal.
        first: One of its records, None where there is none.

    Raises:
        ContractError: The run's record is there and cannot be read.
    """
    path = Output(records).run
    stated = first or {"model": None, "run": ""}
    models = stated.get("models") or ([stated["model"]] if stated["model"] else [])
    if not path.exists():
        note = (
            f"{path.name}, which describes the run, is not beside the records: thresholds are not known here"
        )
        return Run({each["name"]: _model(each, {}) for each in models}, notes=(note,))
    run = read(path)
    if first is not None and first["run"] != run.get("id"):
        raise ContractError(
            f"{path} describes another run than these records are of", "put the two of one run side by side"
        )
    try:
        return Run(
            {each["name"]: _model(each, _described(run, each["name"])) for each in models},
            (run["model"] or {}).get("rule", ""),
            list(_facts(run)),
            tuple(_notes(run)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{path} does not describe a run as this version does: {error!r}", "scan with this version"
        )


def _described(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    described: Mapping[str, Any] = run["models"][name] if "models" in run else run["model"]
    return described


def _model(each: Mapping[str, Any], described: Mapping[str, Any]) -> Model:
    crop, stated = described.get("crop"), described.get("calibration")
    fitted = Calibration.from_json(stated) if stated else None
    facts = [
        ("method", each["method"]),
        ("ran by", f"{each['engine']} engine, {each['device']}, {each['precision']}"),
        ("weights", each["sha256"]),
        *([("licence", described["license"])] if described else []),
        *([("calibration", f"{fitted.method} on {fitted.n} {fitted.level}s")] if fitted else []),
        *([("rule", fitted.rule)] if fitted else []),
    ]
    return Model(
        each["name"],
        tuple(facts),
        fitted,
        CropRecipe.from_json(crop) if crop else None,
        tuple(described.get("not_for", ())),
    )


def _facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    tool, last = run["tool"], run["sessions"][-1]
    commit = f", commit {tool['commit'][:12]}" if tool.get("commit") else ""
    choice = run.get("choice")
    return [
        ("tool", f"{tool['name']} {tool['version']}{commit}"),
        ("run", run["id"]),
        *([("model chosen", choice["reason"])] if choice else []),
        *((f"command {at}", " ".join(each["command"])) for at, each in enumerate(run["sessions"], start=1)),
        ("in folder", last["folder"] or ""),
        ("begun", run["sessions"][0]["started"]),
        ("ended", last["ended"] or ""),
        ("parameters", json.dumps(run["parameters"])),
        ("face finder", f"{run['faces']['name']}, {run['faces']['device']}"),
        ("machine", "{system}, Python {python}, {cores} cores".format(**last["machine"])),
        ("libraries", ", ".join(f"{name} {version}" for name, version in last["libraries"].items())),
    ]


def _notes(run: Mapping[str, Any]) -> list[str]:
    return (
        [] if run["sessions"][-1]["ended"] else ["the run has not ended: this is what it had written so far"]
    )
