"""How far a reduced precision moves a model's scores, measured."""

import math

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard, Rounding
from deepscan.engines.precision import SAMPLES
from deepscan.errors import UsageError
from deepscan.scan.scorer import Scorer

#: Crops that are scored at a time.
BATCH = 32


def measure(
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

    Args:
        card: The model, with what the engine needs for both.
        crops: RGB, shape (N, S, S, 3), uint8; they may lie on disk.
        rows: Which of them to compare on, shape (M,): none that a range was measured on.
        engine: Name of the engine that runs both.
        precision: The reduced one.
        data: What the crops are, for the card.
        labels: Of all crops, 0 or 1, shape (N,), for what is lost of the AUC; None where they are not known.

    Raises:
        UsageError: There are fewer crops than `auto` asks for.
    """
    if len(rows) < SAMPLES:
        raise UsageError(
            f"{len(rows)} crops do not say how far scores move", f"give {SAMPLES} or more to compare on"
        )
    exact, coarse = (
        score(card, crops, rows, engine=engine, precision=which) for which in ("fp32", precision)
    )
    lost = None
    if labels is not None and len(np.unique(labels[rows])) == 2:
        from deepscan.evaluation.metrics import auc

        lost = round(auc(labels[rows], exact) - auc(labels[rows], coarse), 4)
    apart = np.abs(coarse - exact)
    return Rounding(round(float(apart.mean()), 5), round(float(apart.max()), 5), len(rows), data, lost)


def score(
    card: ModelCard, crops: NDArray[np.uint8], rows: NDArray[np.int64], *, engine: str, precision: str
) -> NDArray[np.float64]:
    """Return a model's raw scores on a CPU, shape (M,), of some crops that may lie on disk."""
    scorer = Scorer(card, engine=engine, device="cpu", precision=precision)
    parts = np.array_split(rows, math.ceil(len(rows) / BATCH))
    return np.concatenate([scorer.score(crops[part]) for part in parts]).astype(np.float64)
