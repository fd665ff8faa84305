"""The golden input: synthetic crops from a closed formula, the same everywhere, to check engines with."""

import numpy as np
from numpy.typing import NDArray

#: Crops in the golden batch; its score is their mean probability of fake.
COUNT = 4
#: Crops of noise that two engines are compared on beside them.
_NOISE = 3


def golden_crops(side: int) -> NDArray[np.uint8]:
    """Return the golden batch for models that take crops of that side.

    Bent triangle waves, coarse in the first crop and fine in the last, in whole numbers throughout, so that
    no library's random generator, sine or rounding can change a pixel.

    Args:
        side: Side of a crop in pixels.

    Returns:
        RGB crops, shape (COUNT, side, side, 3), uint8.
    """
    crop, y, x, channel = np.indices((COUNT, side, side, 3), dtype=np.int64)
    phase = (1 + crop) ** 2 * (3 * x + 2 * y) + (x * y * (1 + crop)) // 16 + 90 * channel + 40 * crop
    return np.asarray(np.abs(phase % 510 - 255), dtype=np.uint8)


def gate_crops(side: int) -> NDArray[np.uint8]:
    """Return what two engines are compared on: the golden batch and noise, shape (N, side, side, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (_NOISE, side, side, 3)).astype(np.uint8)
    return np.concatenate([golden_crops(side), noise])
