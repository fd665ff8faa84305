"""Partition the patches of a crop into foreground, boundary and background, as in CoRIT; needs no torch."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.errors import UsageError

Mask = NDArray[np.bool_]
Shares = NDArray[np.float32]

#: Foreground, its boundary and background (CoRIT, Sec. V-A, implementation details), in the order of every
#: array of regions.
REGIONS = ("F", "Bd", "Bg")
#: The face in DeepfakeBench's crop, as fractions of its side: it encloses the template's eyes, mouth and
#: chin.
FACE_CENTRE, FACE_RADII = (0.50, 0.56), (0.28, 0.36)
#: Half axes of the central region that is used as the foreground if there is no face.
CENTRE_RADIUS = 0.35


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An upright ellipse on a crop, in fractions of the crop's side.

    Attributes:
        centre: Its centre, to the right of and below the crop's top left corner.
        radii: Its half axes, horizontal and vertical.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]

    def __post_init__(self) -> None:
        if min(self.radii) <= 0:
            raise ValueError(f"the half axes of an ellipse must be above 0, not {self.radii}")

    def mask(self, side: int) -> Mask:
        """Return which pixels of a crop are inside, shape (side, side)."""
        middle = (np.arange(side) + 0.5) / side
        across, down = (
            ((middle - at) / radius) ** 2 for at, radius in zip(self.centre, self.radii, strict=True)
        )
        inside: Mask = down[:, None] + across[None] <= 1
        return inside


#: The foreground of a picture that was not aligned on a face.
CENTRE = Ellipse((0.5, 0.5), (CENTRE_RADIUS, CENTRE_RADIUS))


def canonical_face(recipe: CropRecipe) -> Ellipse:
    """Return the face's ellipse in crops of a recipe, which are all aligned in the same way.

    Relative to the eyes and in units of their distance, the ellipse has the same position and size as in
    DeepfakeBench's crop.
    """
    eyes, distance = _eyes(recipe)
    known_eyes, known_distance = _eyes(CropRecipe(scale=1.3))
    factor = distance / known_distance
    x, y = eyes + (np.asarray(FACE_CENTRE) - known_eyes) * factor
    across, down = np.asarray(FACE_RADII) * factor
    return Ellipse((float(x), float(y)), (float(across), float(down)))


def _eyes(recipe: CropRecipe) -> tuple[NDArray[np.float64], float]:
    left, right = recipe.template[:2].astype(np.float64) / recipe.side
    return (left + right) / 2, float(np.linalg.norm(right - left))


def hull_mask(landmarks: ArrayLike, size: tuple[int, int]) -> Mask:
    """Return the convex hull of a face's landmarks, shape (H, W).

    Args:
        landmarks: Points in the picture's pixels, shape (N, 2), N at least 3.
        size: The picture's height and width.

    Raises:
        UsageError: The points have another shape, are too few, or are not finite.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise UsageError(
            f"landmarks must be at least three finite points, not an array of shape {points.shape}",
            "give the picture's landmarks, shape (N, 2), or leave them out of the index",
        )
    mask = np.zeros(size, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    return mask.astype(bool)


def coverage(mask: Mask, grid: int) -> Shares:
    """Return the share of each patch that a mask covers, shape (grid, grid), in [0, 1].

    Args:
        mask: Shape (H, W), each side at least `grid`.
        grid: Number of patches along a side.

    Raises:
        UsageError: The mask has fewer pixels than there are patches.
    """
    if grid < 1 or mask.ndim != 2 or min(mask.shape) < grid:
        raise UsageError(
            f"a mask of shape {mask.shape} is too small for {grid} x {grid} patches",
            "give masks of the crop's size",
        )
    shares: Shares = np.asarray(
        cv2.resize(mask.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA), dtype=np.float32
    )
    return shares


def partition(shares: Shares, *, overlap: bool = False) -> Shares:
    """Return foreground, boundary and background.

    Patches covered by half or more belong to the face. The foreground is the face without its outermost
    patches (or the whole face if nothing else would be left), the boundary is these patches and their outer
    neighbours, and the background is the rest. The crop's own edge is not a boundary: a face cut off there
    continues.

    Args:
        shares: Share of each patch that the face covers, shape (G, G).
        overlap: Whether the foreground is the whole face, and so shares its outermost patches with the
            boundary. Otherwise each patch is in one region.

    Returns:
        0 or 1, in the order of `REGIONS`, patches in reading order, shape (3, G * G).
    """
    # Half a patch is a sum of many fractions, which rounding may leave just below 0.5.
    face = (shares >= 0.5 - 1e-6).astype(np.uint8)
    window = np.ones((3, 3), np.uint8)
    inner, outer = cv2.erode(face, window) > 0, cv2.dilate(face, window) > 0
    if not inner.any():
        inner = face > 0
    foreground = face > 0 if overlap else inner
    parts = np.stack((foreground, outer & ~inner, ~outer))
    return parts.reshape(3, -1).astype(np.float32)


def random_partition(grid: int, seed: int) -> Shares:
    """Return three random regions of equal size (CoRIT, Table IX, "Random").

    One draw serves all crops, just as the regions of aligned faces do.

    Args:
        grid: Number of patches along a side.
        seed: The same seed gives the same regions.

    Returns:
        0 or 1, each patch in one region, shape (3, grid * grid).
    """
    order = np.random.default_rng(seed).permutation(grid * grid)
    parts = np.zeros((3, grid * grid), np.float32)
    for region, patches in enumerate(np.array_split(order, 3)):
        parts[region, patches] = 1
    return parts
