"""How good a model is by its own card: whether it is near chance, and what it was never measured on."""

from collections.abc import Iterable, Mapping

from deepscan.cards import ModelCard

#: A model whose card states a lower AUC than this of a whole set of data is near chance by its own card.
NEAR_CHANCE = 0.6
#: One whose card states nothing below this, and something, is good enough to do without such a model.
GOOD = 0.65
#: What a sample of each level of measuring is, for people.
_LEVELS = {"video": "whole videos", "frame": "single faces"}


def lowest_auc(card: ModelCard) -> tuple[float, str] | None:
    """Return the lowest AUC that a card states of a whole set of data, and which; None where it states none.

    Figures of one kind of fakes are left out: each detector misses some kinds.
    """
    stated = [
        (float(result["value"]), str(result["data"]))
        for result in card.results
        if result.get("metric") == "auc" and "kind" not in result
    ]
    return min(stated, default=None)


def without_vote(cards: Iterable[ModelCard]) -> dict[str, str]:
    """Return the models that have no vote beside the others, each with the reason.

    A model that is near chance by its own card has none beside a good one that can vote: it would only make
    verdicts inconclusive.
    """
    lowest = {card.name: found for card in cards if card.calibration and (found := lowest_auc(card))}
    if not any(value >= GOOD for value, _ in lowest.values()):
        return {}
    return {
        name: f"near chance by its own card: AUC {value:.2f} on {data}"
        for name, (value, data) in lowest.items()
        if value < NEAR_CHANCE
    }


def cautions(card: ModelCard) -> list[str]:
    """Return what a reader of a model's verdicts must know of its figures, in words, a line each.

    A scan judges whole videos of any origin, so figures of single faces, or of the kind of data that the
    model was trained on, say little of what is at hand.
    """
    levels = [level for level in _LEVELS if _levels(card).get(level)]
    said = []
    if not levels:
        said.append("its card states no AUC on any data: how good it is is not known")
    elif "video" not in levels:
        seen = ", ".join(sorted(_levels(card)["frame"]))
        said.append(f"its card has no figures on whole videos, only on single faces: {seen}")
    lowest = lowest_auc(card)
    if lowest is not None and lowest[0] < NEAR_CHANCE:
        said.append(f"near chance by its own card: AUC {lowest[0]:.2f} on {lowest[1]}")
    return said


def _levels(card: ModelCard) -> Mapping[str, set[str]]:
    """Return the data that a card states an AUC on, by what a sample of it was."""
    levels: dict[str, set[str]] = {}
    for result in card.results:
        if result.get("metric") == "auc" and "kind" not in result:
            levels.setdefault(str(result.get("level", "frame")), set()).add(str(result["data"]))
    return levels
