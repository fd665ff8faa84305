"""Resize many parts of an image by area averaging, with a single pass over its pixels."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.faces.face import Floats
from deepscan.media.frames import Image

Integers = NDArray[np.int64]

#: With more pixels, a sum of bytes may exceed 31 bits.
INT32_PIXELS = (2**31 - 1) // 255


def windows(start: Integers, length: Integers, side: int) -> tuple[Integers, Integers]:
    """Return the range that each output pixel averages along one axis, for n spans at once.

    A span of L pixels becomes `side` pixels; pixel i averages [floor(i L / side), ceil((i + 1) L / side)).
    Ranges overlap if L is not a multiple of `side`, and pixels repeat if L is less. This is adaptive average
    pooling, as in `interpolate(mode="area")` of torch.

    Args:
        start: First pixel of each span, shape (n,).
        length: Number of pixels of each span, at least 1, shape (n,).
        side: Number of output pixels, the same for all spans.

    Returns:
        First pixels and ends (exclusive), each of shape (n, side).
    """
    step = np.arange(side + 1) * length[:, None]
    return start[:, None] + step[:, :-1] // side, start[:, None] - (-step[:, 1:] // side)


class IntegralImage:
    """An image's summed-area table (Crow 1984), which gives the mean of any window with four look-ups.

    Sums are integers, so means do not depend on a window's position or on the order of summation.

    Args:
        image: RGB, shape (h, w, 3), uint8.
    """

    def __init__(self, image: Image) -> None:
        self.height, self.width = image.shape[:2]
        depth = cv2.CV_32S if self.height * self.width <= INT32_PIXELS else cv2.CV_64F
        self._sums = cv2.integral(np.ascontiguousarray(image), sdepth=depth)

    def resized(
        self, height: int, width: int, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Floats:
        """Return the image resized, or a part of the resized image, float32 in 0..255.

        Args:
            height: Height of the whole resized image.
            width: Width of the whole resized image.
            rows: Rows of the resized image to return, by default all.
            columns: Columns to return, by default all.
        """
        top, bottom = (edge[0][rows] for edge in windows(np.zeros(1, int), np.array([self.height]), height))
        left, right = (edge[0][columns] for edge in windows(np.zeros(1, int), np.array([self.width]), width))
        first = left[0]
        strips = self._sums[bottom, first : right[-1] + 1] - self._sums[top, first : right[-1] + 1]
        sums = strips[:, right - first] - strips[:, left - first]
        area = (bottom - top)[:, None, None] * (right - left)[:, None]
        return _means(sums, area)

    def crops(self, boxes: Integers, side: int) -> Floats:
        """Return parts of the image resized to squares, shape (n, side, side, 3), float32 in 0..255.

        Args:
            boxes: Left, top, right, bottom (exclusive) inside the image, not empty, shape (n, 4).
            side: Side of every square in pixels.
        """
        left, right = windows(boxes[:, 0], boxes[:, 2] - boxes[:, 0], side)
        top, bottom = windows(boxes[:, 1], boxes[:, 3] - boxes[:, 1], side)
        area = ((bottom - top)[:, :, None] * (right - left)[:, None, :])[..., None]
        # Looking up flat positions takes half the time of looking up pairs.
        table, across = self._sums.reshape(-1, 3), self.width + 1
        top, bottom = top[:, :, None] * across, bottom[:, :, None] * across
        left, right = left[:, None, :], right[:, None, :]
        sums = table.take(bottom + right, axis=0)
        sums -= table.take(top + right, axis=0)
        sums -= table.take(bottom + left, axis=0)
        sums += table.take(top + left, axis=0)
        return _means(sums, area)


def _means(sums: NDArray[Any], area: Integers) -> Floats:
    means: Floats = np.divide(sums, area, dtype=np.float32, casting="unsafe")
    return means
