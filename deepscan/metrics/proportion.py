"""How sure a share is that was counted on few samples."""

import math

#: Of a two-sided interval of 95 %.
_Z = 1.959964


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, each sample taken for independent of the others.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927: it holds for
    few samples, and for shares of 0 and 1.

    Args:
        count: How many samples have what is counted.
        total: How many there are, at least one.
    """
    share, square = count / total, _Z**2
    middle = share + square / (2 * total)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    low, high = ((middle + side) / (1 + square / total) for side in (-half, half))
    return max(low, 0.0), min(high, 1.0)
