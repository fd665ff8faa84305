"""A model's card with a new calibration."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from deepscan.calibration import (
    MAX_FNR,
    MAX_FPR,
    CalibrationMethod,
    count_verdicts,
    fit_calibration,
    second_half,
)
from deepscan.cards import ModelCard
from deepscan.errors import UsageError
from deepscan.evaluation.measurements import measure_all
from deepscan.metrics.binary import METRICS


def recalibrate(
    card: ModelCard,
    labels: ArrayLike,
    raw: ArrayLike,
    groups: Sequence[str],
    *,
    level: Literal["frame", "video"],
    data: str,
    method: CalibrationMethod = "temperature",
    fpr: float = MAX_FPR,
    fnr: float = MAX_FNR,
) -> ModelCard:
    """Return a model's card with a new calibration, fitted in the same way as after training.

    The calibration is fitted on the first half of the groups; metrics on the second half are added to the
    card's results. Results that depend on the old calibration, and those of the same data and level, are
    removed.

    Args:
        card: The model's card; the file is not changed.
        labels: 0 for real, 1 for fake, shape (N,).
        raw: Probability of fake from the model, shape (N,).
        groups: Group of each sample, length N.
        level: Whether a sample is a frame or a video.
        data: Name of the data.
        method: See `fit_calibration`.
        fpr: See `fit_calibration`.
        fnr: See `fit_calibration`.

    Raises:
        UsageError: See `fit_calibration`; or a half lacks a class, or the first is too small for the rates.
    """
    truth, scores = np.asarray(labels), np.asarray(raw, dtype=np.float64)
    if not truth.shape == scores.shape == (len(groups),):
        raise UsageError(
            f"labels {truth.shape}, scores {scores.shape} and {len(groups)} groups do not match",
            "give one of each for every sample",
        )
    second = second_half(groups)
    for name, part in (("first", truth[~second]), ("second", truth[second])):
        if set(part.tolist()) != {0, 1}:
            raise UsageError(
                f"the {name} half has {len(part)} of {len(truth)} samples and lacks reals or fakes",
                "calibrate on more groups of both labels",
            )
    for name, label, rate in (("reals", 0, fpr), ("fakes", 1, fnr)):
        count = int((truth[~second] == label).sum())
        if rate and count * rate < 1:
            raise UsageError(
                f"{count} {name} in the first half are too few for an error rate of {rate:.3g}",
                f"use at least {2 * math.ceil(1 / rate)} {name}, or allow a higher rate",
            )
    calibration = fit_calibration(
        truth[~second],
        scores[~second],
        level=level,
        data=f"{data}: first half of the groups",
        method=method,
        fpr=fpr,
        fnr=fnr,
    )
    test_data = f"{data}: second half of the groups, on which nothing was fitted"
    figures = measure_all(truth[second], scores[second], np.asarray(groups)[second], calibration)
    calibrated = {name for name, metric in METRICS.items() if metric.needs != "raw"}
    kept = (
        result
        for result in card.results
        if result.get("metric") not in calibrated
        and (result.get("data"), result.get("level")) != (test_data, level)
    )
    added = (
        {"metric": figure.metric, "level": level, **figure.to_json(), "data": test_data} for figure in figures
    )
    rates = count_verdicts(truth[second], scores[second], calibration, level=level, data=test_data)
    # Earlier counts used other thresholds.
    return replace(card, calibration=calibration, results=(*kept, *added), error_rates=(rates,))
