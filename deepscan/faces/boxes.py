"""Compute overlap, suppression, squaring and refinement of boxes, which are (n, 4) float32."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepscan.faces.face import Floats

BoxIndices = NDArray[np.intp]
Overlap = Literal["iou", "iom"]
#: Number of boxes whose mutual overlaps are computed at once.
_ROWS = 64


def iou(box: Floats, others: Floats) -> Floats:
    """Return the intersection over union of one box (4,) with others (n, 4), shape (n,), in [0, 1]."""
    ratio: Floats = _overlap(box[None], others, "iou", 0.0)[0]
    return ratio


def _overlap(boxes: Floats, others: Floats, overlap: Overlap, rim: float) -> Floats:
    """Return the overlap of each box (m, 4) with each other box (n, 4), shape (m, n)."""
    width = np.minimum(boxes[:, None, 2], others[:, 2]) - np.maximum(boxes[:, None, 0], others[:, 0])
    height = np.minimum(boxes[:, None, 3], others[:, 3]) - np.maximum(boxes[:, None, 1], others[:, 1])
    rim32 = np.float32(rim)
    shared: Floats = np.maximum(width + rim32, 0) * np.maximum(height + rim32, 0)
    own, theirs = (
        (group[:, 2] - group[:, 0] + rim32) * (group[:, 3] - group[:, 1] + rim32) for group in (boxes, others)
    )
    whole = own[:, None] + theirs - shared if overlap == "iou" else np.minimum(own[:, None], theirs)
    ratio: Floats = shared / np.maximum(whole, np.float32(1e-12))
    return ratio


def nms(boxes: Floats, scores: Floats, limit: float, overlap: Overlap = "iou", rim: float = 0) -> BoxIndices:
    """Return the boxes that remain after greedy non-maximum suppression.

    Args:
        boxes: Left, top, right, bottom, shape (n, 4).
        scores: Higher is better, shape (n,). Among equal scores the first wins.
        limit: A box is removed if it overlaps a kept box by more than this.
        overlap: Intersection over union (`iou`), or intersection over the smaller of the two boxes (`iom`),
            which also removes a box that lies within another.
        rim: Added to each side's length: 1 counts the last pixel as part of the box.

    Returns:
        Indices of the kept boxes, best first.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    # Compute the table of overlaps a few rows at a time: most boxes are removed before their rows are needed.
    while order.size:
        some, order = order[:_ROWS], order[_ROWS:]
        covered = _overlap(boxes[some], boxes[some], overlap, rim) > limit
        free = np.ones(len(some), bool)
        for k in range(len(some)):
            if free[k]:
                free[k + 1 :] &= ~covered[k, k + 1 :]
        best = some[free]
        kept.extend(best)
        if order.size:
            order = order[~(_overlap(boxes[best], boxes[order], overlap, rim) > limit).any(axis=0)]
    return np.asarray(kept, dtype=np.intp)


def apply_deltas(boxes: Floats, offsets: Floats, rim: float) -> Floats:
    """Return boxes with edges moved by offsets (n, 4), in units of the box's width or height plus rim."""
    size = boxes[:, 2:] - boxes[:, :2] + np.float32(rim)
    return boxes + offsets * np.tile(size, 2)


def to_square(boxes: Floats) -> Floats:
    """Return squares around the boxes' centres with the longer side's length."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)
