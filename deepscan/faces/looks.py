"""Looks: a vector by which a person's face is known again in another shot, in other light."""

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from deepscan.cards import ModelCard, embedded_folder, read_card
from deepscan.faces.face import Floats
from deepscan.faces.gradients import oriented_gradients
from deepscan.media.frames import Image

#: Where the face lies in the grey crop of `still.grey_crop`, in pixels.
FACE = (slice(16, 64), slice(8, 56))
#: Gradients: pixels a cell, and the sides of the cells; directions.
_CELLS, _DIRECTIONS = (4, 6), 8
#: Side of the copy whose brightness itself is a part of the look, and its weight.
_LUMA_SIDE, _LUMA_WEIGHT = 24, 0.15


class Looks:
    """Describes faces by their gradients and brightness, seen along the directions in which persons differ.

    These directions are a linear discriminant (Fisher 1936; for many classes Rao 1948), fitted to faces of
    many persons, each in several pictures and in changed light, so that what changes within a person counts
    for little. It tells the persons of one video apart and does not say who anybody is.

    Attributes:
        alike: Least mean cosine between the faces of two tracks above which they count as one person's.

    Raises:
        MissingError: The directions are missing.
        ContractError: They are not those that their card names.
    """

    method: ClassVar[str] = "looks"

    def __init__(self) -> None:
        card = _card()
        self.alike = float(card.network["alike"])
        with np.load(card.path("directions")) as stored:
            self._mean, self._directions = (
                stored[name].astype(np.float32) for name in ("mean", "directions")
            )

    @staticmethod
    def describe() -> dict[str, Any]:
        """Return its description in the record of a run: its file, and what its vectors decide."""
        card = _card()
        return {**card.facts(), "alike": float(card.network["alike"])}

    def vectors(self, greys: Sequence[Image]) -> Floats:
        """Return the look of each face, unit vectors, shape (n, d), float32.

        Args:
            greys: Small grey crops, as `still.grey_crop` makes them.
        """
        seen = np.stack([features(grey) for grey in greys])
        # A product of this size by BLAS wakes a thread a core, and where these wait for one another it takes
        # a hundred times as long.
        looks = np.einsum("nf,fd->nd", seen - self._mean, self._directions)
        vectors: Floats = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
        return vectors


def features(grey: Image) -> Floats:
    """Return what a look is made of, the mean with that of the mirror image, shape (2240,), float32."""
    luma = np.ascontiguousarray(grey[FACE]).astype(np.float32)
    smooth = luma - cv2.GaussianBlur(luma, (0, 0), 4)
    smooth /= smooth.std() + 4
    small = cv2.resize(smooth, (_LUMA_SIDE, _LUMA_SIDE), interpolation=cv2.INTER_AREA)
    parts = [_with_mirror_image(_gradients(luma, cell)) for cell in _CELLS]
    parts.append(_LUMA_WEIGHT / 2 * (small + small[:, ::-1]).ravel())
    return np.concatenate(parts)


def _gradients(luma: Floats, cell: int) -> Floats:
    """Return the square root of the gradient strength by cell and direction, normalised about each cell."""
    cells = oriented_gradients(luma, len(luma) // cell, _DIRECTIONS, kernel=1 if cell == _CELLS[0] else 3)
    energy = cv2.boxFilter(
        (cells**2).sum(axis=-1), -1, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE
    )
    gradients: Floats = np.sqrt(cells / np.sqrt(energy + 1.0)[..., None])
    return gradients


def _with_mirror_image(gradients: Floats) -> Floats:
    """Return the mean of gradients and of the mirror image's, where cells and directions change sides."""
    turned = (_DIRECTIONS // 2 - np.arange(_DIRECTIONS)) % _DIRECTIONS
    mean: Floats = (0.5 * (gradients + gradients[:, ::-1, turned])).astype(np.float32).ravel()
    return mean


def _card() -> ModelCard:
    return read_card(embedded_folder() / "looks")
