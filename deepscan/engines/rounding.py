"""A model's file in a reduced precision, and how far that moves its scores, measured."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deepscan.calibration import calibrate
from deepscan.cards import ModelCard, Rounding
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.engines.onnx import PRECISIONS
from deepscan.engines.quantise import quantise
from deepscan.engines.scorer import Scorer
from deepscan.engines.selection import SAMPLES
from deepscan.errors import UsageError
from deepscan.metrics.binary import auc

#: Crops that are scored at a time, and training crops that a file in 8 bits is fitted to.
BATCH, FITTED = 32, 512


def add_int8(
    card: ModelCard,
    crops: NDArray[np.uint8],
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    rows: NDArray[np.int64],
    data: str,
) -> ModelCard:
    """Write a model's ONNX file in 8 bits, and return the card with it and with how far it moves scores.

    Args:
        card: The model, with a file `onnx`.
        crops: Cut by its recipe: RGB, shape (N, S, S, 3), uint8; they may lie on disk.
        labels: Of all crops, 0 or 1, shape (N,).
        train: Crops of split `train`: the file is fitted to some of them, shape (T,).
        rows: Crops of split `val` to compare on, shape (M,).
        data: What these are, for the card.

    Raises:
        MissingError: The model has no such file, or it is not there.
        UsageError: There are too few crops, or the model has no layer that is large enough.
    """
    if min(len(train), len(rows)) < SAMPLES:
        raise UsageError(
            f"{len(train)} crops to fit 8 bits to and {len(rows)} to compare on are too few",
            f"give {SAMPLES} or more of each, split train and split val",
        )
    some = train[np.linspace(0, len(train) - 1, min(FITTED, len(train))).astype(int)]
    kind, preprocess = PRECISIONS["int8"], make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
    added = replace(card, files={**card.files, kind: quantise(card, preprocess, crops[some])})
    rounding = measure_rounding(added, crops, rows, engine="onnx", precision="int8", data=data, labels=labels)
    return replace(added, rounding={**card.rounding, kind: rounding})


def measure_rounding(
    card: ModelCard,
    crops: NDArray[np.uint8],
    rows: NDArray[np.int64],
    *,
    engine: str,
    precision: str,
    data: str,
    labels: NDArray[np.int64] | None = None,
) -> Rounding:
    """Return how far a model's scores in a precision are from those in float32, on a CPU.

    They are calibrated where the model is, as a scan reports them.

    Args:
        card: The model, with what the engine needs for both.
        crops: RGB, shape (N, S, S, 3), uint8; they may lie on disk.
        rows: Which of them to compare on, shape (M,): none that a range was measured on.
        engine: Name of the engine that runs both.
        precision: The reduced one.
        data: What the crops are, for the card.
        labels: Of all crops, 0 or 1, shape (N,), for what is lost of the AUC; None where they are not known.
    """
    exact, coarse = (
        score(card, crops, rows, engine=engine, precision=which) for which in ("fp32", precision)
    )
    lost = None
    if labels is not None and len(np.unique(labels[rows])) == 2:
        lost = round(auc(labels[rows], exact) - auc(labels[rows], coarse), 4)
    if card.calibration is not None:
        exact, coarse = (calibrate(scores, card.calibration) for scores in (exact, coarse))
    apart = np.abs(coarse - exact)
    return Rounding(round(float(apart.mean()), 5), round(float(apart.max()), 5), len(rows), data, lost)


def score(
    card: ModelCard, crops: NDArray[np.uint8], rows: NDArray[np.int64], *, engine: str, precision: str
) -> NDArray[np.float64]:
    """Return a model's raw scores on a CPU, shape (M,), of some crops that may lie on disk."""
    scorer = Scorer(card, engine=engine, device="cpu", precision=precision)
    parts = np.array_split(rows, math.ceil(len(rows) / BATCH))
    return np.concatenate([scorer.score(crops[part]) for part in parts]).astype(np.float64)
