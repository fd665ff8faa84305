"""Chooses which frames of a video are looked at."""

import numpy as np


def sample_indices(decodable: int, frames: int) -> tuple[int, ...]:
    """Return the indices of `frames` frames spread evenly over a video, both ends included from two on.

    This is the field's own rule, linspace truncated to whole numbers, so that scores are comparable. A single
    frame is taken from the middle: by the rule it would be the first, which is often black.

    Args:
        decodable: How many frames can be decoded, at least 0.
        frames: How many to choose, at least 1; where it exceeds `decodable`, every frame is chosen once.

    Returns:
        Distinct indices in ascending order, at most `frames` of them.

    Raises:
        ValueError: A count is out of range.
    """
    if decodable < 0 or frames < 1:
        raise ValueError(f"cannot choose {frames} frames of {decodable}")
    if decodable <= frames:
        return tuple(range(decodable))
    if frames == 1:
        return ((decodable - 1) // 2,)
    spread = np.linspace(0, decodable - 1, frames).astype(np.int64)
    return tuple(int(index) for index in np.unique(spread))
