"""Aligned crops of a folder of face pictures, made once and kept: what training reads."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.data.dataset import Picture
from deepscan.errors import UsageError
from deepscan.faces.align import align
from deepscan.faces.face import Floats
from deepscan.faces.mtcnn import FaceFinder
from deepscan.faces.recipe import CropRecipe

#: A picture that is cut tight around its face shows the face finder no edge of it: a quarter of the side is
#: reflected around it first.
MARGIN = 0.25
_BATCH = 32

Image = NDArray[np.uint8]
#: Called with the number of pictures done and the number of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """Aligned crops with what is known of each.

    Attributes:
        crops: RGB, shape (N, S, S, 3), uint8, mapped from the cache.
        labels: 0 for real, 1 for fake, shape (N,), int64.
        groups: What each was made from, length N.
        splits: `train` or `val`, length N.
        dropped: Pictures without a face that could be found.
        key: What they depend on, hashed: recipe and pictures.
    """

    crops: Image
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    dropped: int
    key: str

    def __post_init__(self) -> None:
        if self.crops.ndim != 4 or not (
            len(self.crops) == len(self.labels) == len(self.groups) == len(self.splits)
        ):
            raise ValueError(
                f"{self.crops.shape} crops, {len(self.labels)} labels, {len(self.groups)} groups and "
                f"{len(self.splits)} splits do not belong together"
            )

    def where(self, split: str) -> NDArray[np.int64]:
        """Return the positions of the crops in a split."""
        return np.flatnonzero(np.asarray(self.splits) == split)


def find_landmarks(images: Sequence[Image], finder: FaceFinder) -> list[Floats | None]:
    """Return the five landmarks of each picture's largest face, in its pixels; None where there is no face.

    Args:
        images: RGB, shape (h, w, 3), uint8, each mostly filled by one face.
        finder: The face finder.
    """
    margins = [round(MARGIN * min(image.shape[:2])) for image in images]
    padded = [
        np.asarray(
            cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_REFLECT_101), dtype=np.uint8
        )
        for image, margin in zip(images, margins, strict=True)
    ]
    return [
        faces[0].landmarks - np.float32(margin) if faces else None
        for faces, margin in zip(finder.detect(padded), margins, strict=True)
    ]


def cache_key(pictures: Sequence[Picture], recipe: CropRecipe) -> str:
    """Return what the crops depend on, hashed: the recipe, and the bytes of every picture in their order."""
    digest = hashlib.sha256(json.dumps([recipe.to_json(), MARGIN], sort_keys=True).encode())
    for picture in pictures:
        digest.update(hashlib.sha256(picture.path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def prepare_crops(
    pictures: Sequence[Picture],
    recipe: CropRecipe,
    store: Path,
    *,
    workers: int = 2,
    progress: Progress | None = None,
) -> CropSet:
    """Return the aligned crops of pictures, from the cache where it has them.

    Args:
        pictures: What to crop, each with one face.
        recipe: How; its `input_side` is the side S of the crops.
        store: Folder of the cache; it takes 3 * S * S bytes a picture.
        workers: Processes; 0 works in this one.
        progress: Told how far the work is.

    Raises:
        UsageError: A picture cannot be read, or no face was found in any.
    """
    key = cache_key(pictures, recipe)
    data, index = store / f"crops-{key}.npy", store / f"crops-{key}.json"
    if not (data.is_file() and index.is_file()):
        store.mkdir(parents=True, exist_ok=True)
        kept = _fill(data, pictures, recipe, workers, progress)
        index.write_text(json.dumps({"recipe": recipe.to_json(), "kept": kept}), encoding="utf-8")
    kept = json.loads(index.read_text(encoding="utf-8"))["kept"]
    chosen = [pictures[at] for at in kept]
    return CropSet(
        crops=np.load(data, mmap_mode="r"),
        labels=np.array([picture.label for picture in chosen], dtype=np.int64),
        groups=tuple(picture.group for picture in chosen),
        splits=tuple(picture.split for picture in chosen),
        dropped=len(pictures) - len(kept),
        key=key,
    )


def _fill(
    data: Path, pictures: Sequence[Picture], recipe: CropRecipe, workers: int, progress: Progress | None
) -> list[int]:
    """Write the crops of all pictures that show a face; return which pictures these are."""
    paths = [picture.path for picture in pictures]
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    kept: list[int] = []
    crops: list[Image] = []
    done = 0
    for made in _made(batches, recipe, workers):
        for offset, crop in enumerate(made):
            if crop is not None:
                kept.append(done + offset)
                crops.append(crop)
        done += len(made)
        if progress is not None:
            progress(done, len(paths))
    if not crops:
        raise UsageError(f"no face was found in any of {len(paths)} pictures", "give pictures of faces")
    temporary = data.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, np.stack(crops))
    temporary.replace(data)
    return kept


def _made(
    batches: Sequence[Sequence[Path]], recipe: CropRecipe, workers: int
) -> Iterator[list[Image | None]]:
    if not workers:
        cut = Cutter(recipe)
        yield from map(cut, batches)
        return
    # A forked child would inherit the locks of this process's threads, torch's and OpenCV's among them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(partial(_cut, recipe), batches)


class Cutter:
    """Cuts the face out of each of a batch of pictures, None where there is none."""

    def __init__(self, recipe: CropRecipe) -> None:
        self.recipe = recipe
        self._finder = FaceFinder("fast", threads=1)

    def __call__(self, paths: Sequence[Path]) -> list[Image | None]:
        """Return the crops, shape (S, S, 3) each, uint8."""
        images = [_read(path) for path in paths]
        return [
            None if landmarks is None else align(image, landmarks, self.recipe)
            for image, landmarks in zip(images, find_landmarks(images, self._finder), strict=True)
        ]


@cache
def _cutter(recipe: CropRecipe) -> Cutter:
    # Once a worker process: its nets take longer to load than a batch to cut.
    cv2.setNumThreads(1)
    return Cutter(recipe)


def _cut(recipe: CropRecipe, paths: Sequence[Path]) -> list[Image | None]:
    return _cutter(recipe)(paths)


def _read(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UsageError(
            f"{path} is not a picture that can be read", "restore it, or take it out of the index"
        )
    return np.ascontiguousarray(image[..., ::-1])
