"""Compares two detectors on the same samples: the difference of their AUCs and its significance."""

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
        difference: First minus second, with its interval under a normal approximation.
        error: Standard error of the difference.
        p: Two-sided p-value of the difference; None if undefined (a standard error of 0 with a non-zero
            difference).
    """

    first: float
    second: float
    difference: Interval
    error: float
    p: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the test in the format of reports."""
        return {
            "auc": [round(self.first, 4), round(self.second, 4)],
            "difference": round(self.difference.value, 4),
            "interval": self.difference.bounds,
            "standard_error": round(self.error, 6),
            "p": None if self.p is None else float(f"{self.p:.3g}"),
        }


def delong(labels: ArrayLike, first: ArrayLike, second: ArrayLike, level: float = 0.95) -> DeLong:
    """Test the difference of the AUCs of two detectors on the same samples, after DeLong.

    DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves" (Biometrics 1988), computed with midranks after Sun and Xu, "Fast Implementation of
    DeLong's Algorithm" (IEEE Signal Processing Letters 2014). The samples are assumed to be independent.

    Args:
        labels: 0 for real, 1 for fake, at least two of each, shape (N,).
        first: Probability of fake, shape (N,).
        second: Probability of fake from the other detector, shape (N,).
        level: Confidence level of the interval.

    Raises:
        UsageError: See `metrics.binary.check_samples`, or a class has only one sample.
    """
    from scipy.stats import norm

    truth, first_rows = check_samples(labels, first)
    _, second_scores = check_samples(labels, second)
    fakes = int(truth.sum())
    reals = len(truth) - fakes
    if min(fakes, reals) < 2:
        raise UsageError(
            f"{reals} real and {fakes} fake samples are too few to test a difference",
            "compare on at least two of each",
        )
    placements = [_placements(truth, scores) for scores in (first_rows, second_scores)]
    aucs = [float(of_fakes.mean()) for of_fakes, _ in placements]
    # The difference is the mean of pairwise differences, over fakes and over reals.
    variances = [
        float(np.var(placements[0][side] - placements[1][side], ddof=1)) / count
        for side, count in enumerate((fakes, reals))
    ]
    error, difference = math.sqrt(sum(variances)), aucs[0] - aucs[1]
    # Placements are fractions summed in floating point, so treat a tiny error as 0.
    if error < 1e-12:
        error, p = 0.0, 1.0 if abs(difference) < 1e-12 else None
    else:
        p = float(2 * norm.sf(abs(difference) / error))
    half_width = float(norm.ppf((1 + level) / 2)) * error
    return DeLong(
        aucs[0],
        aucs[1],
        Interval(difference, max(-1.0, difference - half_width), min(1.0, difference + half_width), level),
        error,
        p,
    )


def _placements(
    truth: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of reals below each fake and of fakes above each real; ties count half."""
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
    """Return the difference of two AUCs with its percentile bootstrap interval, paired by draw.

    Args:
        labels: 0 or 1, shape (N,).
        first: Probability of fake, shape (N,).
        second: Probability of fake from the other detector, shape (N,).
        groups: Group of each sample, shape (N,); whole groups are drawn with replacement.
        rounds: Number of draws.
        level: Confidence level: the share of the draws between the bounds.
        seed: Seed of the draws.

    Raises:
        UsageError: See `metrics.binary.check_samples`, or the number of groups is not N.
    """
    truth, first_rows = check_samples(labels, first)
    rankings = RankedSamples(truth, first_rows), RankedSamples(truth, check_samples(labels, second)[1])

    def difference(weights: NDArray[np.int32]) -> float:
        return rankings[0].roc_curve(weights).auc() - rankings[1].roc_curve(weights).auc()

    drawn = [difference(weights) for weights in bootstrap_weights(truth, groups, rounds, seed)]
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Interval(difference(np.ones(len(truth), dtype=np.int32)), float(low), float(high), level)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two detectors on the samples that both scored.

    Attributes:
        of: Kind of samples: `video` or `frame`.
        fakes: Number of fakes that both scored.
        reals: Number of reals that both scored.
        only_first: Number of samples missing from the second file.
        only_second: Number of samples missing from the first file.
        unscored_first: Number of samples in both files without a score in the first.
        unscored_second: Number of samples in both files without a score in the second.
        test: DeLong's test.
        groups: Number of groups.
        resampled: The difference with its bootstrap interval by group; None with a single group.
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
        """Return the comparison in the format of reports."""
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
    """Compare two detectors on the samples that both scored.

    Samples are matched by data set, kind, split and name, as far as both files have these columns. Groups
    come from the first file, or else from the second; without any, each video is its own group.

    Args:
        first: Scores of one detector.
        second: Scores of the other.
        of: Kind of samples; with `video`, frame scores are averaged per video.
        rounds: Number of draws for the interval by group.
        seed: Seed of the draws.

    Raises:
        UsageError: Labels conflict, names do not identify the samples, or the samples that both scored lack
            a class.
    """
    sides = (by_video(first), by_video(second)) if of == "video" else (first, second)
    names = [
        name
        for name in (VIDEO_KEY if of == "video" else FRAME_KEY)
        if name == "label" or all(getattr(side, name).has_values for side in sides)
    ]
    first_rows, second_rows = (
        _rows_by_key(side, names, number) for side, number in zip(sides, ("first", "second"), strict=True)
    )
    _check_labels(
        first_rows.keys() - second_rows.keys(), second_rows.keys() - first_rows.keys(), names.index("label")
    )
    shared = [key for key in first_rows if key in second_rows]
    if not shared:
        raise UsageError(
            f"the two files have no {of}s in common",
            f"use the same names of {of}s, data sets, kinds and splits in both files",
        )
    left, right = sides[0].take(_rows(first_rows, shared)), sides[1].take(_rows(second_rows, shared))
    missing = np.isnan(left.scores), np.isnan(right.scores)
    scored_by_both = np.flatnonzero(~(missing[0] | missing[1]))
    labels, scores = left.labels[scored_by_both], (left.scores[scored_by_both], right.scores[scored_by_both])
    groups = (right if right.group.has_values and not left.group.has_values else left).groups()[
        scored_by_both
    ]
    number = len(np.unique(groups))
    resampled = None
    test = delong(labels, *scores)
    if number > 1:
        resampled = bootstrap_difference(labels, *scores, groups, rounds=rounds, seed=seed)
    return Comparison(
        of,
        int(labels.sum()),
        int((labels == 0).sum()),
        len(first_rows) - len(shared),
        len(second_rows) - len(shared),
        int(missing[0].sum()),
        int(missing[1].sum()),
        test,
        number,
        resampled,
    )


def _rows_by_key(scores: Scores, names: list[str], file: str) -> dict[tuple[str, ...], int]:
    columns = [
        scores.labels.astype(str).tolist() if name == "label" else getattr(scores, name).texts()
        for name in names
    ]
    row_of: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(zip(*columns, strict=True)):
        if key in row_of:
            raise UsageError(
                f"{key[names.index('video')]!r} occurs more than once in the {file} file, and both files "
                f"have only the columns {', '.join(names)}",
                "add the columns dataset, kind and frame to both files, or use unique names of videos",
            )
        row_of[key] = row
    return row_of


def _rows(row_of: dict[tuple[str, ...], int], keys: list[tuple[str, ...]]) -> NDArray[np.int64]:
    return np.array([row_of[key] for key in keys], dtype=np.int64)


def _check_labels(first_rows: set[tuple[str, ...]], second_rows: set[tuple[str, ...]], label: int) -> None:
    """Raise if unmatched samples differ from each other only in their labels."""
    second_scores = {(*key[:label], *key[label + 1 :]) for key in second_rows}
    conflicts = sorted(key for key in first_rows if (*key[:label], *key[label + 1 :]) in second_scores)
    if conflicts:
        name = "/".join(part for column, part in enumerate(conflicts[0]) if part and column != label)
        label_name = LABEL_NAMES[int(conflicts[0][label])]
        raise UsageError(
            f"{len(conflicts)} labels differ between the two files: {name!r} is {label_name} in the first",
            "compare scores of the same samples, with the same labels",
        )
