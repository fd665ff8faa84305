"""The golden input: synthetic crops from a formula, identical everywhere, for checking engines."""

import numpy as np
from numpy.typing import NDArray

#: Crops in the golden batch; its score is their mean probability of fake.
COUNT = 4
#: Additional crops of noise for comparing two engines.
_NOISE = 3


def golden_crops(side: int) -> NDArray[np.uint8]:
    """Return the golden batch for models with crops of that side.

    The crops are bent triangle waves, from coarse to fine, in integer arithmetic, so that no library's random
    generator, sine or rounding can change a pixel.

    Args:
        side: Side of a crop in pixels.

    Returns:
        RGB crops, shape (COUNT, side, side, 3), uint8.
    """
    crop, y, x, channel = np.indices((COUNT, side, side, 3), dtype=np.int64)
    phase = (1 + crop) ** 2 * (3 * x + 2 * y) + (x * y * (1 + crop)) // 16 + 90 * channel + 40 * crop
    return np.asarray(np.abs(phase % 510 - 255), dtype=np.uint8)


def gate_crops(side: int) -> NDArray[np.uint8]:
    """Return crops for comparing two engines: the golden batch and noise, shape (N, side, side, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (_NOISE, side, side, 3)).astype(np.uint8)
    return np.concatenate([golden_crops(side), noise])
