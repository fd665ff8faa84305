"""Cut a face out of its frame so that its landmarks are where a recipe wants them."""

from dataclasses import replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.crop_recipe import LARGEST, SMALLEST, CropRecipe
from deepscan.faces.face import Floats
from deepscan.media.frames import Image

Matrix = NDArray[np.float64]

# For `area`, the interpolation after averaging. `native` is replaced by `linear` before this is used.
_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_LINEAR}
_BORDER = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


def similarity(source: Floats, target: Floats) -> Matrix:
    """Return the similarity transform that maps points onto others with the least squared error.

    It consists of rotation, uniform scale and translation, never reflection. In the plane, equations 40 to 43
    of Umeyama 1991 reduce to this closed form, without a matrix decomposition.

    Args:
        source: Points (x, y), shape (n, 2), not all equal.
        target: Their target positions, shape (n, 2).

    Returns:
        The matrix M of target = M @ (x, y, 1), shape (2, 3).

    Raises:
        ValueError: All source points are equal.
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
    """Return the aligned face, RGB, shape (recipe.input_side, recipe.input_side, 3), uint8.

    Args:
        image: The full-resolution frame, RGB, shape (h, w, 3), uint8.
        landmarks: Eyes, nose and mouth corners in the frame's pixels, shape (5, 2).
        recipe: Target positions of the landmarks, interpolation and border handling.
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
    """Return the face's surroundings averaged by an integer factor, and the matrix for the smaller picture.

    Reading every k-th pixel of a face k times as large as its crop would alias, and aliasing resembles the
    high frequencies that detectors rely on. With an integer factor, each pixel is the mean of a k x k block.
    """
    factor = int(1 / np.hypot(matrix[0, 0], matrix[1, 0]))
    if factor < 2:
        return image, matrix
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ inverse[:, :2].T + inverse[:, 2]
    height, width = image.shape[:2]
    # Leave room for the interpolation, and for a reflected border that starts inside the region.
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


#: Reach of the kernel in pixels to each side, and its parameter ("Cubic Convolution Interpolation", 1981).
REACH, SHARPNESS = 2.0, -0.5


def resample(image: Image, side: int) -> Image:
    """Resize a picture with an antialiased bicubic kernel.

    OpenCV's bicubic always reads four pixels per row, so it aliases when it shrinks. The preprocessors of
    published models widen the kernel instead. Like theirs, each pass rounds to integer levels.

    Args:
        image: Shape (H, W, 3) or (H, W), uint8.
        side: Side in pixels of the square output.
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
    """Return the weights of input pixels in output pixels, shape (after, before), rows summing to 1."""
    spread = max(before / after, 1.0)
    centres = (np.arange(after) + 0.5) * before / after
    apart = np.abs(np.arange(before) + 0.5 - centres[:, None]) / spread
    near = ((SHARPNESS + 2) * apart - (SHARPNESS + 3)) * apart**2 + 1
    far = SHARPNESS * (((apart - 5) * apart + 8) * apart - 4)
    kernel = np.where(apart < 1, near, np.where(apart < REACH, far, 0.0))
    weights: Floats = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
