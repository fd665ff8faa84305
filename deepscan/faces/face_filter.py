"""The face filter: tells faces from patterns, shadows and hands that a face finder takes for one."""

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

#: What the filter sees of what was found.
CROP = CropRecipe(side=48, scale=1.25, interpolation="area", border="reflect")
#: `REFERENCE` with as much about it as that: one crop of a face serves both.
AROUND = replace(REFERENCE, side=round(REFERENCE.side * CROP.scale), scale=CROP.scale)
_RIM = (AROUND.side - REFERENCE.side) // 2


def reference_crop(around: Image) -> Image:
    """Return the middle of a crop by `AROUND`: that by `REFERENCE` to a level, a view."""
    return around[_RIM:-_RIM, _RIM:-_RIM]


def filter_crop(around: Image) -> Image:
    """Return what the filter sees of a crop by `AROUND`: that of `CROP`, shape (48, 48, 3), uint8."""
    # As `area` does it: averaged down by a whole factor, the rest read between pixels.
    half = (AROUND.side // 2, AROUND.side // 2)
    averaged = cv2.resize(around, half, interpolation=cv2.INTER_AREA)
    return cast(Image, cv2.resize(averaged, (CROP.side, CROP.side), interpolation=cv2.INTER_LINEAR))


class FaceFilter:
    """A small network of our own that says how likely a crop shows a face at all.

    It was trained on what MTCNN finds in real footage, in made patterns and in wrongly framed faces. Drawn,
    carved and printed faces are faces to it, as those of living people are.

    Attributes:
        least: Least probability of a face.

    Raises:
        MissingError: onnxruntime is not installed, or the network is not there.
        ContractError: The network is not the one that its card names.
    """

    method: ClassVar[str] = "face-filter"

    def __init__(self) -> None:
        card = _card()
        self.least = float(card.network["least"])
        self._session = open_session(card.path("onnx"), threads=1)

    @staticmethod
    def describe() -> dict[str, Any]:
        """Return what the record of a run says of the network: its files, and what decides by its scores."""
        card = _card()
        return {**card.facts(), "least": float(card.network["least"])}

    def score(self, crops: Sequence[Image]) -> Floats:
        """Return the probability that each crop shows a face, shape (n,), float32 in [0, 1].

        Args:
            crops: As `filter_crop` makes them, RGB, uint8.
        """
        if not len(crops):
            return np.zeros(0, np.float32)
        (probabilities,) = self._session.run(None, {"pixels": np.stack(crops).astype(np.float32)})
        scores: Floats = probabilities
        return scores


def _card() -> ModelCard:
    return read_card(embedded_folder() / "facefilter")
