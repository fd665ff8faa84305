"""A test set's videos and how their crops are read, whatever lies on the disk."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from deepscan.cards import ModelCard
from deepscan.data.benchmark import FaceVideo
from deepscan.errors import ContractError
from deepscan.evaluation.protocols.protocol import TestSet
from deepscan.evaluation.stream import Image, Reader
from deepscan.faces.align import align, similarity
from deepscan.faces.recipe import CropRecipe

#: How far, in fractions of its side, a model's crop may reach past the crop that it is cut from: rounding.
SLACK = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A test set, ready to be scored.

    Attributes:
        test: Which one.
        videos: Its videos.
        read: Gives a frame's crop as the network takes it; None for one that cannot be read.
        groups: What a video was made from, by (kind, name); a video that is not there is its own group.
        dropped: Why videos were left out -> how many.
        notes: What a reader of the figures has to know of how the crops came about.
    """

    test: TestSet
    videos: Sequence[FaceVideo]
    read: Reader
    groups: Mapping[tuple[str, str], str] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()


def crop_reader(given: CropRecipe, card: ModelCard, origin: str) -> tuple[Reader, tuple[str, ...]]:
    """Return what reads a benchmark's crops as a model takes them, and what is to be said of it.

    Crops of the model's own recipe are only resized, as a scan resizes them. Of another recipe the model's
    crop is cut from the middle of them, if it lies within.

    Args:
        given: How the benchmark's crops were cut.
        card: The model.
        origin: What the crops are, as the subject of a sentence.

    Raises:
        ContractError: The model takes more of the picture than the crops show.
    """
    wanted = card.crop
    assert wanted is not None
    same = (given.scale, given.shift) == (wanted.scale, wanted.shift)
    if same:

        def resized(video: FaceVideo, number: int) -> Image | None:
            image = _read(video.frames[number])
            return None if image is None else _fitted(image, wanted.input_side)

        return resized, ()
    reach = _reach(given, wanted)
    if reach > SLACK:
        raise ContractError(
            f"{origin} show less around the face than model {card.name!r} takes (by {reach:.0%} of its crop)",
            f"cut them for it: deepscan prepare ... --model {card.name}",
        )

    def recut(video: FaceVideo, number: int) -> Image | None:
        image = _read(video.frames[number])
        if image is None:
            return None
        # Of whatever size the crops are stored: their landmarks lie where their recipe puts them.
        landmarks = given.template * np.float32(image.shape[0] / given.side)
        return align(image, landmarks, wanted)

    note = (
        f"cut anew out of crops of {given.side} px at scale {given.scale:g}, for a model of {wanted.scale:g}"
    )
    return recut, (note,)


def _reach(given: CropRecipe, wanted: CropRecipe) -> float:
    """Return how far a crop reaches past the one that it is cut from, in fractions of its own side."""
    matrix = similarity(wanted.template, given.template)
    corners = np.array([[0, 0], [wanted.side, 0], [0, wanted.side], [wanted.side, wanted.side]])
    there = corners @ matrix[:, :2].T + matrix[:, 2]
    past = max(float(-there.min()), float(there.max()) - given.side, 0.0)
    return past / float(np.hypot(*matrix[:, 0]) * wanted.side)


def _read(path: str) -> Image | None:
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    return None if image is None else np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def _fitted(image: Image, side: int) -> Image:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
