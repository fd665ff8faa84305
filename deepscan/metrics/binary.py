"""Metrics on probabilities of fake, with bootstrap intervals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.errors import UsageError
from deepscan.metrics.ranking import RankedSamples, RocCurve

#: Maps labels and scores, both of shape (N,), to a value.
MetricFunction = Callable[[ArrayLike, ArrayLike], float]
#: Maximum false positive rates of `partial_auc` and `tpr_at_fpr`.
PARTIAL_FPR, LOW_FPR = 0.1, 0.01


def check_samples(
    labels: ArrayLike, scores: ArrayLike, *, both_classes: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Check that metrics are defined for labels and scores, and return both as arrays.

    Args:
        labels: 0 for real, 1 for fake, shape (N,).
        scores: Probability of fake, in [0, 1], shape (N,).
        both_classes: Whether both labels must be present.

    Raises:
        UsageError: The shapes differ, there are no samples, a score is NaN or outside [0, 1], a label is
            neither 0 nor 1, or a class is missing.
    """
    truth, probabilities = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    hint = "give one label (0 real, 1 fake) and one finite probability for each sample"
    if truth.ndim != 1 or truth.shape != probabilities.shape:
        raise UsageError(f"labels {truth.shape} and scores {probabilities.shape} do not match", hint)
    if not len(truth):
        raise UsageError("there are no samples to measure", hint)
    if not np.isin(truth, (0, 1)).all():
        raise UsageError("a label is neither 0 nor 1", hint)
    if np.isnan(probabilities).any():
        raise UsageError(f"{int(np.isnan(probabilities).sum())} of {len(probabilities)} scores are NaN", hint)
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise UsageError(
            f"scores range from {probabilities.min():.3g} to {probabilities.max():.3g}, outside [0, 1]", hint
        )
    if both_classes and truth.min() == truth.max():
        only = "fake" if truth[0] else "real"
        raise UsageError(f"all {len(truth)} samples are {only}", "measure on samples of both classes")
    return truth.astype(np.int64), probabilities


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve (trapezoidal, ties count half), in [0, 1].

    Raises:
        UsageError: See `check_samples`.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*check_samples(labels, scores)))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the average precision (a step-wise sum, without interpolation), in [0, 1].

    Raises:
        UsageError: See `check_samples`.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*check_samples(labels, scores)))


def partial_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve up to a false positive rate of `PARTIAL_FPR`, in [0, 1].

    Standardised after McClish ("Analyzing a Portion of the ROC Curve", Medical Decision Making 1989), as in
    scikit-learn: chance gives 0.5, a perfect ranking 1. The curve is interpolated linearly.

    Raises:
        UsageError: See `check_samples`.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*check_samples(labels, scores), max_fpr=PARTIAL_FPR))


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the true positive rate at a false positive rate of at most `LOW_FPR`, in [0, 1].

    Samples with equal scores are counted together and nothing is interpolated. With fewer than
    1 / `LOW_FPR` reals, this is the share of fakes that score above every real.

    Raises:
        UsageError: See `check_samples`.
    """
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(*check_samples(labels, scores), drop_intermediate=False)
    return float(true_positive[false_positive <= LOW_FPR][-1])


def eer(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the false positive rate at the ROC point where |FNR - FPR| is smallest, in [0, 1].

    Each distinct score is a point; nothing is interpolated.

    Raises:
        UsageError: See `check_samples`.
    """
    return _eer(labels, scores, every_point=True)


def published_eer(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the equal error rate as DeepfakeBench and published results compute it, in [0, 1].

    Like scikit-learn by default, this keeps only the end points of a straight segment of the ROC curve. With
    a few dozen samples the two rates may cross far from either end: four fakes, one of which scores below two
    of four reals, give a rate of 0.

    Raises:
        UsageError: See `check_samples`.
    """
    return _eer(labels, scores, every_point=False)


def _eer(labels: ArrayLike, scores: ArrayLike, *, every_point: bool) -> float:
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(
        *check_samples(labels, scores), drop_intermediate=not every_point
    )
    return float(false_positive[np.argmin(np.abs(1 - true_positive - false_positive))])


def accuracy(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the share of samples classified correctly at 0.5; a fake scores strictly above it.

    Raises:
        UsageError: See `check_samples`; one class alone is allowed.
    """
    truth, probabilities = check_samples(labels, scores, both_classes=False)
    return float(np.mean((probabilities > 0.5) == truth))


def accuracy_from(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Return the share of samples classified correctly at a threshold; a fake scores at or above it.

    Verdicts use the same comparison.

    Raises:
        UsageError: See `check_samples`; one class alone is allowed.
    """
    truth, probabilities = check_samples(labels, scores, both_classes=False)
    return float(np.mean((probabilities >= threshold) == truth))


def calibration_error(labels: ArrayLike, scores: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error of the probability of fake, in [0, 1].

    The bins have equal width. Each contributes its share of the samples times the distance between its mean
    score and its share of fakes ("On Calibration of Modern Neural Networks", ICML 2017, Eq. 3, applied to the
    probability of fake instead of that of the predicted class).

    Raises:
        UsageError: See `check_samples`; one class alone is allowed.
    """
    truth, probabilities = check_samples(labels, scores, both_classes=False)
    inside = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(inside, weights=probabilities - truth, minlength=bins)
    return float(np.abs(gaps).sum() / len(probabilities))


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of cards and reports, with the kind of scores that it needs.

    Attributes:
        function: The metric; it takes a `threshold` too if `needs` is `threshold`.
        needs: `raw` or `calibrated` scores; `threshold` for calibrated ones and the card's `fake` threshold.
        better: Whether a `higher` or a `lower` value is better.
    """

    function: Callable[..., float]
    needs: Literal["raw", "calibrated", "threshold"]
    better: Literal["higher", "lower"]

    def at(self, threshold: float) -> MetricFunction:
        """Return the metric as a function of labels and scores, with the threshold bound if it takes one.

        Args:
            threshold: Calibrated scores of at least this are fake.
        """
        return partial(self.function, threshold=threshold) if self.needs == "threshold" else self.function


#: The metrics of cards and reports, in report order; the names are keys in both.
METRICS: Mapping[str, Measure] = {
    "auc": Measure(auc, "raw", "higher"),
    "partial_auc": Measure(partial_auc, "raw", "higher"),
    "average_precision": Measure(average_precision, "raw", "higher"),
    "equal_error_rate": Measure(eer, "raw", "lower"),
    "recall_at_1_percent_fpr": Measure(tpr_at_fpr, "raw", "higher"),
    "accuracy": Measure(accuracy, "raw", "higher"),
    "accuracy_at_threshold": Measure(accuracy_from, "threshold", "higher"),
    "calibration_error_raw": Measure(calibration_error, "raw", "lower"),
    "calibration_error": Measure(calibration_error, "calibrated", "lower"),
}

#: The same metrics for comparison with published results.
PUBLISHED_METRICS: Mapping[str, Measure] = {
    **METRICS,
    "equal_error_rate": Measure(published_eer, "raw", "lower"),
}

#: Implementations on a ROC curve, so that a thousand draws do not sort the samples a thousand times.
_OF_CURVE: Mapping[MetricFunction, Callable[[RocCurve], float]] = {
    auc: RocCurve.auc,
    partial_auc: partial(RocCurve.partial_auc, max_fpr=PARTIAL_FPR),
    average_precision: RocCurve.average_precision,
    eer: RocCurve.eer,
    published_eer: RocCurve.published_eer,
    tpr_at_fpr: partial(RocCurve.tpr_at_fpr, max_fpr=LOW_FPR),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its bootstrap interval.

    Attributes:
        value: The value on the original data.
        low: Lower bound.
        high: Upper bound.
        level: Confidence level: the share of the resampled values between the bounds.
    """

    value: float
    low: float
    high: float
    level: float

    @property
    def bounds(self) -> list[float]:
        """Both bounds, rounded to four digits as in cards and reports."""
        return [round(self.low, 4), round(self.high, 4)]


def bootstrap(
    metric: MetricFunction,
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[str] | NDArray[np.int64],
    **options: Any,
) -> Interval:
    """Return one metric with its interval; see `bootstrap_all` for the arguments."""
    return bootstrap_all([metric], labels, scores, groups, **options)[0]


def bootstrap_all(
    metrics: Sequence[MetricFunction],
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[str] | NDArray[np.int64],
    *,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Return metrics with their percentile bootstrap intervals, resampled by group, all on the same draws.

    Samples of one source are correlated, so whole groups are drawn with replacement: drawing single samples
    would make the intervals too narrow. If the data have both classes, a draw that lacks one is repeated.

    Args:
        metrics: Functions of labels and scores; the ranking metrics of this module are fastest.
        labels: 0 or 1, shape (N,).
        scores: Probability of fake, shape (N,).
        groups: Group of each sample, as a name or a number, length N.
        rounds: Number of draws.
        level: Confidence level: the share of the draws between the bounds.
        seed: Seed of the draws.

    Raises:
        UsageError: See `check_samples`; or a metric rejects the samples, or the number of groups is wrong.
    """
    truth, probabilities = check_samples(labels, scores, both_classes=False)
    values = [metric(truth, probabilities) for metric in metrics]
    ranking = RankedSamples(truth, probabilities)
    any_slow = any(metric not in _OF_CURVE for metric in metrics)
    drawn = np.empty((rounds, len(metrics)))
    for row, weights in zip(drawn, bootstrap_weights(truth, groups, rounds, seed), strict=True):
        curve = ranking.roc_curve(weights)
        # In sample order; a different order changes results by rounding only.
        indices = np.repeat(np.arange(len(truth), dtype=np.int32), weights) if any_slow else None
        for column, metric in enumerate(metrics):
            of_curve = _OF_CURVE.get(metric)
            row[column] = (
                metric(truth[indices], probabilities[indices]) if of_curve is None else of_curve(curve)
            )
    bounds = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=0).T
    return [
        Interval(value, float(low), float(high), level)
        for value, (low, high) in zip(values, bounds, strict=True)
    ]


def bootstrap_weights(
    labels: NDArray[np.int64], groups: Sequence[str] | NDArray[np.int64], rounds: int, seed: int
) -> Iterator[NDArray[np.int32]]:
    """Yield how often each sample occurs in a draw of whole groups with replacement, shape (N,).

    If the data have both classes, a draw that lacks one is repeated.

    Args:
        labels: 0 or 1, shape (N,).
        groups: Group of each sample, length N.
        rounds: Number of draws.
        seed: Seed of the draws.

    Raises:
        UsageError: The number of groups is not N.
    """
    if len(groups) != len(labels):
        raise UsageError(f"{len(groups)} groups for {len(labels)} samples", "give one group for each sample")
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    number = int(group_of.max()) + 1
    fakes = np.bincount(group_of, weights=labels, minlength=number)
    reals = np.bincount(group_of, weights=1 - labels, minlength=number)
    both = bool(fakes.any() and reals.any())
    rng = np.random.default_rng(seed)
    done = 0
    while done < rounds:
        weights = np.bincount(rng.integers(number, size=number), minlength=number).astype(np.int32)
        if both and not (weights @ fakes and weights @ reals):
            continue
        done += 1
        yield weights[group_of]
