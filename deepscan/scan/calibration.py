"""Calibration: what turns raw scores into believable probabilities, and the thresholds of verdicts."""

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.cards import Calibration
from deepscan.errors import UsageError

#: Beyond this a float32 probability of 0 or 1 has no finite logit.
_EDGE = 1e-7
#: What the thresholds promise on the data of the fit.
FALSE_ALARMS, MISSES = 0.05, 0.10
RULE = (
    f"fake: at most {FALSE_ALARMS:.0%} of the reals score at or above it; "
    f"no_evidence: at most {MISSES:.0%} of the fakes score below it; where the two cross they change places, "
    "and fake is at least 0.5, no_evidence at most 0.5: both promises then hold all the more"
)


def _logit(raw: ArrayLike) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(raw, dtype=np.float64), _EDGE, 1 - _EDGE)
    logit: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return logit


@overload
def calibrate(raw: float, calibration: Calibration) -> float: ...
@overload
def calibrate(raw: NDArray[np.floating], calibration: Calibration) -> NDArray[np.float64]: ...
def calibrate(raw: ArrayLike, calibration: Calibration) -> float | NDArray[np.float64]:
    """Return calibrated scores: the raw scores' logits divided by the temperature.

    Temperature scaling ("On Calibration of Modern Neural Networks", ICML 2017, Eq. 9, for two classes). It
    keeps the order of scores, and 0.5 where it is.

    Args:
        raw: Probability of fake in [0, 1], any shape.
        calibration: What the model's card states.
    """
    scaled: NDArray[np.float64] = 1 / (1 + np.exp(-_logit(raw) / calibration.temperature))
    return float(scaled) if scaled.ndim == 0 else scaled


def fit(labels: ArrayLike, raw: ArrayLike, *, level: Literal["frame", "video"], data: str) -> Calibration:
    """Return the calibration that fits scores with known labels.

    The temperature has the least negative log-likelihood; the thresholds follow `RULE`.

    Args:
        labels: 0 for real, 1 for fake, shape (N,).
        raw: Probability of fake, in [0, 1], shape (N,).
        level: What one sample is.
        data: The data, named.

    Raises:
        UsageError: Shapes differ, a score is not a probability, or a class is missing.
    """
    from scipy.optimize import minimize_scalar

    truth, given = np.asarray(labels), np.asarray(raw, dtype=np.float64)
    if truth.shape != given.shape or truth.ndim != 1 or set(np.unique(truth)) != {0, 1}:
        raise UsageError(
            f"labels {truth.shape} and scores {given.shape} are no sample of both classes",
            "fit on scores of real (0) and of fake (1) samples",
        )
    if not ((given >= 0) & (given <= 1)).all():
        raise UsageError("a score to fit on is not in [0, 1]", "fit on probabilities of fake")
    margin = np.where(truth == 1, 1, -1) * _logit(given)

    def cost(log_temperature: float) -> float:
        return float(np.logaddexp(0, -margin / np.exp(log_temperature)).mean())

    temperature = float(np.exp(minimize_scalar(cost, bounds=(np.log(0.05), np.log(20)), method="bounded").x))
    scaled = 1 / (1 + np.exp(-_logit(given) / temperature))
    low, high = _thresholds(scaled[truth == 0], scaled[truth == 1])
    return Calibration(
        level=level,
        data=data,
        n=len(truth),
        rule=RULE,
        temperature=round(temperature, 4),
        no_evidence=low,
        fake=high,
    )


def _thresholds(real: NDArray[np.float64], fake: NDArray[np.float64]) -> tuple[float, float]:
    """Return the thresholds `no_evidence` and `fake` of calibrated scores, rounded away from the samples."""
    reals, fakes = np.sort(real)[::-1], np.sort(fake)
    # Just above the first real that may not sound the alarm, and at the first fake that may not be missed.
    alarm = np.ceil(reals[int(FALSE_ALARMS * len(reals))] * 1e4 + 1) / 1e4
    miss = np.floor(fakes[int(MISSES * len(fakes))] * 1e4 - 1) / 1e4
    low, high = sorted((float(miss), float(alarm)))
    return max(min(low, 0.5), 0.0), min(max(high, 0.5), 1.0)
