"""Self-blending: a fake made from one real crop, which shows the traces of blending and nothing else."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from deepscan.data.augment import Affine, Image, brightness_contrast, hue_saturation_value
from deepscan.faces.recipe import CropRecipe

Mask = NDArray[np.float32]
#: How much of the blended face shows ("Detecting Deepfakes with Self-Blended Images", CVPR 2022, Sec. 3.3).
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


def self_blended(crop: Image, recipe: CropRecipe, rng: Generator) -> Image:
    """Return a real crop with a slightly changed copy of its own face blended into it.

    After "Detecting Deepfakes with Self-Blended Images" (CVPR 2022, Sec. 3), written from its description:
    the copy's colours, sharpness and place are changed, and a softened region of the face is taken from it.
    The region comes from where the recipe puts the five landmarks, since an aligned crop has no others.

    Args:
        crop: RGB, aligned by the recipe, shape (S, S, 3), uint8; it is left as it is.
        recipe: Its crop recipe.
        rng: Draws everything.
    """
    source = _moved(_recoloured(crop, rng), rng)
    mask = face_mask(recipe, rng)[..., None] * np.float32(rng.choice(RATIOS))
    return np.rint(mask * source + (1 - mask) * crop).astype(np.uint8)


def face_mask(recipe: CropRecipe, rng: Generator) -> Mask:
    """Return a random soft region of an aligned face, shape (S, S), float32 in [0, 1].

    The face from brows to chin, or its upper or lower part alone: a polygon around it, each corner drawn in
    or out, then blurred by 2 to 12 % of the side.
    """
    side = recipe.input_side
    points = recipe.template * (side / recipe.side)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    span = float(np.linalg.norm(mouth - eyes))
    reach = {"whole": (-0.6, 1.6), "upper": (-0.6, 0.7), "lower": (0.3, 1.6)}
    top, bottom = reach[str(rng.choice(("whole", "whole", "upper", "lower")))]
    centre = eyes + (mouth - eyes) * (top + bottom) / 2
    radii = np.array([0.85, (bottom - top) / 2]) * span * rng.uniform(0.75, 1.05, 2)
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    rim = np.column_stack((np.cos(angles), np.sin(angles))) * rng.uniform(0.85, 1.1, (14, 1))
    mask = np.zeros((side, side), np.float32)
    cv2.fillPoly(mask, [np.rint(centre + rim * radii).astype(np.int32)], 1.0)
    # Blur, take the outside away again and blur once more: soft inside, and never beyond the drawn rim alone.
    soft = cv2.GaussianBlur(mask, (0, 0), side * rng.uniform(0.01, 0.05))
    inner = np.clip(soft * 2 - 1, 0, 1)
    blended: Mask = np.asarray(
        cv2.GaussianBlur(inner, (0, 0), side * rng.uniform(0.005, 0.04)), dtype=np.float32
    )
    return blended / max(float(blended.max()), 1e-6)


def _recoloured(crop: Image, rng: Generator) -> Image:
    image = crop
    if rng.random() < 0.5:
        image = np.clip(image.astype(np.int16) + rng.integers(-20, 21, 3), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        image = hue_saturation_value(image, rng)
    if rng.random() < 0.5:
        image = brightness_contrast(image, rng)
    side = image.shape[0]
    if rng.random() < 0.5:
        small = cv2.resize(image, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
        how = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(small, (side, side), interpolation=how), dtype=np.uint8)
    amount = rng.uniform(0.2, 0.5)
    soft = cv2.GaussianBlur(image, (0, 0), 1.5)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)


def _moved(image: Image, rng: Generator) -> Image:
    return Affine(degrees=1.5, scale=(0.96, 1.04), shift=0.02)(image, rng)
