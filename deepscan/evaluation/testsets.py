"""Finds the videos of a test set and reads their crops: benchmark files, picture folders, faces.csv."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from deepscan.cards import ModelCard
from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import Drop, FaceVideo, find_benchmark, footage_of, read_benchmark
from deepscan.data.benchmarks.benchmark_file import label_of
from deepscan.data.benchmarks.forensynths import centre_crop, read_generator
from deepscan.data.crops.crop_cache import prepare_crops
from deepscan.data.crops.prepared_files import PreparedFiles, read_crop_recipe, sidecar
from deepscan.data.pictures import LabelledPicture, read_pictures
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.evaluation.protocols import TestSet
from deepscan.evaluation.scores import LABEL_NAMES
from deepscan.evaluation.scoring import Reader
from deepscan.faces.align import align, similarity
from deepscan.media.frames import Image
from deepscan.progress import OnProgress
from deepscan.scanning.journal import read_journal

#: How far, in fractions of its side, a model's crop may reach past the crop that it is cut from: rounding.
SLACK = 0.01
HALVES = (
    "half of the groups of val chose the epoch and fitted the calibration of a model that was trained on "
    "this folder; its card has the figures of the other half"
)


@dataclass(frozen=True, slots=True, eq=False)
class VideoDataset:
    """Videos of one data set, ready to be scored: once, whichever test sets they serve.

    Attributes:
        name: What the data set is called in files of results.
        tests: The test sets that are measured on it.
        videos: The videos; one without frames has no score.
        read: Returns a frame's crop as the network takes it; None if it cannot be read.
        groups: (kind, name) -> the footage that the video was made from; others are their own group.
        without: Why a video has no frames, by (kind, name), where that is known.
        dropped: Why entries were left out that are no videos of their own -> how many.
        notes: For the reader of the results: how the crops were made.
        key: Hash of what the videos depend on; scores under another key are of other videos.
    """

    name: str
    tests: tuple[TestSet, ...]
    videos: Sequence[FaceVideo]
    read: Reader
    groups: Mapping[tuple[str, str], str] = field(default_factory=dict)
    without: Mapping[tuple[str, str], str] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()
    key: str = ""


def from_benchmark(
    tests: Sequence[TestSet], data: Path, card: ModelCard, root: Path | None = None
) -> VideoDataset:
    """Return the videos that a benchmark file has for some test sets of one data set, split and level.

    Videos that the file names and that have no crops, and those in which `prepare` found no face or that it
    could not read, are videos without frames: they are there, and have no score.

    Args:
        tests: The test sets.
        data: Folder with benchmark files.
        card: The model, whose crops are made of the benchmark's.
        root: Folder under which the crops lie, where that is another.

    Raises:
        MissingError: The file, or all of its crops, are not there.
        UsageError: The file is none, or lacks the split or the level, or has no video there.
        ContractError: The model takes more of the picture than the crops show.
    """
    first = tests[0]
    path = find_benchmark(data, first.dataset)
    kinds = {kind for test in tests for kind in test.kinds} if all(test.kinds for test in tests) else None
    found = read_benchmark(
        path, root=root, splits=[first.split], kinds=kinds, compression=first.compression, lenient=True
    )
    if not found.videos:
        raise MissingError(
            f"{path} has no video in the split {first.split}",
            f"run: deepscan prepare {first.dataset} --root DIR --out {data} --split {first.split}",
        )
    read, notes = crop_reader(read_crop_recipe(path), card, f"the crops of {path}")
    repeated = found.dropped["duplicate"]
    without = {
        (kind, name): reason
        for kind, name, reason in (*_cropless(found.drops), *_unprepared(path, found.videos[0]))
        if not kinds or kind in kinds or not label_of(kind)
    }
    for video in found.videos:
        without.pop((video.kind, video.name), None)
    like = replace(found.videos[0], frames=(), masks=())
    empty = [replace(like, kind=kind, label=label_of(kind), name=name) for kind, name in without]
    beside = sidecar(path)
    return VideoDataset(
        first.dataset,
        tuple(tests),
        (*found.videos, *empty),
        read,
        {(video.kind, video.name): footage_of(video) for video in (*found.videos, *empty)},
        without=without,
        dropped={"duplicate": repeated} if repeated else {},
        notes=notes,
        key=_hashed([path.read_bytes(), beside.read_bytes() if beside.exists() else b""]),
    )


def _cropless(drops: Iterable[Drop]) -> Iterator[tuple[str, str, str]]:
    for drop in drops:
        if drop.reason != "duplicate":
            yield drop.kind, drop.name, drop.reason.replace(" ", "_")


def _unprepared(path: Path, like: FaceVideo) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and status of the videos that `prepare` got no crops of."""
    journal = PreparedFiles(path.parent, path.stem).journal
    for _, _, line in read_journal(journal) if journal.exists() else ():
        if (line["split"], line["compression"]) == (like.split, like.compression) and line["status"] != "ok":
            yield line["kind"], line["name"], line["status"]


def from_generator(test: TestSet, data: Path, card: ModelCard) -> VideoDataset:
    """Return the pictures of a generator and the real ones that go with it, of which the middle is looked at.

    Args:
        test: The test set, named after the generator.
        data: Folder of ForenSynths' and UniversalFakeDetect's folders.
        card: The model, whose side is that of the middle; nothing is resized.

    Raises:
        MissingError: They are not there.
    """
    side = card.face_crop.input_side

    def middle(video: FaceVideo, number: int) -> Image | None:
        # The published figures are of pictures as they are stored, whichever way they are to be held.
        image = _read(video.frames[number], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if image is None else centre_crop(image, side)

    videos = read_generator(data, test.dataset)
    key = _hashed(f"{video.kind}/{video.name}\0".encode("utf-8", "surrogateescape") for video in videos)
    return VideoDataset(test.dataset, (test,), videos, middle, key=key)


def from_pictures(
    data: Path, card: ModelCard, cache: Path, progress: OnProgress | None = None
) -> list[VideoDataset]:
    """Return the split `val` of a folder with faces.csv, a test set for each source.

    The sources are those that the model was trained on, as far as its card says so; all of them else.

    Args:
        data: The folder.
        card: The model, by whose recipe the pictures are cut.
        cache: Folder for the crops.
        progress: Progress callback: (pictures cut, pictures).

    Raises:
        MissingError: There is no index, or a picture is not there.
        UsageError: The index cannot be read, or has no picture in `val`.
    """
    of_source: dict[str, list[LabelledPicture]] = defaultdict(list)
    sources = (card.trained.get("recipe") or {}).get("sources") or ()
    for picture in read_pictures(data, sources):
        if picture.split == "val":
            of_source[picture.source or data.resolve().name].append(picture)
    if not of_source:
        raise UsageError(f"{data} has no picture in the split val", "put groups of both labels into val")
    made = []
    for source, pictures in of_source.items():
        crops = prepare_crops(pictures, card.face_crop, cache, on_progress=progress)
        positions: dict[tuple[str, int], list[str]] = {(item.video, item.label): [] for item in pictures}
        for index, key in enumerate(zip(crops.videos, crops.labels.tolist(), strict=True)):
            positions[key].append(f"{key[0]}/{index}")
        videos = [
            FaceVideo(source, LABEL_NAMES[label], label, "val", video, tuple(found))
            for (video, label), found in positions.items()
        ]

        def read(video: FaceVideo, number: int, crops: Image = crops.crops) -> Image:
            return np.asarray(crops[int(video.frames[number].rpartition("/")[2])])

        groups = {(LABEL_NAMES[item.label], item.video): item.group for item in pictures}
        test = TestSet(source, source, split="val", local=True)
        without = {(video.kind, video.name): "no_face" for video in videos if not video.frames}
        depends = f"{crops.key}-{crops.index_hash}"
        made.append(
            VideoDataset(source, (test,), videos, read, groups, without, notes=(HALVES,), key=depends)
        )
    return made


def crop_reader(source: CropRecipe, card: ModelCard, origin: str) -> tuple[Reader, tuple[str, ...]]:
    """Return what reads a benchmark's crops as a model takes them, and what is to be said of it.

    Crops of the model's own recipe are only resized, as a scan resizes them. Of another recipe the model's
    crop is cut from the middle of them, if it lies within.

    Args:
        source: How the benchmark's crops were cut.
        card: The model.
        origin: What the crops are, as the subject of a sentence.

    Raises:
        ContractError: The model takes more of the picture than the crops show.
    """
    wanted = card.crop
    assert wanted is not None
    same = (source.scale, source.shift) == (wanted.scale, wanted.shift)
    if same:

        def resized(video: FaceVideo, number: int) -> Image | None:
            image = _read(video.frames[number])
            return None if image is None else _fitted(image, wanted.input_side)

        return resized, ()
    reach = _reach(source, wanted)
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
        return align(image, source.landmarks_at(image.shape[0]), wanted)

    crops = f"crops of {source.side} px at scale {source.scale:g}"
    return recut, (f"cut anew out of {crops}, for a model of {wanted.scale:g}",)


def _reach(source: CropRecipe, wanted: CropRecipe) -> float:
    """Return how far a crop reaches past the one that it is cut from, in fractions of its own side."""
    matrix = similarity(wanted.template, source.template)
    corners = np.array([[0, 0], [wanted.side, 0], [0, wanted.side], [wanted.side, wanted.side]])
    there = corners @ matrix[:, :2].T + matrix[:, 2]
    past = max(float(-there.min()), float(there.max()) - source.side, 0.0)
    return past / float(np.hypot(*matrix[:, 0]) * wanted.side)


def _hashed(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _read(path: str, how: int = cv2.IMREAD_COLOR) -> Image | None:
    image = cv2.imread(path, how)
    return None if image is None else np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def _fitted(image: Image, side: int) -> Image:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
