"""Compute histograms of gradient directions by cell, after Dalal and Triggs 2005."""

import math

import cv2
import numpy as np

from deepscan.faces.face import Floats


def oriented_gradients(luma: Floats, cells: int, directions: int = 8, kernel: int = 3) -> Floats:
    """Return the gradient strength per cell and direction, shared between neighbouring directions.

    Args:
        luma: Brightness, shape (s, s), float32.
        cells: Number of cells along a side; a divisor of s.
        directions: Number of directions in the full circle, the first to the right, continuing downwards.
        kernel: Side of the Sobel kernel; 1 takes the difference of the two neighbours.

    Returns:
        Sums of strengths, shape (cells, cells, directions), float32.
    """
    x, y = (cv2.Sobel(luma, cv2.CV_32F, *way, ksize=kernel) for way in ((1, 0), (0, 1)))
    strength, angle = cv2.magnitude(x, y), np.arctan2(y, x) * np.float32(directions / (2 * math.pi))
    low = np.floor(angle)
    upper = strength * (angle - low)
    place = np.arange(len(luma)) * cells // len(luma)
    start = (place[:, None] * cells + place) * directions
    first = low.astype(np.int64) % directions
    size = cells * cells * directions
    total = np.bincount((start + first).ravel(), (strength - upper).ravel(), size)
    total += np.bincount((start + (first + 1) % directions).ravel(), upper.ravel(), size)
    sums: Floats = total.reshape(cells, cells, directions).astype(np.float32)
    return sums
