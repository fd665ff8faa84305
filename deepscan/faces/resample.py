"""Resizing as Pillow does it: bicubic, and over as many pixels as one of the smaller picture covers."""

import numpy as np

from deepscan.faces.face import Floats
from deepscan.media.frames import Image

#: Pixels to each side that the kernel reaches, and its parameter ("Cubic Convolution Interpolation", 1981).
REACH, SHARPNESS = 2.0, -0.5


def resample(image: Image, side: int) -> Image:
    """Return a picture at another size.

    OpenCV's own bicubic reads four pixels of a row however much it shrinks, and aliases; the processors of
    published models spread the kernel. Like theirs, each pass rounds to whole levels.

    Args:
        image: Shape (H, W, 3) or (H, W), uint8.
        side: Of the square that comes out, in pixels.
    """
    height, width = image.shape[:2]
    values = image.reshape(height, width, -1).astype(np.float32)
    weights = _weights(width, side)
    across = _levels(np.einsum("xw,hwc->hxc", weights, values, optimize=True))
    if height != width:
        weights = _weights(height, side)
    down = _levels(np.einsum("yh,hxc->yxc", weights, across, optimize=True))
    return down.astype(np.uint8).reshape(side, side, *image.shape[2:])


def _levels(values: Floats) -> Floats:
    levels: Floats = np.clip(np.floor(values + np.float32(0.5)), 0, 255)
    return levels


def _weights(before: int, after: int) -> Floats:
    """Return what each pixel after takes of each before, shape (after, before), rows summing to 1."""
    spread = max(before / after, 1.0)
    centres = (np.arange(after) + 0.5) * before / after
    apart = np.abs(np.arange(before) + 0.5 - centres[:, None]) / spread
    near = ((SHARPNESS + 2) * apart - (SHARPNESS + 3)) * apart**2 + 1
    far = SHARPNESS * (((apart - 5) * apart + 8) * apart - 4)
    kernel = np.where(apart < 1, near, np.where(apart < REACH, far, 0.0))
    weights: Floats = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
