"""Loads the videos of a test set and reads their crops: benchmark files, picture folders, faces.csv."""

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

#: How far a model's crop may extend beyond the source crop, as a fraction of its side: rounding only.
TOLERANCE = 0.01
HALVES_NOTE = (
    "for a model trained on this folder, half of the groups of val were used to select the epoch and to fit "
    "the calibration; the model's card has the results on the other half"
)


@dataclass(frozen=True, slots=True, eq=False)
class VideoDataset:
    """Videos of a data set to score once for all of its test sets.

    Attributes:
        name: Name of the data set in result files.
        tests: The test sets that are measured on it.
        videos: The videos; a video without frames has no score.
        read: Returns the crop of a frame for the network, or None if it cannot be read.
        groups: (kind, name) -> source footage of the video; other videos are their own group.
        without: (kind, name) -> reason why the video has no frames, if known.
        dropped: Reason -> number of skipped entries that are not separate videos.
        notes: Remarks for readers of the results, about the crops.
        key: Hash of the videos and crops; scores with another key belong to other videos.
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
    """Load the videos of a benchmark file for test sets of one data set, split and level.

    Listed videos without crops, and videos that `prepare` could not read or found no face in, are included as
    videos without frames, which have no score.

    Args:
        tests: The test sets.
        data: Folder with benchmark files.
        card: Card of the model, whose crops are made from those of the benchmark.
        root: Folder of the crops, if it is a different one.

    Raises:
        MissingError: The file, or all of its crops, are missing.
        UsageError: The file has another structure, lacks the split or the level, or has no videos in it.
        ContractError: The model's crop extends beyond the benchmark's crops.
    """
    first = tests[0]
    path = find_benchmark(data, first.dataset)
    kinds = {kind for test in tests for kind in test.kinds} if all(test.kinds for test in tests) else None
    found = read_benchmark(
        path, root=root, splits=[first.split], kinds=kinds, compression=first.compression, lenient=True
    )
    if not found.videos:
        raise MissingError(
            f"{path} has no videos in the split {first.split}",
            f"run: deepscan prepare {first.dataset} --root DIR --out {data} --split {first.split}",
        )
    read, notes = crop_reader(read_crop_recipe(path), card, f"the crops of {path}")
    repeated = found.dropped["duplicate"]
    without = {
        (kind, name): reason
        for kind, name, reason in (*_without_crops(found.drops), *_unprepared(path, found.videos[0]))
        if not kinds or kind in kinds or not label_of(kind)
    }
    for video in found.videos:
        without.pop((video.kind, video.name), None)
    template = replace(found.videos[0], frames=(), masks=())
    empty = [replace(template, kind=kind, label=label_of(kind), name=name) for kind, name in without]
    crop_settings = sidecar(path)
    return VideoDataset(
        first.dataset,
        tuple(tests),
        (*found.videos, *empty),
        read,
        {(video.kind, video.name): footage_of(video) for video in (*found.videos, *empty)},
        without=without,
        dropped={"duplicate": repeated} if repeated else {},
        notes=notes,
        key=_hashed([path.read_bytes(), crop_settings.read_bytes() if crop_settings.exists() else b""]),
    )


def _without_crops(drops: Iterable[Drop]) -> Iterator[tuple[str, str, str]]:
    for drop in drops:
        if drop.reason != "duplicate":
            yield drop.kind, drop.name, drop.reason.replace(" ", "_")


def _unprepared(path: Path, template: FaceVideo) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and status of the videos without crops in the journal of `prepare`."""
    journal = PreparedFiles(path.parent, path.stem).journal
    for _, _, line in read_journal(journal) if journal.exists() else ():
        if (line["split"], line["compression"]) == (template.split, template.compression) and line[
            "status"
        ] != "ok":
            yield line["kind"], line["name"], line["status"]


def from_generator(test: TestSet, data: Path, card: ModelCard) -> VideoDataset:
    """Load the pictures of a generator and the matching real ones, to be cropped at their centre.

    Args:
        test: The test set, named after the generator.
        data: Folder of the folders of ForenSynths and UniversalFakeDetect.
        card: Card of the model, whose input side is the side of the crop; nothing is resized.

    Raises:
        MissingError: The pictures are missing.
    """
    side = card.face_crop.input_side

    def read_centre(video: FaceVideo, number: int) -> Image | None:
        # Published results ignore the EXIF orientation.
        image = _read(video.frames[number], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if image is None else centre_crop(image, side)

    videos = read_generator(data, test.dataset)
    key = _hashed(f"{video.kind}/{video.name}\0".encode("utf-8", "surrogateescape") for video in videos)
    return VideoDataset(test.dataset, (test,), videos, read_centre, key=key)


def from_pictures(
    data: Path, card: ModelCard, cache: Path, progress: OnProgress | None = None
) -> list[VideoDataset]:
    """Load the split `val` of a folder with faces.csv, with a test set for each source.

    The sources are those in the training recipe on the model's card, or all if it has none.

    Args:
        data: The folder.
        card: Card of the model, whose recipe cuts the pictures.
        cache: Folder for the crops.
        progress: Progress callback: (pictures cut, pictures).

    Raises:
        MissingError: There is no index, or a picture is missing.
        UsageError: The index cannot be read, or has no pictures in `val`.
    """
    of_source: dict[str, list[LabelledPicture]] = defaultdict(list)
    sources = (card.trained.get("recipe") or {}).get("sources") or ()
    for picture in read_pictures(data, sources):
        if picture.split == "val":
            of_source[picture.source or data.resolve().name].append(picture)
    if not of_source:
        raise UsageError(f"{data} has no pictures in the split val", "put groups of both labels into val")
    datasets = []
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
        key_of_set = f"{crops.key}-{crops.index_hash}"
        datasets.append(
            VideoDataset(source, (test,), videos, read, groups, without, notes=(HALVES_NOTE,), key=key_of_set)
        )
    return datasets


def crop_reader(source: CropRecipe, card: ModelCard, origin: str) -> tuple[Reader, tuple[str, ...]]:
    """Return a function that reads a benchmark's crops for a model, and notes about it.

    Crops of the model's recipe are only resized, as in a scan. From crops of another recipe, the model's crop
    is cut out if it is inside them.

    Args:
        source: Recipe of the benchmark's crops.
        card: Card of the model.
        origin: Description of the crops, as the subject of a sentence.

    Raises:
        ContractError: The model's crop extends beyond the benchmark's crops.
    """
    recipe = card.crop
    assert recipe is not None
    same_crop = (source.scale, source.shift) == (recipe.scale, recipe.shift)
    if same_crop:

        def resized(video: FaceVideo, number: int) -> Image | None:
            image = _read(video.frames[number])
            return None if image is None else _resize(image, recipe.input_side)

        return resized, ()
    overhang = _overhang(source, recipe)
    if overhang > TOLERANCE:
        raise ContractError(
            f"{origin} are too tight for model {card.name!r}, whose crop extends {overhang:.0%} beyond them",
            f"prepare them for this model: deepscan prepare ... --model {card.name}",
        )

    def realigned(video: FaceVideo, number: int) -> Image | None:
        image = _read(video.frames[number])
        if image is None:
            return None
        # The recipe determines the landmarks of a crop, at any stored size.
        return align(image, source.landmarks_at(image.shape[0]), recipe)

    crops = f"crops of {source.side} px at scale {source.scale:g}"
    return realigned, (f"re-cropped from {crops} for a model with scale {recipe.scale:g}",)


def _overhang(source: CropRecipe, recipe: CropRecipe) -> float:
    """Return how far a crop extends beyond the one it is cut from, as a fraction of its side."""
    matrix = similarity(recipe.template, source.template)
    corners = np.array([[0, 0], [recipe.side, 0], [0, recipe.side], [recipe.side, recipe.side]])
    mapped = corners @ matrix[:, :2].T + matrix[:, 2]
    excess = max(float(-mapped.min()), float(mapped.max()) - source.side, 0.0)
    return excess / float(np.hypot(*matrix[:, 0]) * recipe.side)


def _hashed(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _read(path: str, mode: int = cv2.IMREAD_COLOR) -> Image | None:
    image = cv2.imread(path, mode)
    return None if image is None else np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def _resize(image: Image, side: int) -> Image:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
