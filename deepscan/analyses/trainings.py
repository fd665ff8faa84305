"""Reads trainings from disk: their recipe, and the metrics of each epoch."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from deepscan.cards import CARD
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.training.recipe import Recipe
from deepscan.training.recipe_files import renamed_value
from deepscan.training.run_files import LAST, LOG, read_metadata

#: Keys of a recipe that may differ between repeats of one training.
REPEAT_KEYS = ("seed",)


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """A training.

    Attributes:
        name: Name of its folder; `MODEL` for `MODEL/run`.
        folder: Its folder.
        recipe: Its recipe; empty if neither a checkpoint nor a card has it.
        history: A row of text for each epoch, as in its log.
        results: The results in its model's card; empty without a card.
    """

    name: str
    folder: Path
    recipe: Mapping[str, Any]
    history: tuple[Mapping[str, str], ...]
    results: tuple[Mapping[str, Any], ...] = ()

    @property
    def select(self) -> str:
        """What chose its best epoch: `auc` or `video_auc`."""
        return str(self.recipe.get("select", "auc"))

    @property
    def seed(self) -> int | None:
        """Its seed, None where that is not known."""
        return self.recipe.get("seed")

    @property
    def best(self) -> int:
        """Position of its best epoch in the history."""
        values = self.curve(self.select)
        return values.index(max(values))

    def curve(self, column: str) -> list[float]:
        """Return a column of its log.

        Raises:
            UsageError: The log has no such column, or a cell of it is no number.
        """
        try:
            return [float(row[column]) for row in self.history]
        except (KeyError, TypeError, ValueError):
            raise UsageError(
                f"{self.folder / LOG} has no column {column} of numbers", "name the folder of a training"
            )

    @property
    def sort(self) -> str:
        """The recipe without its seed, as text: equal for repeats of one training."""
        stated = {key: value for key, value in self.recipe.items() if key not in REPEAT_KEYS}
        return json.dumps(stated, sort_keys=True, default=str) if stated else str(self.folder)

    def figure(self, metric: str, level: str) -> tuple[float, float, float] | None:
        """Return a result of its model's card with the bounds of its interval; None if it has none."""
        for result in self.results:
            if (result.get("metric"), result.get("level")) == (metric, level):
                low, high = result["interval"]
                return float(result["value"]), float(low), float(high)
        return None


def read_training(folder: Path) -> TrainingLog:
    """Return a training.

    Args:
        folder: Its folder, `MODEL/run`, or the model's.

    Raises:
        MissingError: There is no log.
        UsageError: The log is empty.
    """
    run = folder / "run" if (folder / "run" / LOG).is_file() else folder
    path = run / LOG
    if not path.is_file():
        raise MissingError(
            f"there is no {LOG} in {folder}", "name the folder `run` that deepscan train leaves in a model's"
        )
    with path.open(newline="", encoding="utf-8") as file:
        history = tuple(csv.DictReader(file))
    if not history:
        raise UsageError(f"{path} has no epoch", "let the training end one")
    card = _card(run.resolve().parent)
    recipe = _recipe(run / LAST) or (card.get("trained") or {}).get("recipe") or {}
    recipe = {key: renamed_value(key, value) for key, value in recipe.items()}
    resolved = run.resolve()
    return TrainingLog(
        resolved.parent.name if resolved.name == "run" else resolved.name,
        run,
        recipe,
        history,
        tuple(card.get("results") or ()),
    )


def read_trainings(folders: Sequence[Path], fallback: Path | None = None) -> list[TrainingLog]:
    """Return trainings, in the order given.

    Args:
        folders: Their folders.
        fallback: A model's folder, whose own training is taken where none is named.

    Raises:
        MissingError: None is named, or one has no log.
        UsageError: One is named twice, or its log is empty.
    """
    if not folders and fallback is not None and (fallback / "run" / LOG).is_file():
        folders = [fallback]
    if not folders:
        raise MissingError(
            "there is no training to look at", "name the folders of trainings: --run MODEL/run --run ..."
        )
    runs = [read_training(folder) for folder in folders]
    there = [run.folder.resolve() for run in runs]
    for run, place in zip(runs, there, strict=True):
        if there.count(place) > 1:
            raise UsageError(f"{run.folder} is named twice", "name each training once")
    return runs


def _recipe(path: Path) -> Mapping[str, Any]:
    """Return the recipe that a checkpoint states, empty where there is none."""
    if not path.is_file():
        return {}
    try:
        identity = read_metadata(path, "restore the training's folder").get("identity") or {}
    except ContractError as error:
        raise UsageError(error.message, error.hint)
    # Beside its recipe it states the data that it reads.
    known = {item.name for item in fields(Recipe)}
    return {key: value for key, value in identity.items() if key in known}


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        return {}
    stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    return stated if isinstance(stated, dict) else {}
