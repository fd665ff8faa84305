"""Cache of the aligned crops of a folder of face pictures, for training."""

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
    """A label of every pixel of the crops, such as whether it was forged.

    Attributes:
        values: 0 to 255, shape (N, S, S), uint8.
        known: Which crops have the layer, shape (N,), bool; the others are all 0.
    """

    values: Image
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """Aligned crops with their labels and metadata.

    Attributes:
        crops: RGB, shape (N, S, S, 3), uint8, memory-mapped from the cache.
        labels: 0 for real, 1 for fake, shape (N,), int64.
        groups: Group of each crop, such as its source video, length N.
        videos: Video of each crop, length N.
        splits: `train`, `val` or `pairs`, length N.
        dropped: Number of pictures in which no face was found.
        key: Hash of the recipe and the pictures.
        layers: `forged`, the forged pixels, and `face`, the face region; only layers that some crop has.
        origins: Publisher of each crop, or its source if the index does not name one, length N. Like the next
            three, empty if unknown for all crops.
        pairs: Name that a real shares with the fakes made from it, empty for none, length N.
        methods: Method that made each fake, length N.
        face_px: Shorter side of each face in the original video, 0 if unknown, shape (N,), int64.
        sources: Data set of each crop, from the index, length N.
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
        lengths = {name: len(getattr(self, name)) for name in ("labels", "groups", "videos", "splits")}
        optional = ("origins", "pairs", "methods", "face_px", "sources")
        lengths |= {name: count for name in optional if (count := len(getattr(self, name)))}
        lengths |= {name: len(layer.values) for name, layer in self.layers.items()}
        if self.crops.ndim != 4 or set(lengths.values()) != {len(self.crops)}:
            raise ValueError(f"crops of shape {self.crops.shape} do not match the lengths of {lengths}")

    @property
    def index_hash(self) -> str:
        """Hash of the fields of the index."""
        fields = [self.labels.tolist(), self.groups, self.videos, self.splits]
        fields += [self.origins, self.pairs, self.face_px.tolist()]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]

    def where(self, split: str, frames: int = 0, sampling: Sampling = "even") -> NDArray[np.int64]:
        """Return the indices of the crops in a split.

        Args:
            split: `train`, `val` or `pairs`.
            frames: Maximum number of crops per video; 0 for all.
            sampling: Which crops of a video: `even`ly spread, or the `first`.
        """
        positions = np.flatnonzero(np.asarray(self.splits) == split)
        if not frames:
            return positions
        of_video: dict[tuple[str, int], list[int]] = defaultdict(list)
        for at in positions:
            of_video[self.videos[at], int(self.labels[at])].append(int(at))
        chosen: list[int] = []
        for crops in of_video.values():
            last = len(crops) - 1 if sampling == "even" else min(frames, len(crops)) - 1
            chosen += [crops[at] for at in np.linspace(0, last, min(frames, len(crops))).astype(int)]
        return np.array(sorted(chosen), dtype=np.int64)


def cache_key(pictures: Sequence[LabelledPicture], recipe: CropRecipe) -> str:
    """Return a hash of the recipe and of the bytes of all pictures, in order.

    For the crops of benchmarks, of which there may be a million, paths, sizes and modification times are
    hashed instead of the bytes.

    Raises:
        MissingError: One of these crops is missing.
    """
    digest = hashlib.sha256(json.dumps([recipe.to_json(), MARGIN], sort_keys=True).encode())
    for picture in pictures:
        if picture.aligned is not None:
            for path in (picture.path, *picture.layers.values()):
                digest.update(_fingerprint(path))
            digest.update(json.dumps(picture.aligned.to_json(), sort_keys=True).encode())
            continue
        digest.update(hashlib.sha256(picture.path.read_bytes()).digest())
        for name, path in picture.layers.items():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _fingerprint(path: Path) -> bytes:
    try:
        status = path.stat()
    except FileNotFoundError:
        hint = "restore it, or run the command that prepared it again, which adds missing crops"
        raise MissingError(f"{path} is missing", hint)
    return f"{path}|{status.st_size}|{status.st_mtime_ns}".encode("utf-8", "surrogateescape")


def prepare_crops(
    pictures: Sequence[LabelledPicture],
    recipe: CropRecipe,
    store: Path,
    *,
    workers: int = 2,
    key: str | None = None,
    on_progress: OnProgress | None = None,
) -> CropSet:
    """Return the aligned crops of pictures, cutting those that are not in the cache.

    Args:
        pictures: Pictures of one face each.
        recipe: Crop recipe; its `input_side` is the side S of the crops.
        store: Folder of the cache, which needs 3 * S * S bytes per picture, and S * S more for each layer.
        workers: Number of processes; 0 to work in this process.
        key: The pictures' `cache_key`; None to compute it.
        on_progress: Progress callback: (done, total).

    Raises:
        MissingError: A crop of a benchmark is missing.
        UsageError: A picture or a mask cannot be read, or no picture shows a face.
    """
    key = key or cache_key(pictures, recipe)
    data, index = store / f"crops-{key}.u8", store / f"crops-{key}.json"
    if not (data.is_file() and index.is_file()):
        store.mkdir(parents=True, exist_ok=True)
        _check_headers(pictures)
        kept = _fill(data, pictures, recipe, workers, on_progress)
        with atomic_write(index) as file:
            file.write(json.dumps({"recipe": recipe.to_json(), "kept": kept}).encode())
    kept = json.loads(index.read_text(encoding="utf-8"))["kept"]
    chosen = [pictures[at] for at in kept]
    shape = (len(kept), recipe.input_side, recipe.input_side)
    layers = {
        name: PixelLayer(
            np.memmap(_layer_path(data, name), np.uint8, "r", shape=shape),
            np.array([name in picture.layers for picture in chosen]),
        )
        for name in _layer_names(pictures)
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


def _check_headers(pictures: Sequence[LabelledPicture]) -> None:
    """Check the header of every file, so that a wrong one is found before hours of cutting.

    Raises:
        UsageError: A picture or a mask is not an image file.
    """
    for picture in pictures:
        for path in (picture.path, *picture.layers.values()):
            if path.suffix != ".npy" and not cv2.haveImageReader(str(path)):
                raise unreadable(path)


def _layer_path(data: Path, name: str) -> Path:
    return data.with_suffix(f".{name}.u8")


def _layer_names(pictures: Sequence[LabelledPicture]) -> list[str]:
    return sorted({name for picture in pictures for name in picture.layers})


def _fill(
    data: Path,
    pictures: Sequence[LabelledPicture],
    recipe: CropRecipe,
    workers: int,
    on_progress: OnProgress | None,
) -> list[int]:
    """Write the crops of all pictures that show a face, and return the indices of these pictures.

    An interrupted run is resumed after its last complete batch.
    """
    batches = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    targets = {"": data, **{name: _layer_path(data, name) for name in _layer_names(pictures)}}
    partial = {name: path.with_suffix(path.suffix + ".tmp") for name, path in targets.items()}
    journal = data.with_suffix(".journal")
    try:
        kept = _resume_cutting(batches, recipe, workers, partial, journal, on_progress)
    except UsageError:
        # Fixing the pictures changes the key, so these crops would never be used.
        _remove(journal, *partial.values())
        raise
    for name, path in partial.items():
        path.replace(targets[name])
    _remove(journal)
    return kept


def _resume_cutting(
    batches: Sequence[Sequence[LabelledPicture]],
    recipe: CropRecipe,
    workers: int,
    partial: Mapping[str, Path],
    journal: Path,
    on_progress: OnProgress | None,
) -> list[int]:
    """Cut the batches that the journal does not list; return the indices of all pictures with a crop."""
    blank = np.zeros((recipe.input_side, recipe.input_side), np.uint8)
    bytes_of = {name: blank.nbytes * (1 if name else 3) for name in partial}
    finished = _finished_batches(journal, {path: bytes_of[name] for name, path in partial.items()})
    kept = [at for batch in finished for at in batch]
    done, total = sum(map(len, batches[: len(finished)])), sum(map(len, batches))
    with ExitStack() as stack:
        # Write to disk immediately: a data set may not fit into memory.
        files = {name: stack.enter_context(path.open("ab")) for name, path in partial.items()}
        for name, file in files.items():
            file.truncate(len(kept) * bytes_of[name])
        journal.write_text("".join(f"{json.dumps(batch)}\n" for batch in finished), encoding="utf-8")
        journal_file = stack.enter_context(journal.open("a", encoding="utf-8"))
        for cuts in cut_all(batches[len(finished) :], recipe, workers):
            with_face = [done + offset for offset, cut in enumerate(cuts) if cut is not None]
            for crop, layers in filter(None, cuts):
                for name, file in files.items():
                    file.write((layers.get(name, blank) if name else crop).tobytes())
            for file in files.values():
                file.flush()
            journal_file.write(f"{json.dumps(with_face)}\n")
            journal_file.flush()
            kept += with_face
            done += len(cuts)
            if on_progress is not None:
                on_progress(done, total)
    if not kept:
        raise UsageError(f"no face was found in any of the {done} pictures", "give pictures of faces")
    return kept


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _finished_batches(journal: Path, bytes_of: Mapping[Path, int]) -> list[list[int]]:
    """Return the pictures with a crop of each finished batch, up to the first whose crops are incomplete."""
    if not journal.is_file() or not all(path.is_file() for path in bytes_of):
        return []
    complete = min(path.stat().st_size // size for path, size in bytes_of.items())
    finished: list[list[int]] = []
    for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
        # A line without a line break is incomplete.
        batch = json.loads(line) if line.endswith("\n") else None
        if batch is None or sum(map(len, finished)) + len(batch) > complete:
            break
        finished.append(batch)
    return finished
