"""Measure models on web faces of methods and origins not in their training data, for their rows in tried.csv.

    python benchmarks/unseen.py --data DIR MODEL...          # after tried.py, which replaces a row

`DIR/faces.csv` has the sources DFDC and WEB. All figures are measured on `val`. Its groups are split in
halves by the lowest bit of the first byte of the SHA-256 of their names: the first half is used to choose
epochs and thresholds, the second is reported. A vote is the mean of a group's crops with one label.

Figure U (`u`) is the AUC of the votes of fakes whose method is not in `train` against reals whose origin is
not in `train`. `seen` is the AUC of the other web crops, `web` that of all web crops, `dfdc` that of the DFDC
crops. Shares of verdicts are those of the web votes, at the card's thresholds and (`refit`) at thresholds
fitted to the web votes of the first half. With --card the figures for the web are also written to the card.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tried import TABLE, card_result, scored, training_columns

from deepscan.bench.output import write_table
from deepscan.calibration import calibrate, count_verdicts, fit_calibration, second_half
from deepscan.cards import Calibration, ModelCard, write_card
from deepscan.data.crops.crop_cache import CropSet, prepare_crops
from deepscan.data.pictures import LabelledPicture, read_pictures
from deepscan.detectors.detector import FAKE, REAL
from deepscan.engines.scorer import Scorer
from deepscan.evaluation.measurements import Measurement, measure_all
from deepscan.metrics.binary import METRICS
from deepscan.models.lookup import load_card
from deepscan.progress import progress_bar
from deepscan.training.validation import GroupVotes, SeenInTraining, mean_votes

#: In the order of `faces.csv`.
SOURCES = ("DFDC", "WEB")
_AUC = {"auc": METRICS["auc"]}
#: Beginning of the `data` of results in the card that this script writes.
WEB = "faces from the web, those from one source counted as one: second half of the validation groups"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The crops of `val` from one source, with a model's scores.

    Attributes:
        crops: The crops.
        scores: Probability of fake, shape (N,).
    """

    crops: CropSet
    scores: NDArray[np.float64]

    def votes(self, which: NDArray[np.bool_]) -> GroupVotes:
        """Return the votes of the selected crops."""
        rows = np.flatnonzero(which)
        return mean_votes(self.crops.labels[rows], self.scores[rows], [self.crops.groups[at] for at in rows])


def main() -> None:
    """Measure the given models and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv")
    parser.add_argument("--cache", default=Path("runs/crops"), type=Path, help="folder for crops")
    parser.add_argument(
        "--precision", default="fp32", choices=("fp32", "int8"), help="precision of the ONNX file"
    )
    parser.add_argument("--card", action="store_true", help="also write the figures for the web to the card")
    parser.add_argument("models", nargs="+", type=Path, help="model folders")
    arguments = parser.parse_args()
    pictures = read_pictures(arguments.data, SOURCES)
    with TABLE.open(newline="") as file:
        rows: dict[str, dict[str, Any]] = {row["model"]: row for row in csv.DictReader(file)}
    for folder in arguments.models:
        card = load_card(folder)
        scorer = Scorer(card, engine="onnx", device="cpu", precision=arguments.precision)
        dfdc, web = (_scored(scorer, pictures, source, arguments.cache) for source in SOURCES)
        seen = SeenInTraining.of_pictures(pictures)
        assert card.calibration is not None
        found = dict(figures(dfdc, web, seen, card.calibration))
        if arguments.card:
            write_card(_with_results(card, web, seen, arguments.precision))
        row = {name: value for name, value in found.items() if not isinstance(value, Mapping)}
        rows[card.name] = {**rows.get(card.name, {}), **training_columns(card), **row}
        for name, value in found.items():
            print(name, value)
    write_table(TABLE, rows.values())


def figures(
    dfdc: Scored, web: Scored, seen: SeenInTraining, calibration: Calibration
) -> Iterator[tuple[str, Any]]:
    """Yield figures by name.

    Args:
        dfdc: DFDC crops.
        web: Web crops.
        seen: Methods and origins in the training data.
        calibration: Calibration of the model.
    """
    unseen, second = seen.unseen(web.crops), second_half(web.crops.groups)
    u = auc_of_votes(web.votes(unseen & second))
    yield "u", _rounded(u)
    assert u.interval is not None
    yield "u_low", round(u.interval.low, 4)
    yield "u_high", round(u.interval.high, 4)
    yield "u_choosing", _rounded(auc_of_votes(web.votes(unseen & ~second)))
    yield "seen", _rounded(auc_of_votes(web.votes(~unseen & second)))
    yield "web", _rounded(auc_of_votes(web.votes(second)))
    rows = np.flatnonzero(second_half(dfdc.crops.groups))
    of_crops = measure_all(dfdc.crops.labels[rows], dfdc.scores[rows], measures=_AUC)[0]
    yield "dfdc", _rounded(of_crops)
    first = web.votes(~second)
    refit = fit_calibration(
        first.labels, first.scores, level="video", data="the first half's votes of the web"
    )
    for name, thresholds in (("", calibration), ("refit_", refit)):
        for verdict, share in verdict_shares(web.votes(second), thresholds).items():
            yield name + verdict, round(share, 3)
    second_votes = np.flatnonzero(second)
    yield "origins", by_origin(web.crops, web.scores, refit, second_votes)


def _with_results(card: ModelCard, web: Scored, seen: SeenInTraining, precision: str) -> ModelCard:
    """Return the card with the figures for the web, replacing earlier ones in the same precision."""
    data = f"{WEB}, in {precision}"
    unseen, second = seen.unseen(web.crops), second_half(web.crops.groups)
    results = [
        card_result(auc_of_votes(web.votes(which & second)), "video", data, kind)
        for kind, which in (
            ("fakes of unseen methods against reals of unseen origins", unseen),
            ("the others", ~unseen),
            ("all", unseen | ~unseen),
        )
    ]
    assert card.calibration is not None
    second_votes = web.votes(second)
    shares = verdict_shares(second_votes, card.calibration)
    rates = count_verdicts(
        second_votes.labels, second_votes.scores, card.calibration, level="video", data=WEB
    )
    others = [each for each in card.error_rates if each.data != WEB]
    misses = (
        f"of the web's fakes {shares['fake_fake']:.0%} are called fake and {shares['fake_no_evidence']:.0%} "
        f"get no_evidence; {shares['real_fake']:.0%} of its reals are called fake (second half of the "
        f"validation groups, in {precision})"
    )
    kept = [each for each in card.results if each["data"] != data]
    return replace(
        card,
        results=(*kept, *results),
        error_rates=(*others, rates),
        trained={**card.trained, "misses": misses},
    )


def auc_of_votes(voted: GroupVotes) -> Measurement:
    """Return the AUC of votes, with its interval by group."""
    return measure_all(voted.labels, voted.scores, voted.groups, measures=_AUC)[0]


def verdict_shares(voted: GroupVotes, calibration: Calibration) -> dict[str, float]:
    """Return shares of votes by verdict: `real_fake`, `fake_fake`, `fake_no_evidence`; NaN without votes.

    Args:
        voted: The votes, as raw scores.
        calibration: Their calibration, with the thresholds of `fake` and `no_evidence`.
    """
    calibrated = calibrate(voted.scores, calibration)
    called = calibrated >= calibration.fake
    cleared = calibrated < calibration.no_evidence
    real, fake = voted.labels == REAL, voted.labels == FAKE
    return {
        "real_fake": _share(called[real]),
        "fake_fake": _share(called[fake]),
        "fake_no_evidence": _share(cleared[fake]),
    }


def by_origin(
    crops: CropSet,
    scores: NDArray[np.float64],
    calibration: Calibration,
    which: NDArray[np.int64],
    least: int = 20,
) -> Mapping[str, dict[str, float]]:
    """Return the verdict shares of single crops for each origin with enough crops, by name.

    Args:
        crops: The crops.
        scores: Probability of fake, shape (N,).
        calibration: See `verdict_shares`.
        which: Positions of the crops to use.
        least: Origins with fewer crops are left out.
    """
    origins = np.array(crops.origins)
    found = {}
    for name in np.unique(origins[which]).tolist():
        rows = which[origins[which] == name]
        if len(rows) >= least:
            single_votes = GroupVotes(crops.labels[rows], scores[rows], tuple(map(str, rows)))
            found[name] = {"crops": float(len(rows)), **verdict_shares(single_votes, calibration)}
    return found


def _scored(scorer: Scorer, pictures: tuple[LabelledPicture, ...], source: str, cache: Path) -> Scored:
    chosen = [each for each in pictures if each.source == source and each.split == "val"]
    crops = prepare_crops(chosen, scorer.recipe, cache, workers=1, on_progress=progress_bar("cutting faces"))
    return Scored(crops, scored(scorer, crops.crops))


def _share(which: NDArray[np.bool_]) -> float:
    return float(which.mean()) if len(which) else float("nan")


def _rounded(found: Measurement) -> float | None:
    return None if found.value is None else round(found.value, 4)


if __name__ == "__main__":
    main()
