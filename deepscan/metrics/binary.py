"""Figures of merit of fake probabilities, and how far chance may have moved them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.errors import UsageError
from deepscan.metrics.ranking import (
    Curve,
    Ranking,
    area,
    crossing,
    partial_area,
    precision_mean,
    published_crossing,
    recall,
)

#: Takes labels and scores, both of shape (N,).
Metric = Callable[[ArrayLike, ArrayLike], float]
#: False positive rates up to which the partial AUC and the recall look.
PARTIAL_FPR, RECALL_FPR = 0.1, 0.01


def checked(
    labels: ArrayLike, scores: ArrayLike, *, both_classes: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels and scores as arrays, refused where a figure of them would mean nothing.

    Args:
        labels: 0 for real, 1 for fake, shape (N,).
        scores: Probability of fake, in [0, 1], shape (N,).
        both_classes: Whether both labels must occur.

    Raises:
        UsageError: Shapes differ, nothing is there, a score is NaN or outside [0, 1], a label is neither 0
            nor 1, or only one class is there.
    """
    truth, given = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    hint = "give one label (0 real, 1 fake) and one finite probability for each sample"
    if truth.ndim != 1 or truth.shape != given.shape:
        raise UsageError(f"labels {truth.shape} and scores {given.shape} do not match", hint)
    if not len(truth):
        raise UsageError("there are no samples to measure", hint)
    if not np.isin(truth, (0, 1)).all():
        raise UsageError("a label is neither 0 nor 1", hint)
    if np.isnan(given).any():
        raise UsageError(f"{int(np.isnan(given).sum())} of {len(given)} scores are NaN", hint)
    if given.min() < 0 or given.max() > 1:
        raise UsageError(f"scores reach from {given.min():.3g} to {given.max():.3g}, outside [0, 1]", hint)
    if both_classes and truth.min() == truth.max():
        only = "fake" if truth[0] else "real"
        raise UsageError(f"all {len(truth)} samples are {only}", "measure on samples of both classes")
    return truth.astype(np.int64), given


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve (trapezoid, ties count half), in [0, 1].

    Raises:
        UsageError: See `checked`.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*checked(labels, scores)))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the average precision (sum of steps, not of trapezoids), in [0, 1].

    Raises:
        UsageError: See `checked`.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*checked(labels, scores)))


def partial_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve up to a false positive rate of `PARTIAL_FPR`, in [0, 1].

    Standardised as scikit-learn does by McClish ("Analyzing a Portion of the ROC Curve", Medical Decision
    Making 1989): chance gives 0.5, a perfect order 1. The curve is a straight line between two points.

    Raises:
        UsageError: See `checked`.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*checked(labels, scores), max_fpr=PARTIAL_FPR))


def recall_at_low_fpr(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the share of fakes found where at most `RECALL_FPR` of the reals are taken for fake, in [0, 1].

    Samples of one score are taken together or not at all, and there is nothing between two points of the ROC
    curve: with fewer than 1 / `RECALL_FPR` reals, it is the share of fakes above every real.

    Raises:
        UsageError: See `checked`.
    """
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(*checked(labels, scores), drop_intermediate=False)
    return float(true_positive[false_positive <= RECALL_FPR][-1])


def equal_error_rate(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the false positive rate at the ROC point where |FNR - FPR| is smallest, in [0, 1].

    There is a point for each score that occurs, and no interpolation between them.

    Raises:
        UsageError: See `checked`.
    """
    return _crossing(labels, scores, every_point=True)


def published_equal_error_rate(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the equal error rate as DeepfakeBench has it, and with it published figures, in [0, 1].

    Of a straight run of the ROC curve only the ends are points, those that scikit-learn keeps. Of a few
    dozen samples the rates may cross far from either: four fakes, one of them below two of four reals, then
    have a rate of 0.

    Raises:
        UsageError: See `checked`.
    """
    return _crossing(labels, scores, every_point=False)


def _crossing(labels: ArrayLike, scores: ArrayLike, *, every_point: bool) -> float:
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(*checked(labels, scores), drop_intermediate=not every_point)
    at = int(np.argmin(np.abs(1 - true_positive - false_positive)))
    return float(false_positive[at])


def accuracy(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the share of samples on their side of 0.5, fake being strictly above it.

    Raises:
        UsageError: See `checked`; one class alone is allowed.
    """
    truth, given = checked(labels, scores, both_classes=False)
    return float(np.mean((given > 0.5) == truth))


def accuracy_from(labels: ArrayLike, scores: ArrayLike, threshold: float) -> float:
    """Return the share of samples on their side of a threshold, fake being at least it, as a verdict has it.

    Raises:
        UsageError: See `checked`; one class alone is allowed.
    """
    truth, given = checked(labels, scores, both_classes=False)
    return float(np.mean((given >= threshold) == truth))


def calibration_error(labels: ArrayLike, scores: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error of the probability of fake, in [0, 1].

    Equal-width bins of the score; each weighs in with its share of the samples times the distance between
    its mean score and its share of fakes ("On Calibration of Modern Neural Networks", ICML 2017, Eq. 3,
    on the probability of fake rather than on the winner's).

    Raises:
        UsageError: See `checked`; one class alone is allowed.
    """
    truth, given = checked(labels, scores, both_classes=False)
    inside = np.minimum((given * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(inside, weights=given - truth, minlength=bins)
    return float(np.abs(gaps).sum() / len(given))


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric under the name that cards and reports give it, and what it is taken of.

    Attributes:
        function: The metric; it takes a threshold as well where `needs` says so.
        needs: `raw` or `calibrated` scores, or calibrated ones and the card's `threshold` of fake.
        better: Whether `higher` or `lower` figures are better.
    """

    function: Callable[..., float]
    needs: Literal["raw", "calibrated", "threshold"]
    better: Literal["higher", "lower"]

    def at(self, threshold: float) -> Metric:
        """Return the metric, with the threshold where it takes one.

        Args:
            threshold: Calibrated scores of at least this are fake.
        """
        return partial(self.function, threshold=threshold) if self.needs == "threshold" else self.function


#: What is measured, in the order in which it is told.
METRICS: Mapping[str, Measure] = {
    "auc": Measure(auc, "raw", "higher"),
    "partial_auc": Measure(partial_auc, "raw", "higher"),
    "average_precision": Measure(average_precision, "raw", "higher"),
    "equal_error_rate": Measure(equal_error_rate, "raw", "lower"),
    "recall_at_1_percent_fpr": Measure(recall_at_low_fpr, "raw", "higher"),
    "accuracy": Measure(accuracy, "raw", "higher"),
    "accuracy_at_threshold": Measure(accuracy_from, "threshold", "higher"),
    "calibration_error_raw": Measure(calibration_error, "raw", "lower"),
    "calibration_error": Measure(calibration_error, "calibrated", "lower"),
}

#: The same where figures are to stand beside published ones.
PUBLISHED: Mapping[str, Measure] = {
    **METRICS,
    "equal_error_rate": Measure(published_equal_error_rate, "raw", "lower"),
}

#: The same figures of a curve: a thousand draws need not sort the samples a thousand times.
_OF_CURVE: Mapping[Metric, Callable[[Curve], float]] = {
    auc: area,
    partial_auc: partial(partial_area, max_fpr=PARTIAL_FPR),
    average_precision: precision_mean,
    equal_error_rate: crossing,
    published_equal_error_rate: published_crossing,
    recall_at_low_fpr: partial(recall, max_fpr=RECALL_FPR),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the interval in which resampled data put it.

    Attributes:
        value: The figure on the data as they are.
        low: Lower bound.
        high: Upper bound.
        level: Share of the resampled figures between the bounds.
    """

    value: float
    low: float
    high: float
    level: float


def bootstrap(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[str] | NDArray[np.int64],
    *,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a figure with its percentile bootstrap interval, resampled by group.

    Samples of one source share its look, so whole groups are drawn with replacement: drawing samples would
    make the interval too narrow. Where there are both classes, draws that hold one only are drawn again.

    Args:
        metric: A function of labels and scores; those of this module that rank are drawn fastest.
        labels: 0 or 1, shape (N,).
        scores: Probability of fake, shape (N,).
        groups: Group of each sample, by name or number, length N.
        rounds: Number of draws.
        level: Share of the draws between the bounds.
        seed: Of the draws.

    Raises:
        UsageError: See `checked`, the metric refuses the samples, or the groups are not one a sample.
    """
    return bootstrap_all([metric], labels, scores, groups, rounds=rounds, level=level, seed=seed)[0]


def bootstrap_all(
    metrics: Sequence[Metric],
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[str] | NDArray[np.int64],
    *,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Return several figures of the same samples, each as `bootstrap` gives it, from the same draws.

    Args:
        metrics: As `bootstrap` takes one.
        labels: 0 or 1, shape (N,).
        scores: Probability of fake, shape (N,).
        groups: Group of each sample, by name or number, length N.
        rounds: Number of draws.
        level: Share of the draws between the bounds.
        seed: Of the draws.

    Raises:
        UsageError: See `bootstrap`.
    """
    truth, given = checked(labels, scores, both_classes=False)
    values = [metric(truth, given) for metric in metrics]
    ranking = Ranking(truth, given)
    others = any(metric not in _OF_CURVE for metric in metrics)
    drawn = np.empty((rounds, len(metrics)))
    for row, weights in zip(drawn, draws(truth, groups, rounds, seed), strict=True):
        curve = ranking.curve(weights)
        # In the order of the samples, which changes no figure but by rounding.
        again = np.repeat(np.arange(len(truth), dtype=np.int32), weights) if others else None
        for at, metric in enumerate(metrics):
            of_curve = _OF_CURVE.get(metric)
            row[at] = metric(truth[again], given[again]) if of_curve is None else of_curve(curve)
    bounds = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=0).T
    return [
        Interval(value, float(low), float(high), level)
        for value, (low, high) in zip(values, bounds, strict=True)
    ]


def draws(
    labels: NDArray[np.int64], groups: Sequence[str] | NDArray[np.int64], rounds: int, seed: int
) -> Iterator[NDArray[np.int32]]:
    """Yield how often each sample is drawn as whole groups are drawn with replacement, shape (N,).

    Where there are both classes, a draw that holds one only is drawn again.

    Args:
        labels: 0 or 1, shape (N,).
        groups: Group of each sample, length N.
        rounds: Number of draws.
        seed: Of the draws.

    Raises:
        UsageError: The groups are not one a sample.
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
