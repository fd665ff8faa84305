"""Aligned crops of a folder of face pictures, made once and kept: what training reads."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.data.crops.crop_pictures import MARGIN, cut_all, unreadable
from deepscan.data.pictures import LabelledPicture
from deepscan.errors import MissingError, UsageError
from deepscan.files import atomic_write
from deepscan.media.frames import Image
from deepscan.progress import OnProgress

_BATCH = 32

Sampling = Literal["even", "first"]
#: Positions among the crops of a set.
CropIndices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PixelLayer:
    """What is known of the pixels of crops, such as where they were forged.

    Attributes:
        values: 0 to 255, shape (N, S, S), uint8.
        known: Of which crops, shape (N,), bool; the others are 0 all over.
    """

    values: Image
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """Aligned crops with what is known of each.

    Attributes:
        crops: RGB, shape (N, S, S, 3), uint8, mapped from the cache.
        labels: 0 for real, 1 for fake, shape (N,), int64.
        groups: What each was made from, length N.
        videos: Of which video each is a frame, length N.
        splits: `train`, `val` or `pairs`, length N.
        dropped: Pictures without a face that could be found.
        key: What they depend on, hashed: recipe and pictures.
        layers: `forged`, what was forged in each, and `face`, where its face is, if that is known of any.
        origins: Who published each, its source where the index does not say, length N. Like the next three,
            empty where nothing is known of any crop.
        pairs: Name that a real shares with the fakes made of it, empty for none, length N.
        methods: How each fake was made, length N.
        face_px: Shorter side of each face in the original video, 0 for not known, shape (N,), int64.
        sources: Which of the data sets in the index each is of, length N.
    """

    crops: Image
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    videos: tuple[str, ...]
    splits: tuple[str, ...]
    dropped: int
    key: str
    layers: Mapping[str, PixelLayer] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    face_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        beside = {name: len(getattr(self, name)) for name in ("labels", "groups", "videos", "splits")}
        optional = ("origins", "pairs", "methods", "face_px", "sources")
        beside |= {name: count for name in optional if (count := len(getattr(self, name)))}
        beside |= {name: len(layer.values) for name, layer in self.layers.items()}
        if self.crops.ndim != 4 or set(beside.values()) != {len(self.crops)}:
            raise ValueError(f"crops of shape {self.crops.shape} do not match the lengths of {beside}")

    @property
    def stated(self) -> str:
        """What the index says of the crops, hashed."""
        said = [self.labels.tolist(), self.groups, self.videos, self.splits]
        said += [self.origins, self.pairs, self.face_px.tolist()]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def where(self, split: str, frames: int = 0, sampling: Sampling = "even") -> NDArray[np.int64]:
        """Return the positions of the crops in a split.

        Args:
            split: `train`, `val` or `pairs`.
            frames: How many crops of a video at most; 0 for all.
            sampling: Which: spread `even`ly over the video, or the `first`.
        """
        positions = np.flatnonzero(np.asarray(self.splits) == split)
        if not frames:
            return positions
        of_video: dict[tuple[str, int], list[int]] = defaultdict(list)
        for at in positions:
            of_video[self.videos[at], int(self.labels[at])].append(int(at))
        taken: list[int] = []
        for crops in of_video.values():
            last = len(crops) - 1 if sampling == "even" else min(frames, len(crops)) - 1
            taken += [crops[at] for at in np.linspace(0, last, min(frames, len(crops))).astype(int)]
        return np.array(sorted(taken), dtype=np.int64)


def cache_key(pictures: Sequence[LabelledPicture], recipe: CropRecipe) -> str:
    """Return what the crops depend on, hashed: the recipe, and the bytes of every picture in their order.

    Of benchmarks' crops, which may be a million, their paths, sizes and times stand for their bytes.

    Raises:
        MissingError: One of these is not there.
    """
    digest = hashlib.sha256(json.dumps([recipe.to_json(), MARGIN], sort_keys=True).encode())
    for picture in pictures:
        if picture.aligned is not None:
            for path in (picture.path, *picture.layers.values()):
                digest.update(_stamp(path))
            digest.update(json.dumps(picture.aligned.to_json(), sort_keys=True).encode())
            continue
        digest.update(hashlib.sha256(picture.path.read_bytes()).digest())
        for name, path in picture.layers.items():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _stamp(path: Path) -> bytes:
    try:
        found = path.stat()
    except FileNotFoundError:
        hint = "restore it, or repeat the command that prepared it, which cuts what is missing"
        raise MissingError(f"{path} is not there", hint)
    return f"{path}|{found.st_size}|{found.st_mtime_ns}".encode("utf-8", "surrogateescape")


def prepare_crops(
    pictures: Sequence[LabelledPicture],
    recipe: CropRecipe,
    store: Path,
    *,
    workers: int = 2,
    on_progress: OnProgress | None = None,
) -> CropSet:
    """Return the aligned crops of pictures, from the cache where it has them.

    Args:
        pictures: What to crop, each with one face.
        recipe: How; its `input_side` is the side S of the crops.
        store: Folder of the cache; it takes 3 * S * S bytes a picture, and S * S more for each layer.
        workers: Processes; 0 works in this one.
        on_progress: Progress callback: (done, total).

    Raises:
        MissingError: A crop of a benchmark is not there.
        UsageError: A picture or a mask cannot be read, or no face was found in any.
    """
    key = cache_key(pictures, recipe)
    data, index = store / f"crops-{key}.u8", store / f"crops-{key}.json"
    if not (data.is_file() and index.is_file()):
        store.mkdir(parents=True, exist_ok=True)
        _check(pictures)
        kept = _fill(data, pictures, recipe, workers, on_progress)
        with atomic_write(index) as file:
            file.write(json.dumps({"recipe": recipe.to_json(), "kept": kept}).encode())
    kept = json.loads(index.read_text(encoding="utf-8"))["kept"]
    chosen = [pictures[at] for at in kept]
    shape = (len(kept), recipe.input_side, recipe.input_side)
    layers = {
        name: PixelLayer(
            np.memmap(_layer_of(data, name), np.uint8, "r", shape=shape),
            np.array([name in picture.layers for picture in chosen]),
        )
        for name in _names(pictures)
    }
    return CropSet(
        crops=np.memmap(data, np.uint8, "r", shape=(*shape, 3)),
        labels=np.array([picture.label for picture in chosen], dtype=np.int64),
        groups=tuple(picture.group for picture in chosen),
        videos=tuple(picture.video for picture in chosen),
        splits=tuple(picture.split for picture in chosen),
        dropped=len(pictures) - len(kept),
        key=key,
        layers=layers,
        origins=tuple(picture.origin or picture.source for picture in chosen),
        pairs=tuple(picture.pair for picture in chosen),
        methods=tuple(picture.method for picture in chosen),
        face_px=np.array([picture.face_px for picture in chosen], dtype=np.int64),
        sources=tuple(picture.source for picture in chosen),
    )


def _check(pictures: Sequence[LabelledPicture]) -> None:
    """Check the head of every file first, so that a wrong one is found before hours of cutting.

    Raises:
        UsageError: A picture or a mask is none.
    """
    for picture in pictures:
        for path in (picture.path, *picture.layers.values()):
            if path.suffix != ".npy" and not cv2.haveImageReader(str(path)):
                raise unreadable(path)


def _layer_of(data: Path, name: str) -> Path:
    return data.with_suffix(f".{name}.u8")


def _names(pictures: Sequence[LabelledPicture]) -> list[str]:
    return sorted({name for picture in pictures for name in picture.layers})


def _fill(
    data: Path,
    pictures: Sequence[LabelledPicture],
    recipe: CropRecipe,
    workers: int,
    on_progress: OnProgress | None,
) -> list[int]:
    """Write the crops of all pictures that show a face; return which pictures these are.

    What was written before an interruption stands, and the work goes on behind it.
    """
    batches = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    targets = {"": data, **{name: _layer_of(data, name) for name in _names(pictures)}}
    partial = {name: path.with_suffix(path.suffix + ".tmp") for name, path in targets.items()}
    journal = data.with_suffix(".journal")
    try:
        kept = _cut_on(batches, recipe, workers, partial, journal, on_progress)
    except UsageError:
        # Whatever mends it changes the key, and what was cut would never be found again.
        _remove(journal, *partial.values())
        raise
    for name, path in partial.items():
        path.replace(targets[name])
    _remove(journal)
    return kept


def _cut_on(
    batches: Sequence[Sequence[LabelledPicture]],
    recipe: CropRecipe,
    workers: int,
    partial: Mapping[str, Path],
    journal: Path,
    on_progress: OnProgress | None,
) -> list[int]:
    """Cut from where the journal ends; return which pictures are kept, the earlier ones too."""
    blank = np.zeros((recipe.input_side, recipe.input_side), np.uint8)
    bytes_of = {name: blank.nbytes * (1 if name else 3) for name in partial}
    past = _past(journal, {path: bytes_of[name] for name, path in partial.items()})
    kept = [at for batch in past for at in batch]
    done, total = sum(map(len, batches[: len(past)])), sum(map(len, batches))
    with ExitStack() as stack:
        # Straight to the disk: a data set of frames does not fit into memory.
        files = {name: stack.enter_context(path.open("ab")) for name, path in partial.items()}
        for name, file in files.items():
            file.truncate(len(kept) * bytes_of[name])
        journal.write_text("".join(f"{json.dumps(batch)}\n" for batch in past), encoding="utf-8")
        noted = stack.enter_context(journal.open("a", encoding="utf-8"))
        for made in cut_all(batches[len(past) :], recipe, workers):
            found = [done + offset for offset, cut in enumerate(made) if cut is not None]
            for crop, layers in filter(None, made):
                for name, file in files.items():
                    file.write((layers.get(name, blank) if name else crop).tobytes())
            for file in files.values():
                file.flush()
            noted.write(f"{json.dumps(found)}\n")
            noted.flush()
            kept += found
            done += len(made)
            if on_progress is not None:
                on_progress(done, total)
    if not kept:
        raise UsageError(f"no face was found in any of {done} pictures", "give pictures of faces")
    return kept


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _past(journal: Path, bytes_of: Mapping[Path, int]) -> list[list[int]]:
    """Return which pictures are kept of each batch that was cut before, as far as their crops are there."""
    if not journal.is_file() or not all(path.is_file() for path in bytes_of):
        return []
    there = min(path.stat().st_size // size for path, size in bytes_of.items())
    past: list[list[int]] = []
    for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
        # A line without its end was being written.
        batch = json.loads(line) if line.endswith("\n") else None
        if batch is None or sum(map(len, past)) + len(batch) > there:
            break
        past.append(batch)
    return past
