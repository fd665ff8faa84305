"""Compares two detectors on the same samples: the difference of their AUCs, and its significance."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.errors import UsageError
from deepscan.evaluation.scores import FRAME_KEY, LABEL_NAMES, VIDEO_KEY, Scores, by_video
from deepscan.metrics.binary import Interval, bootstrap_weights, check_samples
from deepscan.metrics.ranking import RankedSamples


@dataclass(frozen=True, slots=True)
class DeLong:
    """DeLong's test of two AUCs on the same samples.

    Attributes:
        first: AUC of the first scores.
        second: AUC of the second scores.
        difference: First minus second, with its interval by the normal distribution.
        error: Standard error of the difference.
        p: Two-sided p-value of the difference; None if it is undefined (a standard error of 0, but a
            difference).
    """

    first: float
    second: float
    difference: Interval
    error: float
    p: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the test as in reports."""
        return {
            "auc": [round(self.first, 4), round(self.second, 4)],
            "difference": round(self.difference.value, 4),
            "interval": self.difference.bounds,
            "standard_error": round(self.error, 6),
            "p": None if self.p is None else float(f"{self.p:.3g}"),
        }


def delong(labels: ArrayLike, first: ArrayLike, second: ArrayLike, level: float = 0.95) -> DeLong:
    """Return DeLong's test of the AUCs of two scores of the same samples.

    DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves" (Biometrics 1988), by midranks as Sun and Xu, "Fast Implementation of DeLong's
    Algorithm" (IEEE Signal Processing Letters 2014). The samples are assumed to be
    independent.

    Args:
        labels: 0 for real, 1 for fake, at least two of each, shape (N,).
        first: Probability of fake, shape (N,).
        second: The same by another detector, shape (N,).
        level: Share of chance's differences inside the interval.

    Raises:
        UsageError: See `metrics.binary.check_samples`, or there is one sample only of a class.
    """
    from scipy.stats import norm

    truth, one = check_samples(labels, first)
    _, other = check_samples(labels, second)
    fakes = int(truth.sum())
    reals = len(truth) - fakes
    if min(fakes, reals) < 2:
        raise UsageError(
            f"{reals} real and {fakes} fake samples say nothing of chance", "compare on two or more of each"
        )
    parts = [_placements(truth, scores) for scores in (one, other)]
    aucs = [float(of_fakes.mean()) for of_fakes, _ in parts]
    # The difference is itself a mean of differences, over fakes and over reals.
    variances = [
        float(np.var(parts[0][side] - parts[1][side], ddof=1)) / count
        for side, count in enumerate((fakes, reals))
    ]
    error, difference = math.sqrt(sum(variances)), aucs[0] - aucs[1]
    # Placements are fractions of counts, summed in floating point: what is left of nothing is nothing.
    if error < 1e-12:
        error, p = 0.0, 1.0 if abs(difference) < 1e-12 else None
    else:
        p = float(2 * norm.sf(abs(difference) / error))
    reach = float(norm.ppf((1 + level) / 2)) * error
    return DeLong(
        aucs[0],
        aucs[1],
        Interval(difference, max(-1.0, difference - reach), min(1.0, difference + reach), level),
        error,
        p,
    )


def _placements(
    truth: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of reals below each fake, and of fakes above each real, ties counted half."""
    from scipy.stats import rankdata

    fake = truth == 1
    fakes, reals = int(fake.sum()), int((~fake).sum())
    ranks = rankdata(scores)
    below = (ranks[fake] - rankdata(scores[fake])) / reals
    above = 1 - (ranks[~fake] - rankdata(scores[~fake])) / fakes
    return below, above


def bootstrap_difference(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: NDArray[Any],
    *,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the difference of two AUCs with its percentile bootstrap interval, both on the same draws.

    Args:
        labels: 0 or 1, shape (N,).
        first: Probability of fake, shape (N,).
        second: The same by another detector, shape (N,).
        groups: Group of each sample, shape (N,); whole groups are drawn with replacement.
        rounds: Number of draws.
        level: Share of the draws between the bounds.
        seed: Of the draws.

    Raises:
        UsageError: See `metrics.binary.check_samples`, or the groups are not one a sample.
    """
    truth, one = check_samples(labels, first)
    rankings = RankedSamples(truth, one), RankedSamples(truth, check_samples(labels, second)[1])

    def difference(weights: NDArray[np.int32]) -> float:
        return rankings[0].roc_curve(weights).auc() - rankings[1].roc_curve(weights).auc()

    drawn = [difference(weights) for weights in bootstrap_weights(truth, groups, rounds, seed)]
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Interval(difference(np.ones(len(truth), dtype=np.int32)), float(low), float(high), level)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two detectors on the samples that both scored.

    Attributes:
        of: What a sample is: `video` or `frame`.
        fakes: Fakes that both have scored.
        reals: Reals that both have scored.
        only_first: Samples that the second file lacks.
        only_second: Samples that the first file lacks.
        unscored_first: Samples of both files to which the first gives no score.
        unscored_second: The same of the second.
        test: DeLong's test.
        groups: How many groups the samples are of.
        resampled: The difference resampled by group, None where all are of one.
    """

    of: str
    fakes: int
    reals: int
    only_first: int
    only_second: int
    unscored_first: int
    unscored_second: int
    test: DeLong
    groups: int
    resampled: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as in reports."""
        return {
            "of": self.of,
            "n": self.fakes + self.reals,
            "fakes": self.fakes,
            "reals": self.reals,
            "without_partner": [self.only_first, self.only_second],
            "without_score": [self.unscored_first, self.unscored_second],
            "delong": self.test.to_json(),
            "groups": self.groups,
            "interval_by_group": self.resampled and self.resampled.bounds,
        }


def compare(
    first: Scores,
    second: Scores,
    *,
    of: Literal["video", "frame"] = "video",
    rounds: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Return how two detectors differ on the samples that both scored.

    Samples are the same where data set, kind, split and name agree, as far as both files state them. Groups
    are those of the first file, or else of the second; where neither states any, each video is its own.

    Args:
        first: Scores of one detector.
        second: Scores of another.
        of: What a sample is; frames are averaged over their `video`, or held against each other one by one.
        rounds: Number of draws for the interval by group.
        seed: Of the draws.

    Raises:
        UsageError: Labels contradict each other, names do not identify the samples, or the samples that
            both scored lack a class.
    """
    sides = (by_video(first), by_video(second)) if of == "video" else (first, second)
    names = [
        name
        for name in (VIDEO_KEY if of == "video" else FRAME_KEY)
        if name == "label" or all(getattr(side, name).has_values for side in sides)
    ]
    one, two = (_places(side, names, number) for side, number in zip(sides, ("first", "second"), strict=True))
    _check_labels(one.keys() - two.keys(), two.keys() - one.keys(), names.index("label"))
    shared = [key for key in one if key in two]
    if not shared:
        raise UsageError(
            f"the two files have no {of} in common",
            f"name {of}, data set, kind and split alike in both files",
        )
    left, right = sides[0].take(_rows(one, shared)), sides[1].take(_rows(two, shared))
    missing = np.isnan(left.scores), np.isnan(right.scores)
    both = np.flatnonzero(~(missing[0] | missing[1]))
    labels, scores = left.labels[both], (left.scores[both], right.scores[both])
    groups = (right if right.group.has_values and not left.group.has_values else left).groups()[both]
    number = len(np.unique(groups))
    resampled = None
    test = delong(labels, *scores)
    if number > 1:
        resampled = bootstrap_difference(labels, *scores, groups, rounds=rounds, seed=seed)
    return Comparison(
        of,
        int(labels.sum()),
        int((labels == 0).sum()),
        len(one) - len(shared),
        len(two) - len(shared),
        int(missing[0].sum()),
        int(missing[1].sum()),
        test,
        number,
        resampled,
    )


def _places(scores: Scores, names: list[str], file: str) -> dict[tuple[str, ...], int]:
    columns = [
        scores.labels.astype(str).tolist() if name == "label" else getattr(scores, name).texts()
        for name in names
    ]
    places: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(zip(*columns, strict=True)):
        if key in places:
            raise UsageError(
                f"{key[names.index('video')]!r} is in the {file} file more than once, and only "
                f"{', '.join(names)} are stated by both",
                "give both files the columns dataset, kind and frame, or unique names of videos",
            )
        places[key] = row
    return places


def _rows(places: dict[tuple[str, ...], int], keys: list[tuple[str, ...]]) -> NDArray[np.int64]:
    return np.array([places[key] for key in keys], dtype=np.int64)


def _check_labels(one: set[tuple[str, ...]], two: set[tuple[str, ...]], label: int) -> None:
    """Refuse samples without a partner that would have one but for their labels."""
    other = {(*key[:label], *key[label + 1 :]) for key in two}
    contrary = sorted(key for key in one if (*key[:label], *key[label + 1 :]) in other)
    if contrary:
        name = "/".join(part for column, part in enumerate(contrary[0]) if part and column != label)
        label_name = LABEL_NAMES[int(contrary[0][label])]
        raise UsageError(
            f"the two files contradict each other in {len(contrary)} labels: "
            f"{name!r} is {label_name} in the first",
            "compare scores of the same samples, with the same labels",
        )
