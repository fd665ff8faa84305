"""Confidence intervals of proportions."""

import math

#: Normal quantile of a two-sided 95 % interval.
_Z = 1.959964


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a proportion, assuming independent samples.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927: valid for
    few samples, and for proportions of 0 and 1.

    Args:
        count: Number of successes.
        total: Number of samples, at least 1.
    """
    share, square = count / total, _Z**2
    centre = share + square / (2 * total)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    low, high = ((centre + offset) / (1 + square / total) for offset in (-half, half))
    return max(low, 0.0), min(high, 1.0)
