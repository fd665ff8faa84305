"""ROC curves of samples that are sorted once and reweighted many times, for the bootstrap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
#: 32 bits: half the memory, and sample counts stay far below 2**31.
Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """Counts of samples at or above each distinct score, from the highest score down.

    Attributes:
        true_positives: Fakes at or above each score, shape (T,), non-decreasing.
        false_positives: Reals at or above each score, shape (T,), non-decreasing.
    """

    true_positives: Counts
    false_positives: Counts

    def auc(self) -> float:
        """Return the area under the curve (trapezoidal), in [0, 1]."""
        reals, fakes = _from_zero(self.false_positives), _from_zero(self.true_positives)
        # Integers up to the last division, so nothing is rounded.
        twice = int(np.dot(np.diff(reals).astype(np.int64), fakes[1:] + fakes[:-1].astype(np.int64)))
        return twice / (2 * int(fakes[-1]) * int(reals[-1]))

    def partial_auc(self, max_fpr: float) -> float:
        """Return the area up to a false positive rate, scaled so that chance gives 0.5, a perfect ranking 1.

        Standardised after McClish ("Analyzing a Portion of the ROC Curve", Medical Decision Making 1989), as
        in scikit-learn.
        """
        fpr, tpr = self._rates()
        stop = int(np.searchsorted(fpr, max_fpr, side="right"))
        at_end = np.interp(max_fpr, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
        heights, steps = np.append(tpr[:stop], at_end), np.diff(np.append(fpr[:stop], max_fpr))
        part = float(np.dot(steps, heights[1:] + heights[:-1])) / 2
        chance = max_fpr**2 / 2
        return 0.5 * (1 + (part - chance) / (max_fpr - chance))

    def average_precision(self) -> float:
        """Return the average precision (a step-wise sum), in [0, 1]."""
        hits = self.true_positives
        gained = np.diff(hits, prepend=0) / hits[-1]
        return float(np.dot(gained, hits / (hits + self.false_positives)))

    def eer(self) -> float:
        """Return the false positive rate at the point where |FNR - FPR| is smallest, in [0, 1]."""
        fpr, tpr = self._rates()
        return float(fpr[np.argmin(np.abs(1 - tpr - fpr))])

    def published_eer(self) -> float:
        """Return the equal error rate without the collinear, equally spaced points, as scikit-learn does."""
        corner = np.ones(len(self.true_positives), dtype=bool)
        corner[1:-1] = (np.diff(self.true_positives, 2) != 0) | (np.diff(self.false_positives, 2) != 0)
        return RocCurve(self.true_positives[corner], self.false_positives[corner]).eer()

    def tpr_at_fpr(self, max_fpr: float) -> float:
        """Return the highest true positive rate at a false positive rate of at most `max_fpr`, in [0, 1]."""
        fpr, tpr = self._rates()
        return float(tpr[np.searchsorted(fpr, max_fpr, side="right") - 1])

    def _rates(self) -> tuple[_Floats, _Floats]:
        """Return false and true positive rates, each rising from 0 to 1, shape (T + 1,)."""
        reals, fakes = _from_zero(self.false_positives), _from_zero(self.true_positives)
        return reals / reals[-1], fakes / fakes[-1]


class RankedSamples:
    """Samples sorted by descending score.

    Args:
        labels: 0 for real, 1 for fake, shape (N,).
        scores: Finite, shape (N,).
    """

    def __init__(self, labels: NDArray[np.int64], scores: _Floats) -> None:
        self._order = np.argsort(-scores, kind="stable").astype(np.int32)
        ranked = scores[self._order]
        self._fake = labels[self._order].astype(np.int32)
        # Samples with equal scores form a single point of the curve: the last of them.
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)).astype(np.int32)

    def roc_curve(self, weights: Counts) -> RocCurve:
        """Return the ROC curve with each sample counted as often as its weight.

        Args:
            weights: One for each sample, in the original order, shape (N,).
        """
        weighted = weights[self._order]
        fakes = np.cumsum(weighted * self._fake, dtype=np.int32)[self._last]
        total = np.cumsum(weighted, dtype=np.int32)[self._last]
        # Drop scores whose samples all have weight 0.
        kept = np.flatnonzero(np.diff(total, prepend=0))
        return RocCurve(fakes[kept], (total - fakes)[kept])


def _from_zero(values: Counts) -> Counts:
    return np.concatenate((np.zeros(1, dtype=np.int32), values))
