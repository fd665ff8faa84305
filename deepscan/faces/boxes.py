"""Box arithmetic of the cascade: overlap, suppression, squaring, refinement; boxes are (n, 4) float32."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepscan.faces.face import Floats

Indices = NDArray[np.intp]
Share = Literal["union", "smaller"]


def iou(box: Floats, others: Floats) -> Floats:
    """Return the intersection over union of a box (4,) with others (n, 4), shape (n,), in [0, 1]."""
    return _overlap(box, others, "union", 0.0)


def _overlap(box: Floats, others: Floats, share: Share, rim: float) -> Floats:
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    shared: Floats = np.prod(np.maximum(high - low + rim, 0, dtype=np.float32), axis=1)
    own = np.prod(box[2:] - box[:2] + rim)
    theirs = np.prod(others[:, 2:] - others[:, :2] + rim, axis=1)
    whole = own + theirs - shared if share == "union" else np.minimum(own, theirs)
    ratio: Floats = shared / np.maximum(whole, np.float32(1e-12))
    return ratio


def suppress(boxes: Floats, scores: Floats, limit: float, share: Share = "union", rim: float = 0) -> Indices:
    """Return the boxes that no better one covers: greedy non-maximum suppression.

    Args:
        boxes: Left, top, right, bottom, shape (n, 4).
        scores: The larger the better, shape (n,). Of equal ones the first wins.
        limit: A box goes if a kept one's overlap with it is larger than this.
        share: Overlap is the intersection over the `union`, or over the `smaller` box of the two, which also
            removes a box that lies within another.
        rim: Added to each side's length: 1 counts the last pixel as part of the box.

    Returns:
        Indices of the kept boxes, best first.
    """
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while waiting.size:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        waiting = waiting[_overlap(boxes[best], boxes[waiting], share, rim) <= limit]
    return np.asarray(kept, dtype=np.intp)


def refined(boxes: Floats, offsets: Floats, rim: float) -> Floats:
    """Return boxes with edges moved by offsets (n, 4), in units of the box's width or height plus rim."""
    size = boxes[:, 2:] - boxes[:, :2] + np.float32(rim)
    return boxes + offsets * np.tile(size, 2)


def squared(boxes: Floats) -> Floats:
    """Return the squares about the boxes' centres whose side is the longer one's."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)
