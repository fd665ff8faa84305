"""Looks: vectors that recognise a person's face in another shot and in other light."""

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from deepscan.cards import ModelCard, embedded_folder, read_card
from deepscan.faces.face import Floats
from deepscan.media.frames import Image
from deepscan.onnx_session import open_session

# The network sees what dlib's face chips show, because it was trained to give the same vectors.
#: Rows and columns of a crop by `face_filter.WITH_MARGIN` that the network sees, and their side in pixels.
PART, CROP_SIDE = (slice(39, 154), slice(22, 137)), 115
#: Side in pixels of the network's input.
SIDE = 150
#: Number of faces per run of the network.
BATCH = 8


def look_crop(crop: Image) -> Image:
    """Return the part of a crop that looks are computed from, shape (CROP_SIDE, CROP_SIDE, 3), uint8.

    Args:
        crop: Face aligned by `face_filter.WITH_MARGIN`, RGB, uint8.
    """
    return crop[PART].copy()


def network_input(crop: Image) -> Image:
    """Return the network's input for a crop by `look_crop`, shape (SIDE, SIDE, 3), uint8."""
    return np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)


class Looks:
    """A small network that describes faces by vectors, which are similar for faces of one person.

    It was trained to reproduce the vectors of dlib's face recognition network, and is a tenth of its size
    (see `scripts/train_looks.py`). It separates the persons of one video, and does not identify anybody.

    Attributes:
        alike: Lowest cosine between the mean vectors of two tracks at which they count as one person's.

    Raises:
        MissingError: onnxruntime is not installed, or the network is missing.
        ContractError: The network is not the one in its card.
    """

    method: ClassVar[str] = "looks"

    def __init__(self) -> None:
        card = _card()
        self.alike = float(card.network["alike"])
        self._session = open_session(card.path("onnx"), threads=1)

    @staticmethod
    def describe() -> dict[str, Any]:
        """Return what run.json says about it: its file and its threshold."""
        card = _card()
        return {**card.facts(), "alike": float(card.network["alike"])}

    def vectors(self, crops: Sequence[Image]) -> Floats:
        """Return a unit vector for each face, shape (n, d), float32.

        Args:
            crops: At least one crop by `look_crop`.
        """
        parts = []
        for start in range(0, len(crops), BATCH):
            inputs = np.stack([network_input(crop) for crop in crops[start : start + BATCH]])
            parts += self._session.run(None, {"pixels": inputs})
        looks = np.concatenate(parts)
        vectors: Floats = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
        return vectors


def _card() -> ModelCard:
    return read_card(embedded_folder() / "looks")
