"""Write a model in a reduced precision and measure how far that moves its scores."""

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

#: Batch size for scores, and number of training crops that a file in 8 bits is fitted to.
BATCH, FITTED = 32, 512


def add_int8(
    card: ModelCard,
    crops: NDArray[np.uint8],
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    rows: NDArray[np.int64],
    data: str,
) -> ModelCard:
    """Write a model's ONNX file in 8 bits; return the card with the file and its rounding.

    Args:
        card: The model, with an `onnx` file.
        crops: Crops by its recipe: RGB, shape (N, S, S, 3), uint8; may be on disk.
        labels: Labels of all crops, 0 or 1, shape (N,).
        train: Indices of crops of split `train`, shape (T,); the file is fitted to some of them.
        rows: Indices of crops of split `val` to compare on, shape (M,).
        data: Description of these, for the card.

    Raises:
        MissingError: The model has no `onnx` file, or the file is missing.
        UsageError: There are too few crops, or the model has no layer that is large enough.
    """
    if min(len(train), len(rows)) < SAMPLES:
        raise UsageError(
            f"8 bits need at least {SAMPLES} training and {SAMPLES} validation crops, not {len(train)} and "
            f"{len(rows)}",
            "give more pictures in the splits train and val",
        )
    fitted = train[np.linspace(0, len(train) - 1, min(FITTED, len(train))).astype(int)]
    kind, preprocess = PRECISIONS["int8"], make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
    added = replace(card, files={**card.files, kind: quantise(card, preprocess, crops[fitted])})
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
    """Measure how far a model's scores in a reduced precision are from float32, on a CPU.

    Scores are calibrated if the model is, as in a scan.

    Args:
        card: The model, with the files for both precisions.
        crops: RGB, shape (N, S, S, 3), uint8; may be on disk.
        rows: Indices of the crops to compare on, shape (M,), without those used to measure ranges.
        engine: Name of the engine that runs both.
        precision: The reduced precision.
        data: Description of the crops, for the card.
        labels: Labels of all crops, 0 or 1, shape (N,), for the loss of AUC; None if unknown.
    """
    exact, coarse = (score(card, crops, rows, engine=engine, precision=name) for name in ("fp32", precision))
    lost = None
    if labels is not None and len(np.unique(labels[rows])) == 2:
        lost = round(auc(labels[rows], exact) - auc(labels[rows], coarse), 4)
    if card.calibration is not None:
        exact, coarse = (calibrate(scores, card.calibration) for scores in (exact, coarse))
    differences = np.abs(coarse - exact)
    mean, largest = round(float(differences.mean()), 5), round(float(differences.max()), 5)
    return Rounding(mean, largest, len(rows), data, lost)


def score(
    card: ModelCard, crops: NDArray[np.uint8], rows: NDArray[np.int64], *, engine: str, precision: str
) -> NDArray[np.float64]:
    """Return a model's raw scores on a CPU, shape (M,), for the crops of `rows`, which may be on disk."""
    scorer = Scorer(card, engine=engine, device="cpu", precision=precision)
    parts = np.array_split(rows, math.ceil(len(rows) / BATCH))
    return np.concatenate([scorer.score(crops[part]) for part in parts]).astype(np.float64)
