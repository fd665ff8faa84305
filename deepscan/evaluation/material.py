"""A test set's videos and how their crops are read, whatever lies on the disk."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from deepscan.cards import ModelCard
from deepscan.data.benchmark import FaceVideo, find_benchmark, read_benchmark
from deepscan.data.crops import prepare_crops
from deepscan.data.dataset import Picture, read_pictures
from deepscan.data.prepared import read_crop_recipe
from deepscan.data.universal import centre_crop, read_generator
from deepscan.errors import ContractError, UsageError
from deepscan.evaluation.protocols.protocol import TestSet
from deepscan.evaluation.stream import Image, Reader
from deepscan.faces.align import align, similarity
from deepscan.faces.recipe import CropRecipe

#: How far, in fractions of its side, a model's crop may reach past the crop that it is cut from: rounding.
SLACK = 0.01
#: Name of a label in an index that knows no manipulations.
KINDS = ("real", "fake")
HALVES = (
    "half of the groups of val chose the epoch and fitted the calibration of a model that was trained on "
    "this folder; its card has the figures of the other half",
)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Videos of one data set, ready to be scored: once, whichever test sets they serve.

    Attributes:
        name: What the data set is called in files of results.
        tests: The test sets that are measured on it.
        videos: The videos; one without frames has no score.
        read: Gives a frame's crop as the network takes it; None for one that cannot be read.
        groups: What a video was made from, by (kind, name); a video that is not there is its own group.
        dropped: Why videos were left out -> how many.
        notes: What a reader of the figures has to know of how the crops came about.
    """

    name: str
    tests: tuple[TestSet, ...]
    videos: Sequence[FaceVideo]
    read: Reader
    groups: Mapping[tuple[str, str], str] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()


def from_benchmark(
    tests: Sequence[TestSet], data: Path, card: ModelCard, root: Path | None = None
) -> Material:
    """Return the videos that a benchmark file has for some test sets of one data set, split and level.

    Args:
        tests: The test sets.
        data: Folder with benchmark files.
        card: The model, whose crops are made of the benchmark's.
        root: Folder under which the crops lie, where that is another.

    Raises:
        MissingError: The file, or all of its crops, are not there.
        UsageError: The file is none, or lacks the split or the level.
        ContractError: The model takes more of the picture than the crops show.
    """
    first = tests[0]
    path = find_benchmark(data, first.dataset)
    kinds = {kind for test in tests for kind in test.kinds} if all(test.kinds for test in tests) else None
    found = read_benchmark(path, root=root, splits=[first.split], kinds=kinds, compression=first.compression)
    read, notes = crop_reader(read_crop_recipe(path), card, f"the crops of {path}")
    return Material(first.dataset, tuple(tests), found.videos, read, dropped=found.dropped, notes=notes)


def from_generator(test: TestSet, data: Path, card: ModelCard) -> Material:
    """Return the pictures of a generator and the real ones that go with it, of which the middle is looked at.

    Args:
        test: The test set, named after the generator.
        data: Folder of ForenSynths' and UniversalFakeDetect's folders.
        card: The model, whose side is that of the middle; nothing is resized.

    Raises:
        MissingError: They are not there.
    """
    assert card.crop is not None
    side = card.crop.input_side

    def middle(video: FaceVideo, number: int) -> Image | None:
        # The published figures are of pictures as they are stored, whichever way they are to be held.
        image = _read(video.frames[number], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if image is None else centre_crop(image, side)

    return Material(test.dataset, (test,), read_generator(data, test.dataset), middle)


def from_pictures(
    data: Path, card: ModelCard, cache: Path, progress: Callable[[int, int], None] | None = None
) -> list[Material]:
    """Return the split `val` of a folder with faces.csv, a test set for each source.

    The sources are those that the model was trained on, as far as its card says so; all of them else.

    Args:
        data: The folder.
        card: The model, by whose recipe the pictures are cut.
        cache: Folder for the crops.
        progress: Told how many pictures are cut.

    Raises:
        MissingError: There is no index, or a picture is not there.
        UsageError: The index cannot be read, or has no picture in `val`.
    """
    assert card.crop is not None
    of_source: dict[str, list[Picture]] = defaultdict(list)
    sources = (card.trained.get("recipe") or {}).get("sources") or ()
    for picture in read_pictures(data, sources):
        if picture.split == "val":
            of_source[picture.source or data.resolve().name].append(picture)
    if not of_source:
        raise UsageError(f"{data} has no picture in the split val", "put groups of both labels into val")
    made = []
    for source, pictures in of_source.items():
        crops = prepare_crops(pictures, card.crop, cache, progress=progress)
        positions: dict[tuple[str, int], list[str]] = {(item.video, item.label): [] for item in pictures}
        for at, key in enumerate(zip(crops.videos, crops.labels.tolist(), strict=True)):
            positions[key].append(str(at))
        videos = [
            FaceVideo(source, KINDS[label], label, "val", video, tuple(found))
            for (video, label), found in positions.items()
        ]

        def read(video: FaceVideo, number: int, crops: Image = crops.crops) -> Image:
            return np.asarray(crops[int(video.frames[number])])

        groups = {(KINDS[item.label], item.video): item.group for item in pictures}
        test = TestSet(source, source, split="val", local=True)
        made.append(Material(source, (test,), videos, read, groups, notes=HALVES))
    return made


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


def _read(path: str, how: int = cv2.IMREAD_COLOR) -> Image | None:
    image = cv2.imread(path, how)
    return None if image is None else np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def _fitted(image: Image, side: int) -> Image:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
