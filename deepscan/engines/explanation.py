"""A score's explanation in the model's own quantities, compact enough to store with every face."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.errors import ContractError

#: An engine's explanation by name: numbers of shape (n,) or maps of shape (n, M, P).
RawExplanation = Mapping[str, NDArray[np.float32]]
#: One face's explanation in a record, by name: a number, maps, or None if a value is not finite.
Explanation = dict[str, Any]


def check_explanation(explanation: RawExplanation, count: int) -> None:
    """Check that an explanation consists of numbers and maps over a square grid.

    Args:
        explanation: The explanation of `count` crops.
        count: Number of crops.

    Raises:
        ContractError: An output has another shape.
    """
    for name, values in explanation.items():
        maps = values.ndim == 3 and math.isqrt(values.shape[2]) ** 2 == values.shape[2]
        if len(values) != count or not (maps or values.ndim == 1):
            raise ContractError(
                f"the model's output {name!r} has shape {values.shape} for {count} crops: neither numbers "
                "nor maps over a square grid",
                "scan without --explain, or export the model again",
            )


def explanations(explanation: RawExplanation, count: int) -> list[Explanation]:
    """Return the record's explanation of each of `count` crops; see `check_explanation`."""
    return [{name: _quantity(values[row]) for name, values in explanation.items()} for row in range(count)]


def _quantity(values: NDArray[np.float32]) -> float | dict[str, Any] | None:
    if not np.isfinite(values).all():
        return None
    if values.ndim == 0:
        return round(float(values), 6)
    # One range for all maps of an output, so that they can be compared.
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    steps = np.rint((values - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)
    return {
        "grid": math.isqrt(values.shape[1]),
        "range": [float(f"{low:.6g}"), float(f"{high:.6g}")],
        "maps": steps.tolist(),
    }
