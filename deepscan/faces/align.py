"""Alignment: cut a face out of its frame so that its landmarks lie where a recipe wants them."""

from dataclasses import replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.crop_recipe import LARGEST, SMALLEST, CropRecipe
from deepscan.faces.face import Floats
from deepscan.media.frames import Image

Matrix = NDArray[np.float64]

# Of `area`, what is left to do once it has been averaged; `native` comes here as `linear`.
_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_LINEAR}
_BORDER = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


def similarity(source: Floats, target: Floats) -> Matrix:
    """Return the similarity transform that best maps points onto others, in the least-squares sense.

    Rotation, uniform scale and translation, never a reflection: what Umeyama 1991, equations 40 to 43, comes
    to in the plane, where it needs no decomposition of a matrix.

    Args:
        source: Points (x, y), shape (n, 2), not all the same.
        target: Where they should go, shape (n, 2).

    Returns:
        The matrix M of target = M @ (x, y, 1), shape (2, 3).

    Raises:
        ValueError: The source points are all the same.
    """
    x, y = source.astype(np.float64), target.astype(np.float64)
    x_mean, y_mean = x.sum(axis=0) / len(x), y.sum(axis=0) / len(y)
    x, y = x - x_mean, y - y_mean
    spread = float((x * x).sum())
    if spread / len(x) < 1e-12:
        raise ValueError("a similarity transform needs at least two different points")
    (along, across), (back, down) = (x.T @ y / spread).tolist()
    cosine, sine = along + down, across - back
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix: Matrix = np.column_stack([turn, y_mean - turn @ x_mean])
    return matrix


def align(image: Image, landmarks: Floats, recipe: CropRecipe) -> Image:
    """Return the aligned face, shape (recipe.input_side, recipe.input_side, 3), uint8.

    Args:
        image: The full-resolution frame, RGB, shape (h, w, 3), uint8.
        landmarks: Eyes, nose, mouth corners in its pixels, shape (5, 2).
        recipe: Where they belong in the crop, how pixels are read, what lies past the frame's edge.
    """
    matrix = similarity(landmarks, recipe.template)
    if recipe.interpolation == "native":
        own = round(recipe.side / float(np.hypot(matrix[0, 0], matrix[1, 0])))
        side = min(max(own, SMALLEST), LARGEST)
        at_size = replace(recipe, side=side, interpolation="linear", resize=None)
        return resample(align(image, landmarks, at_size), recipe.input_side)
    if recipe.interpolation == "area":
        image, matrix = _averaged(image, matrix, recipe.side)
    crop = cv2.warpAffine(
        image,
        matrix,
        (recipe.side, recipe.side),
        flags=_INTERPOLATION[recipe.interpolation],
        borderMode=_BORDER[recipe.border],
    )
    if recipe.resize not in (None, recipe.side):
        crop = cv2.resize(crop, (recipe.input_side, recipe.input_side), interpolation=cv2.INTER_CUBIC)
    return cast(Image, crop)


def _averaged(image: Image, matrix: Matrix, side: int) -> tuple[Image, Matrix]:
    """Return the face's neighbourhood averaged down by a whole factor, and the matrix that now cuts it out.

    Reading every k-th pixel of a face k times as large as its crop would alias, and aliasing looks like the
    high frequencies that a detector goes by. The factor is whole: each pixel is the mean of a k x k block.
    """
    factor = int(1 / np.hypot(matrix[0, 0], matrix[1, 0]))
    if factor < 2:
        return image, matrix
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ inverse[:, :2].T + inverse[:, 2]
    height, width = image.shape[:2]
    # Room for the interpolation, and for a reflected border that starts inside the neighbourhood.
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2 * factor, 0, None) // factor * factor
    high = np.ceil(corners.max(axis=0)).astype(int) + 2 * factor
    high = np.minimum(low + (high - low) // factor * factor, (width, height))
    if (high - low < factor).any():
        return image, matrix
    part = image[low[1] : high[1], low[0] : high[0]]
    rest = -np.array(part.shape[:2]) % factor
    if rest.any():
        padded = cv2.copyMakeBorder(part, 0, int(rest[0]), 0, int(rest[1]), cv2.BORDER_REPLICATE)
        part = cast(Image, padded)
    size = (part.shape[1] // factor, part.shape[0] // factor)
    small = cast(Image, cv2.resize(part, size, interpolation=cv2.INTER_AREA))
    # Pixel j of the small picture is centred on pixel factor * j + (factor - 1) / 2 of the part.
    grown = np.array(
        [[factor, 0, low[0] + (factor - 1) / 2], [0, factor, low[1] + (factor - 1) / 2], [0, 0, 1]]
    )
    return small, matrix @ grown


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
