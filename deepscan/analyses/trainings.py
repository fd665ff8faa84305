"""Reads trainings from disk: the recipe, and the metrics of each epoch."""

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

#: Keys of a recipe that may differ between repeats of a training.
REPEAT_KEYS = ("seed",)


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """A training read from disk.

    Attributes:
        name: Name of its folder; `MODEL` for `MODEL/run`.
        folder: Its folder.
        recipe: Its recipe; empty if neither a checkpoint nor a card has it.
        history: The rows of its log, one for each epoch, as text.
        results: The results on the model's card; empty without a card.
    """

    name: str
    folder: Path
    recipe: Mapping[str, Any]
    history: tuple[Mapping[str, str], ...]
    results: tuple[Mapping[str, Any], ...] = ()

    @property
    def select(self) -> str:
        """Metric that selected its best epoch: `auc` or `video_auc`."""
        return str(self.recipe.get("select", "auc"))

    @property
    def seed(self) -> int | None:
        """Its seed; None if unknown."""
        return self.recipe.get("seed")

    @property
    def best(self) -> int:
        """Index of its best epoch in the history."""
        values = self.curve(self.select)
        return values.index(max(values))

    def curve(self, column: str) -> list[float]:
        """Return a column of its log.

        Raises:
            UsageError: The log lacks the column, or a cell is not a number.
        """
        try:
            return [float(row[column]) for row in self.history]
        except (KeyError, TypeError, ValueError):
            raise UsageError(
                f"{self.folder / LOG} has no numeric column {column}", "give the folder of a training"
            )

    @property
    def sort(self) -> str:
        """The recipe without its seed, as text; equal for repeats of a training."""
        fields_of_recipe = {key: value for key, value in self.recipe.items() if key not in REPEAT_KEYS}
        return (
            json.dumps(fields_of_recipe, sort_keys=True, default=str)
            if fields_of_recipe
            else str(self.folder)
        )

    def figure(self, metric: str, level: str) -> tuple[float, float, float] | None:
        """Return a result from the model's card with the bounds of its interval; None if there is none."""
        for result in self.results:
            if (result.get("metric"), result.get("level")) == (metric, level):
                low, high = result["interval"]
                return float(result["value"]), float(low), float(high)
        return None


def read_training(folder: Path) -> TrainingLog:
    """Read a training.

    Args:
        folder: Its folder, `MODEL/run`, or the model's folder.

    Raises:
        MissingError: There is no log.
        UsageError: The log is empty.
    """
    run = folder / "run" if (folder / "run" / LOG).is_file() else folder
    path = run / LOG
    if not path.is_file():
        raise MissingError(
            f"there is no {LOG} in {folder}",
            "give the folder `run` that deepscan train writes into the model's folder",
        )
    with path.open(newline="", encoding="utf-8") as file:
        history = tuple(csv.DictReader(file))
    if not history:
        raise UsageError(f"{path} has no epochs", "wait until the training has finished an epoch")
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
    """Read trainings in order.

    Args:
        folders: Their folders.
        fallback: A model's folder, whose training is read if `folders` is empty.

    Raises:
        MissingError: No training is given, or one has no log.
        UsageError: A training is given twice, or its log is empty.
    """
    if not folders and fallback is not None and (fallback / "run" / LOG).is_file():
        folders = [fallback]
    if not folders:
        raise MissingError("no trainings are named", "add --run MODEL/run, once for each training")
    runs = [read_training(folder) for folder in folders]
    folders_of_runs = [run.folder.resolve() for run in runs]
    for run, folder in zip(runs, folders_of_runs, strict=True):
        if folders_of_runs.count(folder) > 1:
            raise UsageError(f"{run.folder} is given twice", "give each training once")
    return runs


def _recipe(path: Path) -> Mapping[str, Any]:
    """Return the recipe in a checkpoint; empty if there is no checkpoint."""
    if not path.is_file():
        return {}
    try:
        identity = read_metadata(path, "restore the training's folder").get("identity") or {}
    except ContractError as error:
        raise UsageError(error.message, error.hint)
    # The identity has the recipe and the training data.
    known = {item.name for item in fields(Recipe)}
    return {key: value for key, value in identity.items() if key in known}


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        return {}
    fields_of_recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    return fields_of_recipe if isinstance(fields_of_recipe, dict) else {}
