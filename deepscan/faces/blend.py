"""Make fakes by self-blending one real crop: they show the traces of blending and nothing else."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.faces.regions import Ellipse, canonical_face
from deepscan.media.frames import Image

BlendMask = NDArray[np.float32]
Points = NDArray[np.float64]
#: Opacity of the blended face ("Detecting Deepfakes with Self-Blended Images", CVPR 2022, Sec. 3.3).
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
#: Range of the sides on which the mask is drawn, in pixels, for crops of any size: blur and bend are in
#: pixels.
CANVAS = (192, 256)
#: Half axes and downward shift of the elliptic outlines, in units of the face's ellipse: the whole face, its
#: lower half from below the eyes to the chin, and its middle.
ELLIPSES = (((1.0, 1.0), 0.0), ((0.8, 0.51), 0.49), ((0.7, 0.7), 0.0))
#: Right half of the polygon from brows over cheeks and jaw to the chin, in the same units. At scale 1.3 its
#: corners are 0.35 eye distances beside and 0.4 above the eyes, 0.2 beside the mouth and 0.6 below it.
BROW_TO_CHIN = ((0.0, -0.59), (0.735, -0.52), (0.69, 0.14), (0.536, 0.623), (0.0, 0.926))


def self_blended(
    crop: Image, recipe: CropRecipe, rng: Generator, face: Ellipse | None = None
) -> tuple[Image, BlendMask]:
    """Return a crop with a slightly changed copy of its own face blended into it, and the blending mask.

    This follows "Detecting Deepfakes with Self-Blended Images" (CVPR 2022, Sec. 3) and was written from its
    description: the copy's colours, sharpness and position are changed, and a softened region of its face is
    pasted. The region is placed by the recipe, because an aligned crop comes without landmarks. Only the copy
    is changed, so outside the mask the result equals the input pixel by pixel.

    Args:
        crop: RGB, aligned by the recipe, shape (S, S, 3), uint8; not modified.
        recipe: Its crop recipe.
        rng: Source of all random choices.
        face: Where the face is, None to place it by the recipe.

    Returns:
        The blended crop, and the copy's share in each pixel, shape (S, S), float32 in [0, 1].
    """
    factor, shift = _draw_move(rng)
    source = _moved(_jittered(crop, rng), factor, shift)
    outline = face_outline(face or canonical_face(recipe), rng)
    mask = soft_mask((outline - 0.5) * factor + 0.5 + shift, crop.shape[0], rng)
    mask *= np.float32(rng.choice(RATIOS))
    blended = crop.astype(np.float32)
    blended += mask[..., None] * (source - blended)
    return np.rint(blended).astype(np.uint8), mask


def face_outline(face: Ellipse, rng: Generator) -> Points:
    """Return one of four face outlines, in fractions of the crop's side, shape (96, 2).

    It is the face's ellipse, its lower part, its middle, or a polygon from brows to chin, with equal
    probability.
    """
    choice = rng.integers(len(ELLIPSES) + 1)
    if choice < len(ELLIPSES):
        (across, down), lower = ELLIPSES[choice]
        angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
        points = np.column_stack((across * np.cos(angles), down * np.sin(angles) + lower))
    else:
        right = np.array(BROW_TO_CHIN)
        corners = np.concatenate((right, right[-2::-1] * (-1, 1)))
        along = np.linspace(0, len(corners) - 1, 96, endpoint=False)
        points = np.column_stack([np.interp(along, np.arange(len(corners)), axis) for axis in corners.T])
    return points * face.radii + face.centre


def soft_mask(outline: Points, side: int, rng: Generator) -> BlendMask:
    """Return the inside of an outline, distorted, eroded and softened, shape (side, side), with maximum 1.

    Args:
        outline: A polygon, in fractions of the side, shape (N, 2).
        side: The crop's side in pixels.
        rng: Source of the random distortion, erosion and blur.
    """
    width, height = (int(value) for value in rng.integers(CANVAS[0], CANVAS[1] + 1, 2))
    points = _bent(outline * (width, height), width, height, rng)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    reach, spread = (int(value) * 2 + 1 for value in rng.integers(2, 13, 2))
    # Where a blurred mask keeps its maximum is exactly what an erosion by the same window leaves.
    inner = cv2.erode(mask, np.ones((reach, reach), np.uint8))
    # If the crop shows the face small, erosion may leave nothing.
    soft = cv2.GaussianBlur(inner if inner.any() else mask, (spread, spread), rng.uniform(5, 45))
    resized = cv2.resize(soft, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    scaled: BlendMask = resized / max(float(resized.max()), 1.0)
    return scaled


def _bent(points: Points, width: int, height: int, rng: Generator) -> Points:
    """Return points displaced by a smooth random field: 50 times noise blurred by 7 pixels."""
    # At a quarter of the resolution, the same blur needs a quarter of the width and averages a sixteenth of
    # the values, so the noise that remains is four times as strong.
    coarse = rng.random((height // 4 + 1, width // 4 + 1, 2), dtype=np.float32) * 2 - 1
    field = cv2.GaussianBlur(coarse, (0, 0), 7 / 4) * (50 / 4)
    x, y = (points / 4).astype(int).T
    moves: Points = field[y.clip(0, field.shape[0] - 1), x.clip(0, field.shape[1] - 1)]
    return points + moves


def _jittered(crop: Image, rng: Generator) -> Image:
    """Return the crop with slightly changed colours, and either coarser or sharper."""
    # The paper also shifts hue, saturation and value by up to 0.3 of a level, which is nothing in 8 bits.
    shift = rng.integers(-20, 21, 3) if rng.random() < 0.3 else np.zeros(3, np.int64)
    contrast, brightness = rng.uniform(-0.1, 0.1, 2)
    levels = (np.arange(256)[:, None] + shift).clip(0, 255) * (1 + contrast) + brightness * 255
    table = np.rint(levels).clip(0, 255).astype(np.uint8)[None]
    image = cv2.LUT(crop, table)
    side = image.shape[0]
    if rng.random() < 0.5:
        small = max(1, side // int(rng.choice((2, 4))))
        coarse = cv2.resize(image, (small, small), interpolation=cv2.INTER_NEAREST)
        return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    kernel = np.full((3, 3), -1.0, np.float32)
    kernel[1, 1] = 8
    kernel *= rng.uniform(0.2, 0.5)
    kernel[1, 1] += 1
    return np.asarray(cv2.filter2D(image, -1, kernel), dtype=np.uint8)


def _draw_move(rng: Generator) -> tuple[float, NDArray[np.float64]]:
    """Draw the factor by which the copy grows around its centre, and its shift in fractions of the side."""
    return rng.uniform(0.95, 1 / 0.95), rng.uniform(-1, 1, 2) * (0.03, 0.015)


def _moved(image: Image, factor: float, shift: NDArray[np.float64]) -> Image:
    side = image.shape[0]
    start = (1 - factor) * (side - 1) / 2 + shift * side
    matrix = np.array([[factor, 0, start[0]], [0, factor, start[1]]])
    moved = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, dtype=np.uint8)
