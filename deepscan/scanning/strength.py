"""Judge how good a model is by its own card: whether it is near chance, and what it was not measured on."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from deepscan.cards import Calibration, ModelCard

#: A model whose card reports a lower AUC than this on a whole dataset is near chance.
NEAR_CHANCE = 0.6
#: A model whose card reports AUCs, none of them below this, is good enough to do without a model near chance.
GOOD = 0.65
#: Level of measurement -> what a sample of it is, for people.
_LEVELS = {"video": "whole videos", "frame": "single faces"}


class MeasuredModel(Protocol):
    """What decides whether a model has a vote: its `ModelCard` has this, and its `ModelFacts`."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def calibration(self) -> Calibration | None:
        """Calibration, None if it has none."""

    @property
    def results(self) -> tuple[Mapping[str, Any], ...]:
        """Measurements from its card."""


def lowest_auc(card: MeasuredModel) -> tuple[float, str] | None:
    """Return the lowest AUC that a card reports on a whole dataset, and its name; None if it reports none.

    AUCs on a single kind of fakes are ignored, because every detector misses some kinds.
    """
    reported = [
        (float(result["value"]), str(result["data"]))
        for result in card.results
        if result.get("metric") == "auc" and "kind" not in result
    ]
    return min(reported, default=None)


def without_vote(models: Iterable[MeasuredModel]) -> dict[str, str]:
    """Return the models without a vote among the others, each with the reason.

    A model that is near chance by its own card has no vote next to a good one that has: it would only make
    verdicts inconclusive.
    """
    lowest = {model.name: found for model in models if model.calibration and (found := lowest_auc(model))}
    if not any(value >= GOOD for value, _ in lowest.values()):
        return {}
    return {
        name: f"near chance by its own card: AUC {value:.2f} on {data}"
        for name, (value, data) in lowest.items()
        if value < NEAR_CHANCE
    }


def cautions(card: ModelCard) -> list[str]:
    """Return what readers of a model's verdicts must know about its figures, one line each.

    A scan judges whole videos of any origin. Figures on single faces, or on the kind of data that the model
    was trained on, say little about such videos.
    """
    levels = [level for level in _LEVELS if _levels(card).get(level)]
    lines = []
    if not levels:
        lines.append("its card reports no AUC, so its accuracy is unknown")
    elif "video" not in levels:
        data = ", ".join(sorted(_levels(card)["frame"]))
        lines.append(f"its card has no figures on whole videos, only on single faces: {data}")
    lowest = lowest_auc(card)
    if lowest is not None and lowest[0] < NEAR_CHANCE:
        lines.append(f"near chance by its own card: AUC {lowest[0]:.2f} on {lowest[1]}")
    return lines


def _levels(card: ModelCard) -> Mapping[str, set[str]]:
    """Return the datasets on which a card reports an AUC, by level of measurement."""
    levels: dict[str, set[str]] = {}
    for result in card.results:
        if result.get("metric") == "auc" and "kind" not in result:
            levels.setdefault(str(result.get("level", "frame")), set()).add(str(result["data"]))
    return levels
