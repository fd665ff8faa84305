"""Filter out patterns, shadows and hands that a face finder has mistaken for faces."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import cv2
import numpy as np

from deepscan.cards import ModelCard, embedded_folder, read_card
from deepscan.crop_recipe import REFERENCE, CropRecipe
from deepscan.faces.face import Floats
from deepscan.media.frames import Image
from deepscan.onnx_session import open_session

#: Recipe of the crops that the filter takes.
CROP = CropRecipe(side=48, scale=1.25, interpolation="area", border="reflect")
#: `REFERENCE` with a margin wide enough for `CROP`, so that one crop of a face serves both.
WITH_MARGIN = replace(REFERENCE, side=round(REFERENCE.side * CROP.scale), scale=CROP.scale)
_MARGIN = (WITH_MARGIN.side - REFERENCE.side) // 2


def reference_crop(crop: Image) -> Image:
    """Return the part of a `WITH_MARGIN` crop that `REFERENCE` would cut, to within a level; a view."""
    return crop[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def filter_crop(crop: Image) -> Image:
    """Return the `CROP` that the filter takes, shape (48, 48, 3), uint8, from a `WITH_MARGIN` crop."""
    # As `area` does: average by an integer factor, then interpolate.
    half = (WITH_MARGIN.side // 2, WITH_MARGIN.side // 2)
    averaged = cv2.resize(crop, half, interpolation=cv2.INTER_AREA)
    return cast(Image, cv2.resize(averaged, (CROP.side, CROP.side), interpolation=cv2.INTER_LINEAR))


class FaceFilter:
    """A small network, trained for this project, that estimates how likely a crop shows a face at all.

    It was trained on what MTCNN finds in real footage, on synthetic patterns and on badly framed faces.
    Drawn, carved and printed faces count as faces, like those of living people.

    Attributes:
        least: Lowest probability that counts as a face.

    Raises:
        MissingError: onnxruntime is not installed, or the network file is missing.
        ContractError: The network file does not match its card.
    """

    method: ClassVar[str] = "face-filter"

    def __init__(self) -> None:
        card = _card()
        self.least = float(card.network["least"])
        self._session = open_session(card.path("onnx"), threads=1)

    @staticmethod
    def describe() -> dict[str, Any]:
        """Describe the network for the record of a run: its files and its threshold."""
        card = _card()
        return {**card.facts(), "least": float(card.network["least"])}

    def score(self, crops: Sequence[Image]) -> Floats:
        """Return the probability that each crop shows a face, shape (n,), float32 in [0, 1].

        Args:
            crops: RGB, uint8, as returned by `filter_crop`.
        """
        if not len(crops):
            return np.zeros(0, np.float32)
        (probabilities,) = self._session.run(None, {"pixels": np.stack(crops).astype(np.float32)})
        scores: Floats = probabilities
        return scores


def _card() -> ModelCard:
    return read_card(embedded_folder() / "facefilter")
