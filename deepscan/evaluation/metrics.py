"""Figures of merit of fake probabilities, and how far chance may have moved them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.errors import UsageError

Metric = Callable[[ArrayLike, ArrayLike], float]


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


def equal_error_rate(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the false positive rate at the ROC point where |FNR - FPR| is smallest, in [0, 1].

    No interpolation between points: the rule of DeepfakeBench, which published figures follow.

    Raises:
        UsageError: See `checked`.
    """
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(*checked(labels, scores))
    at = int(np.argmin(np.abs(1 - true_positive - false_positive)))
    return float(false_positive[at])


def accuracy(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the share of samples on their side of 0.5, fake being strictly above it.

    Raises:
        UsageError: See `checked`; one class alone is allowed.
    """
    truth, given = checked(labels, scores, both_classes=False)
    return float(np.mean((given > 0.5) == truth))


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
    groups: Sequence[str],
    *,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a figure with its percentile bootstrap interval, resampled by group.

    Samples of one source share its look, so whole groups are drawn with replacement: drawing samples would
    make the interval too narrow. Draws that hold one class only are drawn again.

    Args:
        metric: A function of this module.
        labels: 0 or 1, shape (N,).
        scores: Probability of fake, shape (N,).
        groups: Group of each sample, length N.
        rounds: Number of draws.
        level: Share of the draws between the bounds.
        seed: Of the draws.

    Raises:
        UsageError: See `checked`, or the groups are not one a sample.
    """
    truth, given = checked(labels, scores)
    if len(groups) != len(truth):
        raise UsageError(f"{len(groups)} groups for {len(truth)} samples", "give one group for each sample")
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(group_of == group) for group in range(group_of.max() + 1)]
    rng = np.random.default_rng(seed)
    figures: list[float] = []
    while len(figures) < rounds:
        drawn = np.concatenate([members[at] for at in rng.integers(len(members), size=len(members))])
        if truth[drawn].min() != truth[drawn].max():
            figures.append(metric(truth[drawn], given[drawn]))
    low, high = np.quantile(figures, ((1 - level) / 2, (1 + level) / 2))
    return Interval(metric(truth, given), float(low), float(high), level)
