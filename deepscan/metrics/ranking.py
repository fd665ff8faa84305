"""ROC figures of samples that are sorted once and weighed many times, as resampling does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Half the memory of 64 bits, and no set of samples comes near 2**31.
Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How many samples score at least so much, for each score that occurs, from the highest down.

    Attributes:
        hits: Fakes among them, shape (T,), rising.
        alarms: Reals among them, shape (T,), rising.
    """

    hits: Counts
    alarms: Counts


class Ranking:
    """Samples in the order of falling scores.

    Args:
        labels: 0 for real, 1 for fake, shape (N,).
        scores: Finite, shape (N,).
    """

    def __init__(self, labels: NDArray[np.int64], scores: Floats) -> None:
        self._order = np.argsort(-scores, kind="stable").astype(np.int32)
        ranked = scores[self._order]
        self._fake = labels[self._order].astype(np.int32)
        # Samples of one score are taken together or not at all.
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)).astype(np.int32)

    def curve(self, weights: Counts) -> Curve:
        """Return the curve of the samples, each as often as its weight says.

        Args:
            weights: Of the samples in the order in which they were given, shape (N,).
        """
        weighed = weights[self._order]
        hits = np.cumsum(weighed * self._fake, dtype=np.int32)[self._last]
        total = np.cumsum(weighed, dtype=np.int32)[self._last]
        # A score that no sample has any more is no point of the curve.
        kept = np.flatnonzero(np.diff(total, prepend=0))
        return Curve(hits[kept], (total - hits)[kept])


def area(curve: Curve) -> float:
    """Return the area under the ROC curve (trapezoid), in [0, 1]."""
    alarms, hits = _from_zero(curve.alarms), _from_zero(curve.hits)
    # Whole numbers up to the last division: nothing is rounded.
    twice = int(np.dot(np.diff(alarms).astype(np.int64), hits[1:] + hits[:-1].astype(np.int64)))
    return twice / (2 * int(hits[-1]) * int(alarms[-1]))


def partial_area(curve: Curve, max_fpr: float) -> float:
    """Return the area up to a false positive rate, so scaled that chance gives 0.5 and the best 1.

    The scale is McClish's ("Analyzing a Portion of the ROC Curve", Medical Decision Making 1989), as
    scikit-learn has it.
    """
    fpr, tpr = _rates(curve)
    stop = int(np.searchsorted(fpr, max_fpr, side="right"))
    at_end = np.interp(max_fpr, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
    heights, steps = np.append(tpr[:stop], at_end), np.diff(np.append(fpr[:stop], max_fpr))
    part = float(np.dot(steps, heights[1:] + heights[:-1])) / 2
    chance = max_fpr**2 / 2
    return 0.5 * (1 + (part - chance) / (max_fpr - chance))


def precision_mean(curve: Curve) -> float:
    """Return the average precision (sum of steps), in [0, 1]."""
    gained = np.diff(curve.hits, prepend=0) / curve.hits[-1]
    return float(np.dot(gained, curve.hits / (curve.hits + curve.alarms)))


def crossing(curve: Curve) -> float:
    """Return the false positive rate at the point where |FNR - FPR| is smallest, in [0, 1]."""
    fpr, tpr = _rates(curve)
    return float(fpr[np.argmin(np.abs(1 - tpr - fpr))])


def published_crossing(curve: Curve) -> float:
    """Return the same of a curve without the points in the middle of a straight run of equal steps.

    They are left out as scikit-learn does.
    """
    corner = np.ones(len(curve.hits), dtype=bool)
    corner[1:-1] = (np.diff(curve.hits, 2) != 0) | (np.diff(curve.alarms, 2) != 0)
    return crossing(Curve(curve.hits[corner], curve.alarms[corner]))


def recall(curve: Curve, max_fpr: float) -> float:
    """Return the greatest share of fakes above a score that at most so many of the reals reach, in [0, 1]."""
    fpr, tpr = _rates(curve)
    return float(tpr[np.searchsorted(fpr, max_fpr, side="right") - 1])


def _from_zero(values: Counts) -> Counts:
    return np.concatenate((np.zeros(1, dtype=np.int32), values))


def _rates(curve: Curve) -> tuple[Floats, Floats]:
    """Return false and true positive rates, both from 0 to 1, shape (T + 1,)."""
    alarms, hits = _from_zero(curve.alarms), _from_zero(curve.hits)
    return alarms / alarms[-1], hits / hits[-1]
