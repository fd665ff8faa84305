"""Calibration: maps raw scores to probabilities, and fits the thresholds of verdicts."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.cards import Calibration
from deepscan.error_rates import ErrorRates
from deepscan.errors import UsageError

CalibrationMethod = Literal["temperature", "isotonic"]
CALIBRATION_METHODS: tuple[CalibrationMethod, ...] = ("temperature", "isotonic")

#: Probabilities are clipped this far from 0 and 1, where the logit would be infinite.
_EDGE = 1e-7
#: Default error rates of the thresholds on the data of the fit.
MAX_FPR, MAX_FNR = 0.05, 0.10


def threshold_rule(fpr: float = MAX_FPR, fnr: float = MAX_FNR, *, each: bool = False) -> str:
    """Return the sentence on a card that describes how its thresholds were chosen.

    Args:
        fpr: Share of the reals that may be called fake.
        fnr: Share of the fakes that may get the verdict no_evidence.
        each: Whether the rates apply to every source of the data separately.
    """
    of_each = " of each source" if each else ""
    return (
        f"fake: at most {100 * fpr:g}% of the reals{of_each} score at or above it; "
        f"no_evidence: at most {100 * fnr:g}% of the fakes{of_each} score below it; "
        "if the two cross they are swapped, and fake is at least 0.5, no_evidence at most 0.5, "
        "which only makes both limits stricter"
    )


def logit(raw: ArrayLike) -> NDArray[np.float64]:
    """Return the log-odds of probabilities; 0 and 1 are clipped so that the result is finite."""
    clipped = np.clip(np.asarray(raw, dtype=np.float64), _EDGE, 1 - _EDGE)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds


@overload
def calibrate(raw: float, calibration: Calibration) -> float: ...
@overload
def calibrate(raw: NDArray[np.floating], calibration: Calibration) -> NDArray[np.float64]: ...
def calibrate(raw: ArrayLike, calibration: Calibration) -> float | NDArray[np.float64]:
    """Return calibrated scores.

    Temperature scaling divides the logits of the raw scores ("On Calibration of Modern Neural Networks", ICML
    2017, Eq. 9, for two classes). It keeps the order of the scores and maps 0.5 to 0.5. Isotonic calibration
    interpolates linearly between its knots and is constant outside them, so different scores may become
    equal.

    Args:
        raw: Probability of fake, in [0, 1], any shape.
        calibration: The calibration of the model's card.
    """
    if calibration.method == "isotonic":
        knots = np.array(calibration.knots)
        scaled = np.asarray(np.interp(np.asarray(raw, dtype=np.float64), knots[:, 0], knots[:, 1]))
    else:
        scaled = 1 / (1 + np.exp(-logit(raw) / calibration.temperature))
    return float(scaled) if scaled.ndim == 0 else scaled


def fit_calibration(
    labels: ArrayLike,
    raw: ArrayLike,
    *,
    level: Literal["frame", "video"],
    data: str,
    method: CalibrationMethod = "temperature",
    fpr: float = MAX_FPR,
    fnr: float = MAX_FNR,
    groups: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> Calibration:
    """Fit a calibration to scores with known labels.

    The temperature minimises the negative log-likelihood. The isotonic curve is the non-decreasing one with
    the least squared error (Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass
    Probability Estimates", KDD 2002), kept 1 / (N + 2) away from 0 and 1, because N samples cannot support
    more certainty. Thresholds follow `threshold_rule`.

    Args:
        labels: 0 for real, 1 for fake, shape (N,).
        raw: Probability of fake, in [0, 1], shape (N,).
        level: Whether a sample is a frame or a video.
        data: Name of the data.
        method: `temperature`, for few samples, or `isotonic`, which needs a thousand or more.
        fpr: Share of the reals that may be called fake, in [0, 1).
        fnr: Share of the fakes that may get the verdict no_evidence, in [0, 1).
        groups: Group of each sample, length N: samples of the same group and label share a weight of 1. None
            gives every sample a weight of 1.
        sources: Source of each sample, length N, used for temperatures and thresholds only: every source has
            the same weight, and the rates apply to each source that has both labels. None for one source.

    Raises:
        UsageError: The shapes differ, a score is not a probability, a class is missing, the method is unknown
            or a rate is out of range.
    """
    truth, scores = np.asarray(labels), np.asarray(raw, dtype=np.float64)
    if truth.shape != scores.shape or truth.ndim != 1 or set(np.unique(truth)) != {0, 1}:
        raise UsageError(
            f"need labels {truth.shape} and scores {scores.shape} of equal length, with both classes present",
            "fit on scores of real (0) and of fake (1) samples",
        )
    if not ((scores >= 0) & (scores <= 1)).all():
        raise UsageError("a score to fit on is not in [0, 1]", "fit on probabilities of fake")
    if method not in CALIBRATION_METHODS:
        raise UsageError(
            f"unknown calibration method {method!r}", f"choose {' or '.join(CALIBRATION_METHODS)}"
        )
    for name, rate in (("false alarms", fpr), ("misses", fnr)):
        if not 0 <= rate < 1:
            raise UsageError(
                f"the rate of {name}, {rate:g}, is not in [0, 1)", "give a fraction, such as 0.05 for 5 %"
            )
    weights = _weights(truth, groups)
    parts = _parts(truth, sources)
    if method == "isotonic":
        fitted = Calibration(
            level, data, len(truth), "", 1.0, 0.5, 0.5, method="isotonic", knots=_isotonic(truth, scores)
        )
    else:
        shares = np.sum([np.where(part, weights / weights[part].sum(), 0) for part in parts], axis=0)
        fitted = Calibration(level, data, len(truth), "", _temperature(truth, scores, shares), 0.5, 0.5)
    scaled = calibrate(scores, fitted)
    low, high = _thresholds(truth, scaled, weights, parts, fpr, fnr)
    return replace(
        fitted,
        rule=threshold_rule(fpr, fnr, each=len(parts) > 1),
        temperature=round(fitted.temperature, 4),
        no_evidence=low,
        fake=high,
    )


def second_half(groups: Sequence[str]) -> NDArray[np.bool_]:
    """Return a mask of the samples whose group is in the second half, shape (N,); no group is in both halves.

    A calibration is fitted on the first half and measured on the second. The half of a group depends only on
    the hash of its name, not on the other groups.

    Args:
        groups: Group of each sample, length N.
    """
    half = {name: bool(hashlib.sha256(name.encode()).digest()[0] & 1) for name in set(groups)}
    return np.array([half[name] for name in groups], dtype=bool)


def _weights(truth: NDArray[np.int64], groups: Sequence[str] | None) -> NDArray[np.float64]:
    """Return the weight of each sample: 1, or 1 divided by the number of samples with its group and label."""
    if groups is None:
        return np.ones(len(truth))
    keys = list(zip(groups, truth.tolist(), strict=True))
    counts = Counter(keys)
    return np.array([1 / counts[key] for key in keys])


def _parts(truth: NDArray[np.int64], sources: Sequence[str] | None) -> list[NDArray[np.bool_]]:
    """Return a mask for each source that has both labels; one mask of all samples if fewer than two do."""
    names = np.array(sources if sources is not None else [""] * len(truth))
    found = [names == name for name in np.unique(names)]
    both = [part for part in found if len(np.unique(truth[part])) == 2]
    return both if len(both) > 1 else [np.ones(len(truth), dtype=bool)]


def _temperature(truth: NDArray[np.int64], scores: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    from scipy.optimize import minimize_scalar

    margin = np.where(truth == 1, 1, -1) * logit(scores)

    def cost(log_temperature: float) -> float:
        return float(np.average(np.logaddexp(0, -margin / np.exp(log_temperature)), weights=shares))

    return float(np.exp(minimize_scalar(cost, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def _isotonic(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    from sklearn.isotonic import IsotonicRegression

    edge = 1 / (len(truth) + 2)
    fitted = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(scores, truth)
    knots = zip(fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist(), strict=True)
    return tuple((raw, round(calibrated, 6)) for raw, calibrated in knots)


def _thresholds(
    truth: NDArray[np.int64],
    scaled: NDArray[np.float64],
    weights: NDArray[np.float64],
    parts: Sequence[NDArray[np.bool_]],
    fpr: float,
    fnr: float,
) -> tuple[float, float]:
    """Return the thresholds `no_evidence` and `fake`, rounded away from the samples."""
    reals, fakes = ([part & (truth == label) for part in parts] for label in (0, 1))
    # Just above the highest real that must not be called fake; at the lowest fake that must not be missed.
    alarm = max(-_first_beyond(-scaled[part], weights[part], fpr) for part in reals)
    miss = min(_first_beyond(scaled[part], weights[part], fnr) for part in fakes)
    low, high = sorted((float(np.floor(miss * 1e4 - 1) / 1e4), float(np.ceil(alarm * 1e4 + 1) / 1e4)))
    return max(min(low, 0.5), 0.0), min(max(high, 0.5), 1.0)


def _first_beyond(scores: NDArray[np.float64], weights: NDArray[np.float64], rate: float) -> float:
    """Return the lowest score at which the cumulative weight exceeds a share of the total, in [0, 1)."""
    order = np.argsort(scores)
    cumulative = np.cumsum(weights[order])
    # Weights such as 1/3 do not add up exactly.
    return float(scores[order][np.argmax(cumulative > rate * cumulative[-1] + 1e-9)])


def count_verdicts(
    labels: NDArray[np.int64],
    raw: NDArray[np.float64],
    calibration: Calibration,
    *,
    level: Literal["frame", "video"],
    data: str,
) -> ErrorRates:
    """Count right and wrong verdicts on labelled samples.

    Args:
        labels: 0 or 1, shape (N,).
        raw: Probability of fake, shape (N,).
        calibration: Calibration of the scores, with the thresholds.
        level: Whether a sample is a frame or a video.
        data: Name of the data.
    """
    scores = calibrate(raw, calibration)
    called, cleared = scores >= calibration.fake, scores < calibration.no_evidence
    real, fake = labels == 0, labels == 1
    return ErrorRates(
        data=data,
        level=level,
        reals=int(real.sum()),
        reals_called_fake=int(called[real].sum()),
        reals_no_evidence=int(cleared[real].sum()),
        fakes=int(fake.sum()),
        fakes_called_fake=int(called[fake].sum()),
        fakes_no_evidence=int(cleared[fake].sum()),
    )
