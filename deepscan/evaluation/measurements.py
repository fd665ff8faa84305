"""All metrics of a set of scores, with reasons for undefined ones, and the handling of missing scores."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.errors import UsageError, require_choice
from deepscan.metrics.binary import METRICS, Interval, Measure, bootstrap_all, check_samples

Missing = Literal["exclude", "as-real", "as-fake"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A metric with its sample size and interval, or the reason why it is undefined.

    Attributes:
        metric: Its name in `METRICS`.
        n: Number of samples.
        groups: Number of groups.
        value: The value; None if undefined.
        interval: Bootstrap interval by group; None without a value, or if a class has a single group.
        reason: Reason for a missing value or interval; empty otherwise.
    """

    metric: str
    n: int
    groups: int
    value: float | None
    interval: Interval | None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.interval is None and not self.reason:
            raise ValueError(f"{self.metric} without an interval needs a reason")

    def to_json(self) -> dict[str, Any]:
        """Return it in the format of cards and reports, rounded to four digits."""
        return {
            "metric": self.metric,
            "value": None if self.value is None else round(self.value, 4),
            "interval": self.interval and self.interval.bounds,
            "n": self.n,
            "groups": self.groups,
            **({"reason": self.reason} if self.reason else {}),
        }


def measure_all(
    labels: ArrayLike,
    raw: ArrayLike,
    groups: Sequence[str] | NDArray[np.int64] | None = None,
    calibration: Calibration | None = None,
    *,
    measures: Mapping[str, Measure] = METRICS,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Measurement]:
    """Compute all metrics of scores, in the order of `METRICS`.

    Args:
        labels: 0 for real, 1 for fake, shape (N,); one class, or none, is allowed.
        raw: Probability of fake, shape (N,).
        groups: Group of each sample, length N; None if each is its own group.
        calibration: Calibration of the model; without it, metrics of calibrated scores are undefined.
        measures: The metrics, by their names in `METRICS`.
        rounds: Number of draws for the intervals.
        level: Confidence level of the intervals.
        seed: Seed of the draws.

    Raises:
        UsageError: Labels, scores and groups differ in length, or a value is out of range.
    """
    truth = np.asarray(labels)
    if truth.shape == (0,):
        return [Measurement(name, 0, 0, None, None, "no samples") for name in measures]
    truth, probabilities = check_samples(truth, raw, both_classes=False)
    group_of = np.arange(len(truth)) if groups is None else np.asarray(groups)
    number = len(np.unique(group_of))
    scores = {"raw": probabilities}
    if calibration is not None:
        scores["calibrated"] = scores["threshold"] = calibrate(probabilities, calibration)
    metrics = {name: metric.at(calibration.fake if calibration else 0.5) for name, metric in measures.items()}
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, metric in metrics.items():
        if measures[name].needs not in scores:
            reasons[name] = "the scores have no calibration"
            continue
        try:
            values[name] = metric(truth, scores[measures[name].needs])
        except UsageError as error:
            reasons[name] = error.message
    intervals: dict[str, Interval] = {}
    no_interval = _of_one_group(truth, group_of)
    for needed, values_of in scores.items() if not no_interval else ():
        names = [name for name in values if measures[name].needs == needed]
        selected = [metrics[name] for name in names]
        options = bootstrap_all(selected, truth, values_of, group_of, rounds=rounds, level=level, seed=seed)
        intervals |= dict(zip(names, options, strict=True))
    return [
        Measurement(
            name,
            len(truth),
            number,
            values.get(name),
            intervals.get(name),
            "" if name in intervals else reasons.get(name, no_interval),
        )
        for name in measures
    ]


def _of_one_group(truth: NDArray[np.int64], groups: NDArray[Any]) -> str:
    """Return the reason why groups cannot be resampled; empty if they can."""
    for label, name in enumerate(("reals", "fakes")):
        if len(np.unique(groups[truth == label])) == 1:
            return f"all {name} are in one group, so they cannot be resampled"
    return ""


def measure_kinds(
    labels: NDArray[np.int64],
    raw: NDArray[np.float64],
    kinds: Sequence[str],
    groups: Sequence[str] | NDArray[np.int64],
    calibration: Calibration | None = None,
    **options: Any,
) -> dict[str, list[Measurement]]:
    """Compute the metrics of each kind of fake against all reals.

    Args:
        labels: 0 or 1, shape (N,).
        raw: Probability of fake, shape (N,).
        kinds: Kind of each sample, such as `FF-DF`, length N; those of reals are ignored.
        groups: Group of each sample, length N.
        calibration: See `measure_all`.
        options: `measures`, `rounds`, `level` and `seed` of `measure_all`.

    Raises:
        UsageError: See `measure_all`.
    """
    kind_of, group_of, measurements = np.asarray(kinds), np.asarray(groups), {}
    for kind in dict.fromkeys(kind_of[labels == 1].tolist()):
        rows = (labels == 0) | (kind_of == kind)
        measurements[str(kind)] = measure_all(labels[rows], raw[rows], group_of[rows], calibration, **options)
    return measurements


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """The samples that have a score, and the treatment of those without.

    Attributes:
        policy: Samples without a score are left out (`exclude`), score 0 (`as-real`) or 1 (`as-fake`).
        n: Number of samples.
        scored: Number of samples with a score.
        missing: Reason for a missing score -> number of samples.
        rows: Indices of the samples to measure, shape (M,).
        scores: Their scores, shape (M,).
    """

    policy: Missing
    n: int
    scored: int
    missing: Mapping[str, int]
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "n": self.n,
            "scored": self.scored,
            "missing": dict(self.missing),
            "missing_counted": self.policy,
        }


def cover(scores: ArrayLike, statuses: Sequence[str] = (), missing: Missing = "exclude") -> Coverage:
    """Apply a policy for missing scores, and count them by reason.

    Args:
        scores: Probability of fake, NaN for a sample without a score, shape (N,).
        statuses: Reason of each missing score, length N, or empty if unknown; ignored for scored samples.
        missing: Policy for samples without a score; see `Coverage`.

    Raises:
        UsageError: The policy is unknown.
    """
    require_choice("missing", (missing,), get_args(Missing))
    values = np.asarray(scores, dtype=np.float64)
    unscored = np.isnan(values)
    reasons = Counter(
        statuses[row] if len(statuses) else "no_score" for row in np.flatnonzero(unscored).tolist()
    )
    rows = np.flatnonzero(~unscored) if missing == "exclude" else np.arange(len(values))
    filled = np.where(unscored, 1.0 if missing == "as-fake" else 0.0, values)
    return Coverage(missing, len(values), int((~unscored).sum()), dict(reasons), rows, filled[rows])
