"""Fakes made from real crops; each kind imitates the traces of a different forgery method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.data.augmentation.degrade import unsharp
from deepscan.faces.blend import BlendMask, face_outline, self_blended, soft_mask
from deepscan.faces.regions import canonical_face
from deepscan.media.frames import Image

#: Returns a random real crop of another person, aligned by the same recipe.
Donor = Callable[[], Image]
#: Passes an image through a trained autoencoder: RGB, shape (S, S, 3), uint8, in and out.
Redrawer = Callable[[Image], Image]
#: Stride of the autoencoders, which must divide S.
REDRAW_STRIDE = 8
#: Number of donors drawn; the one most similar to the face replaces it.
_DONORS = 4
#: Side of the thumbnails that are compared to find it, in pixels.
_THUMBNAIL_SIDE = 8
#: Range of the upscaling factor of a re-rendered face, as after a generator of 64 to 128 pixels.
_UPSCALING = (1.2, 2.8)


@dataclass(frozen=True, slots=True)
class Means:
    """Inputs of a forgery in addition to the crop.

    Attributes:
        donor: Returns crops of other people.
        redrawers: Autoencoders trained on crops of the same recipe; only `redraw` needs them.
    """

    donor: Donor
    redrawers: Sequence[Redrawer] = ()


ForgeryFunction = Callable[[Image, Means, CropRecipe, Generator], tuple[Image, BlendMask]]


def blend(crop: Image, means: Means, recipe: CropRecipe, rng: Generator) -> tuple[Image, BlendMask]:
    """Blend the face with a slightly changed copy of itself; see `self_blended`."""
    return self_blended(crop, recipe, rng)


def swap(crop: Image, means: Means, recipe: CropRecipe, rng: Generator) -> tuple[Image, BlendMask]:
    """Replace the face by the most similar of a few other faces, colour-matched and sometimes re-rendered.

    After "Face X-ray for More General Face Forgery Detection" (CVPR 2020, Sec. 3.3): two real faces, a mask,
    a colour transfer. Aligned crops overlap without landmarks.
    """
    other = _most_similar(crop, means.donor)
    mask = _face_mask(crop, recipe, rng)
    source = _colour_matched(other, crop, mask, rng)
    if rng.random() < 0.6:
        source = _rerendered(source, rng)
    return _composite(crop, source, mask), mask


def warp(crop: Image, means: Means, recipe: CropRecipe, rng: Generator) -> tuple[Image, BlendMask]:
    """Distort the mouth, the eyes or the middle of the face into another expression, and smooth the area."""
    side, face = crop.shape[0], canonical_face(recipe)
    y, x = np.indices((side, side), dtype=np.float32)
    moves = np.zeros((side, side, 2), np.float32)
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        # In radii of the face's ellipse: the eyes are above its centre, the mouth below.
        places = ((-0.45, -0.3), (0.45, -0.3), (0.0, 0.45), (0.0, 0.1))
        across, down = places[rng.integers(len(places))]
        centre = (np.array((across, down)) * face.radii + face.centre) * side
        reach = rng.uniform(0.25, 0.6) * face.radii[0] * side
        weight = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (reach / 1.5) ** 2))
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.07) * side
        moves += weight[..., None] * np.array((np.cos(angle), np.sin(angle)), np.float32) * np.float32(length)
        if rng.random() < 0.5:
            stretch = np.float32(rng.uniform(-0.25, 0.25))
            moves += weight[..., None] * stretch * np.stack((x - centre[0], y - centre[1]), axis=-1)
        mask = np.maximum(mask, weight)
    moved = cv2.remap(
        crop, x + moves[..., 0], y + moves[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    soft = np.clip(mask * 2, 0, 1).astype(np.float32)
    return _composite(crop, _rerendered(np.asarray(moved, dtype=np.uint8), rng), soft), soft


def rerender(crop: Image, means: Means, recipe: CropRecipe, rng: Generator) -> tuple[Image, BlendMask]:
    """Upscale the face, or the whole crop, from fewer pixels, like the decoder of a generator."""
    mask = np.ones(crop.shape[:2], np.float32) if rng.random() < 0.4 else _face_mask(crop, recipe, rng)
    return _composite(crop, _rerendered(crop, rng), mask), mask


def redraw(crop: Image, means: Means, recipe: CropRecipe, rng: Generator) -> tuple[Image, BlendMask]:
    """Pass the face, or the whole crop, through an autoencoder, for the traces of a neural decoder.

    The input is the crop itself, a `warp` of it, or, if only the face is replaced, the colour-matched face of
    a similar person, as in the first face swaps with autoencoders.

    Raises:
        ValueError: `means` has no autoencoder.
    """
    if not means.redrawers:
        raise ValueError("redraw needs trained autoencoders")
    source = warp(crop, means, recipe, rng)[0] if rng.random() < 0.3 else crop
    if rng.random() < 0.6:
        mask = np.ones(crop.shape[:2], np.float32)
    else:
        mask = _face_mask(crop, recipe, rng)
        if rng.random() < 0.5:
            source = _colour_matched(_most_similar(crop, means.donor), crop, mask, rng)
    drawn = means.redrawers[int(rng.integers(len(means.redrawers)))](source)
    if rng.random() < 0.35:
        drawn = unsharp(drawn, 1.0, rng.uniform(0.2, 1.0))
    return _composite(crop, drawn, mask), mask


#: Name in a recipe's `forgeries` -> its function.
FORGERIES: Mapping[str, ForgeryFunction] = {
    "blend": blend,
    "swap": swap,
    "warp": warp,
    "render": rerender,
    "redraw": redraw,
}


def forged(
    kinds: Sequence[str], crop: Image, means: Means, recipe: CropRecipe, rng: Generator
) -> tuple[Image, BlendMask]:
    """Return a fake of a random kind made from a real crop, with its mask.

    Args:
        kinds: Keys of `FORGERIES`; a key listed more often is drawn more often.
        crop: RGB, aligned by the recipe, shape (S, S, 3), uint8; not modified.
        means: Inputs of the forgery.
        recipe: The crop recipe.
        rng: Random generator of everything else.

    Returns:
        The fake, and the forged share of each pixel, shape (S, S), float32 in [0, 1].
    """
    kind = kinds[0] if len(kinds) == 1 else kinds[int(rng.integers(len(kinds)))]
    return FORGERIES[kind](crop, means, recipe, rng)


def _face_mask(crop: Image, recipe: CropRecipe, rng: Generator) -> BlendMask:
    return soft_mask(face_outline(canonical_face(recipe), rng), crop.shape[0], rng)


def _composite(crop: Image, source: Image, mask: BlendMask) -> Image:
    blended = crop.astype(np.float32)
    blended += mask[..., None] * (source - blended)
    return np.rint(blended).astype(np.uint8)


def _most_similar(crop: Image, donor: Donor) -> Image:
    """Return the most similar of a few donors."""
    thumbnail = _thumbnail(crop)
    others = (donor() for _ in range(_DONORS))
    return min(others, key=lambda other: float(np.abs(_thumbnail(other) - thumbnail).mean()))


def _thumbnail(crop: Image) -> NDArray[np.float32]:
    small = cv2.resize(crop, (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _colour_matched(source: Image, target: Image, mask: BlendMask, rng: Generator) -> Image:
    """Return the source with its colours moved most of the way to the target's, by their mean and spread."""
    inside = mask > 0.5 * mask.max()
    values, goal = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) for image in (source, target))
    mean, goal_mean = values[inside].mean(0), goal[inside].mean(0)
    spread = np.clip((goal[inside].std(0) + 1) / (values[inside].std(0) + 1), 0.5, 2.0)
    strength = np.float32(rng.uniform(0.7, 1.0))
    moved = (values - mean) * (1 + strength * (spread - 1)) + mean + strength * (goal_mean - mean)
    lab = np.clip(np.rint(moved), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def _rerendered(image: Image, rng: Generator) -> Image:
    """Return the picture as if from a generator of lower resolution: smoothed and upscaled."""
    side = image.shape[0]
    small = max(8, round(side / rng.uniform(*_UPSCALING)))
    coarse = np.asarray(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if rng.random() < 0.5:
        spread = float(rng.uniform(10, 40))
        coarse = np.asarray(cv2.bilateralFilter(coarse, 5, spread, 3.0), dtype=np.uint8)
    method = rng.integers(4)
    if method < 3:
        kind = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[method]
        large = cv2.resize(coarse, (side, side), interpolation=kind)
    else:
        # A transposed convolution with stride 2 and a kernel of 3, which overlaps unevenly: the pattern of
        # "Deconvolution and Checkerboard Artifacts" (Distill, 2016).
        large = _transposed(coarse, rng)
        large = cv2.resize(large, (side, side), interpolation=cv2.INTER_LINEAR)
    drawn = np.asarray(large, dtype=np.uint8)
    return unsharp(drawn, 1.0, rng.uniform(0.2, 1.0)) if rng.random() < 0.5 else drawn


def _transposed(image: Image, rng: Generator) -> Image:
    height, width = image.shape[:2]
    spread = np.zeros((height * 2, width * 2, 3), np.float32)
    spread[::2, ::2] = image
    # The four phases differ by a few hundredths only: a trained decoder leaves no obvious grid.
    tap = np.array([1, 2, 1], np.float32) * (1 + rng.uniform(-0.05, 0.05, 3).astype(np.float32))
    kernel = np.outer(tap, tap)
    filled = cv2.filter2D(spread, -1, kernel / kernel.sum() * 4)
    return np.asarray(np.clip(np.rint(filled), 0, 255), dtype=np.uint8)
