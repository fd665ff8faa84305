"""What a score was taken from, in the model's own quantities, made small enough to keep with every face."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.errors import ContractError

#: An explanation as an engine gives it: by name, numbers of shape (n,) or maps of shape (n, M, P).
RawExplanation = Mapping[str, NDArray[np.float32]]
#: What a record says of one face: by name a number, maps, or None where the model gave no finite value.
Explanation = dict[str, Any]


def check_explanation(explanation: RawExplanation, count: int) -> None:
    """Check that an explanation can be kept: numbers, or maps over a square grid.

    Args:
        explanation: Of `count` crops.
        count: How many crops there were.

    Raises:
        ContractError: An output has another shape.
    """
    for name, values in explanation.items():
        maps = values.ndim == 3 and math.isqrt(values.shape[2]) ** 2 == values.shape[2]
        if len(values) != count or not (maps or values.ndim == 1):
            raise ContractError(
                f"the model's output {name!r} has shape {values.shape} for {count} crops: neither a number "
                "nor maps over a square grid",
                "scan without --explain, or export the model again",
            )


def explanations(explanation: RawExplanation, count: int) -> list[Explanation]:
    """Return what the records of so many crops say, in their order; see `check_explanation`."""
    return [{name: _quantity(values[at]) for name, values in explanation.items()} for at in range(count)]


def _quantity(values: NDArray[np.float32]) -> float | dict[str, Any] | None:
    if not np.isfinite(values).all():
        return None
    if values.ndim == 0:
        return round(float(values), 6)
    # One range for all maps of an output, so that they can be held against each other.
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    steps = np.rint((values - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)
    return {
        "grid": math.isqrt(values.shape[1]),
        "range": [float(f"{low:.6g}"), float(f"{high:.6g}")],
        "maps": steps.tolist(),
    }
