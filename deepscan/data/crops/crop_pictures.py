"""Cuts faces and their pixel layers out of pictures, in several processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from deepscan.crop_recipe import CropRecipe
from deepscan.data.pictures import LabelledPicture
from deepscan.errors import UsageError
from deepscan.faces.align import align
from deepscan.faces.face import Floats
from deepscan.faces.finder import FaceFinder, open_finder
from deepscan.faces.regions import hull_mask
from deepscan.media.frames import Image

#: Reflected border of a picture, as a fraction of its shorter side: without it, the face finder misses faces
#: in pictures that are cropped tightly.
MARGIN = 0.25

#: A crop, shape (S, S, 3), and its layers by name, shape (S, S).
Cut = tuple[Image, dict[str, Image]]


def find_landmarks(images: Sequence[Image], finder: FaceFinder) -> list[Floats | None]:
    """Return the five landmarks of the largest face of each picture, in pixels; None without a face.

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


def cut_all(
    batches: Sequence[Sequence[LabelledPicture]], recipe: CropRecipe, workers: int
) -> Iterator[list[Cut | None]]:
    """Yield the crops of each batch of pictures, in order.

    Args:
        batches: The pictures.
        recipe: Crop recipe.
        workers: Number of processes; 0 to work in this process.

    Raises:
        UsageError: A picture or a mask cannot be read.
    """
    if not workers:
        cut = Cutter(recipe)
        yield from map(cut, batches)
        return
    # A forked process would inherit locks held by threads of torch or OpenCV.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(partial(_cut, recipe), batches)


class Cutter:
    """Cuts the face and its layers out of each picture of a batch."""

    def __init__(self, recipe: CropRecipe) -> None:
        self.recipe = recipe
        self._finder = open_finder("fast", threads=1)

    def __call__(self, pictures: Sequence[LabelledPicture]) -> list[Cut | None]:
        """Return crop and layers of each picture, uint8; None without a face."""
        images = [_read(picture.path, cv2.IMREAD_COLOR)[..., ::-1].copy() for picture in pictures]
        unaligned = [at for at, picture in enumerate(pictures) if picture.aligned is None]
        landmarks: list[Floats | None] = [
            # The recipe determines the landmarks of an aligned crop, at any stored size.
            None if aligned is None else aligned.landmarks_at(image.shape[0])
            for aligned, image in zip((picture.aligned for picture in pictures), images, strict=True)
        ]
        if unaligned:
            found = find_landmarks([images[at] for at in unaligned], self._finder)
            for at, points in zip(unaligned, found, strict=True):
                landmarks[at] = points
        return [
            None if points is None else self._cut(picture, image, points)
            for picture, image, points in zip(pictures, images, landmarks, strict=True)
        ]

    def _cut(self, picture: LabelledPicture, image: Image, landmarks: Floats) -> Cut:
        size = image.shape[:2]
        layers = {name: _layer(path, size) for name, path in picture.layers.items()}
        return align(image, landmarks, self.recipe), {
            name: align(layer, landmarks, self.recipe) for name, layer in layers.items()
        }


def _layer(path: Path, size: tuple[int, int]) -> Image:
    """Return a layer of a picture of the given height and width: a picture, or the hull of landmarks."""
    if path.suffix == ".npy":
        return hull_mask(np.load(path), size).astype(np.uint8) * np.uint8(255)
    layer = _read(path, cv2.IMREAD_GRAYSCALE)
    if layer.shape != size:
        raise UsageError(
            f"{path} is {layer.shape[1]} x {layer.shape[0]} pixels, but its picture {size[1]} x {size[0]}",
            "make the mask as large as its picture",
        )
    return layer


@cache
def _cutter(recipe: CropRecipe) -> Cutter:
    # Cached per worker process: loading the face finder takes longer than cutting a batch.
    cv2.setNumThreads(1)
    return Cutter(recipe)


def _cut(recipe: CropRecipe, pictures: Sequence[LabelledPicture]) -> list[Cut | None]:
    return _cutter(recipe)(pictures)


def _read(path: Path, mode: int) -> Image:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise unreadable(path)
    return np.asarray(image, dtype=np.uint8)


def unreadable(path: Path) -> UsageError:
    """Return the error for a picture or a mask that OpenCV cannot read, such as HEIC."""
    hint = "restore it, convert it to PNG, or remove it from the index or the folder"
    return UsageError(f"{path} is not a readable picture", hint)
