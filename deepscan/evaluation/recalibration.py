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
    """Return a model's card with a new calibration, fitted as at the end of a training.

    It is fitted on the first half of the groups; the figures of the second half join the card's results.
    Results that the old calibration had a part in, and those of the same data and level, are taken out.

    Args:
        card: The model; its card on disk is left as it is.
        labels: 0 for real, 1 for fake, shape (N,).
        raw: Its probabilities of fake, shape (N,).
        groups: Group of each sample, length N.
        level: What one sample is.
        data: The data, named.
        method: As `fit_calibration` takes it.
        fpr: As `fit_calibration` takes it.
        fnr: As `fit_calibration` takes it.

    Raises:
        UsageError: See `fit_calibration`, a half lacks a class, or the first is too small to show the rates.
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
                f"of {len(truth)} samples the {name} half has {len(part)} and lacks real or fake ones",
                "calibrate on more groups, of both labels",
            )
    for name, label, rate in (("reals", 0, fpr), ("fakes", 1, fnr)):
        count = int((truth[~second] == label).sum())
        if rate and count * rate < 1:
            raise UsageError(
                f"{count} {name} in the half to fit on cannot show an error rate of {rate:.3g}",
                f"measure on more of them, at least {2 * math.ceil(1 / rate)}, or state a higher rate",
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
    where = f"{data}: second half of the groups, on which nothing was fitted"
    figures = measure_all(truth[second], scores[second], np.asarray(groups)[second], calibration)
    old = {name for name, metric in METRICS.items() if metric.needs != "raw"}
    kept = (
        result
        for result in card.results
        if result.get("metric") not in old and (result.get("data"), result.get("level")) != (where, level)
    )
    added = (
        {"metric": figure.metric, "level": level, **figure.to_json(), "data": where} for figure in figures
    )
    rates = count_verdicts(truth[second], scores[second], calibration, level=level, data=where)
    # What was counted before was so at other thresholds.
    return replace(card, calibration=calibration, results=(*kept, *added), error_rates=(rates,))
