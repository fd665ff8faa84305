"""ROC curves of samples that are sorted once and weighted many times, as the bootstrap does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
#: Half the memory of 64 bits, and no set of samples comes near 2**31.
Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """How many samples score at least a threshold, for each score that occurs, from the highest down.

    Attributes:
        true_positives: Fakes among them, shape (T,), rising.
        false_positives: Reals among them, shape (T,), rising.
    """

    true_positives: Counts
    false_positives: Counts

    def auc(self) -> float:
        """Return the area under the curve (trapezoid), in [0, 1]."""
        reals, fakes = _from_zero(self.false_positives), _from_zero(self.true_positives)
        # Whole numbers up to the last division: nothing is rounded.
        twice = int(np.dot(np.diff(reals).astype(np.int64), fakes[1:] + fakes[:-1].astype(np.int64)))
        return twice / (2 * int(fakes[-1]) * int(reals[-1]))

    def partial_auc(self, max_fpr: float) -> float:
        """Return the area up to a false positive rate, scaled so that chance gives 0.5 and the best 1.

        The scale is McClish's ("Analyzing a Portion of the ROC Curve", Medical Decision Making 1989), as
        scikit-learn has it.
        """
        fpr, tpr = self._rates()
        stop = int(np.searchsorted(fpr, max_fpr, side="right"))
        at_end = np.interp(max_fpr, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
        heights, steps = np.append(tpr[:stop], at_end), np.diff(np.append(fpr[:stop], max_fpr))
        part = float(np.dot(steps, heights[1:] + heights[:-1])) / 2
        chance = max_fpr**2 / 2
        return 0.5 * (1 + (part - chance) / (max_fpr - chance))

    def average_precision(self) -> float:
        """Return the average precision (sum of steps), in [0, 1]."""
        hits = self.true_positives
        gained = np.diff(hits, prepend=0) / hits[-1]
        return float(np.dot(gained, hits / (hits + self.false_positives)))

    def eer(self) -> float:
        """Return the false positive rate at the point where |FNR - FPR| is smallest, in [0, 1]."""
        fpr, tpr = self._rates()
        return float(fpr[np.argmin(np.abs(1 - tpr - fpr))])

    def published_eer(self) -> float:
        """Return the same of the curve without the points inside straight runs of equal steps.

        scikit-learn leaves these points out.
        """
        corner = np.ones(len(self.true_positives), dtype=bool)
        corner[1:-1] = (np.diff(self.true_positives, 2) != 0) | (np.diff(self.false_positives, 2) != 0)
        return RocCurve(self.true_positives[corner], self.false_positives[corner]).eer()

    def tpr_at_fpr(self, max_fpr: float) -> float:
        """Return the greatest true positive rate at a false positive rate of at most `max_fpr`, in [0, 1]."""
        fpr, tpr = self._rates()
        return float(tpr[np.searchsorted(fpr, max_fpr, side="right") - 1])

    def _rates(self) -> tuple[_Floats, _Floats]:
        """Return false and true positive rates, both from 0 to 1, shape (T + 1,)."""
        reals, fakes = _from_zero(self.false_positives), _from_zero(self.true_positives)
        return reals / reals[-1], fakes / fakes[-1]


class RankedSamples:
    """Samples in the order of falling scores.

    Args:
        labels: 0 for real, 1 for fake, shape (N,).
        scores: Finite, shape (N,).
    """

    def __init__(self, labels: NDArray[np.int64], scores: _Floats) -> None:
        self._order = np.argsort(-scores, kind="stable").astype(np.int32)
        ranked = scores[self._order]
        self._fake = labels[self._order].astype(np.int32)
        # Samples of one score are taken together or not at all.
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)).astype(np.int32)

    def roc_curve(self, weights: Counts) -> RocCurve:
        """Return the ROC curve of the samples, each counted as often as its weight says.

        Args:
            weights: Of the samples in their original order, shape (N,).
        """
        weighted = weights[self._order]
        fakes = np.cumsum(weighted * self._fake, dtype=np.int32)[self._last]
        total = np.cumsum(weighted, dtype=np.int32)[self._last]
        # A score that no sample has any more is no point of the curve.
        kept = np.flatnonzero(np.diff(total, prepend=0))
        return RocCurve(fakes[kept], (total - fakes)[kept])


def _from_zero(values: Counts) -> Counts:
    return np.concatenate((np.zeros(1, dtype=np.int32), values))
