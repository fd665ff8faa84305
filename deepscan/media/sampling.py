"""Choose which frames of a video to examine."""

import numpy as np


def sample_indices(decodable: int, frames: int) -> tuple[int, ...]:
    """Return the indices of `frames` frames spread evenly over a video, including the first and the last.

    The rule is the one common in the field, linspace truncated to integers, so scores are comparable. A
    single frame is taken from the middle, because the rule would choose the first, which is often black.

    Args:
        decodable: How many frames can be decoded, at least 0.
        frames: How many to choose, at least 1; if more than `decodable`, every frame is chosen once.

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
