"""Cuts the faces out of pictures, with what is known of their pixels, in as many processes as are given."""

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

#: A picture that is cut tight around its face shows the face finder no edge of it: a quarter of the side is
#: reflected around it first.
MARGIN = 0.25

#: A crop, shape (S, S, 3), and its layers by name, shape (S, S).
Cut = tuple[Image, dict[str, Image]]


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


def cut_all(
    batches: Sequence[Sequence[LabelledPicture]], recipe: CropRecipe, workers: int
) -> Iterator[list[Cut | None]]:
    """Yield what is cut out of each batch of pictures, in their order.

    Args:
        batches: The pictures.
        recipe: How they are cut.
        workers: Processes; 0 works in this one.

    Raises:
        UsageError: A picture or a mask cannot be read.
    """
    if not workers:
        cut = Cutter(recipe)
        yield from map(cut, batches)
        return
    # A forked child would inherit the locks of this process's threads, torch's and OpenCV's among them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(partial(_cut, recipe), batches)


class Cutter:
    """Cuts the face, and what is known of its pixels, out of each of a batch of pictures."""

    def __init__(self, recipe: CropRecipe) -> None:
        self.recipe = recipe
        self._finder = open_finder("fast", threads=1)

    def __call__(self, pictures: Sequence[LabelledPicture]) -> list[Cut | None]:
        """Return crop and layers of each picture, uint8; None where there is no face."""
        images = [_read(picture.path, cv2.IMREAD_COLOR)[..., ::-1].copy() for picture in pictures]
        unknown = [at for at, picture in enumerate(pictures) if picture.aligned is None]
        landmarks: list[Floats | None] = [
            # Of whatever size they are stored: their landmarks lie where their recipe puts them.
            None if given is None else given.landmarks_at(image.shape[0])
            for given, image in zip((picture.aligned for picture in pictures), images, strict=True)
        ]
        if unknown:
            found = find_landmarks([images[at] for at in unknown], self._finder)
            for at, points in zip(unknown, found, strict=True):
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
    """Return a layer of a picture of that height and width: drawn, or the hull of landmarks."""
    if path.suffix == ".npy":
        return hull_mask(np.load(path), size).astype(np.uint8) * np.uint8(255)
    layer = _read(path, cv2.IMREAD_GRAYSCALE)
    if layer.shape != size:
        raise UsageError(
            f"{path} is {layer.shape[1]} x {layer.shape[0]} pixels, its picture {size[1]} x {size[0]}",
            "a mask has the size of its picture",
        )
    return layer


@cache
def _cutter(recipe: CropRecipe) -> Cutter:
    # Once a worker process: its nets take longer to load than a batch to cut.
    cv2.setNumThreads(1)
    return Cutter(recipe)


def _cut(recipe: CropRecipe, pictures: Sequence[LabelledPicture]) -> list[Cut | None]:
    return _cutter(recipe)(pictures)


def _read(path: Path, how: int) -> Image:
    image = cv2.imread(str(path), how)
    if image is None:
        raise unreadable(path)
    return np.asarray(image, dtype=np.uint8)


def unreadable(path: Path) -> UsageError:
    """Return the error for a picture, or a mask, that OpenCV does not read; it reads no HEIC."""
    hint = "restore it, convert it to PNG, or take it out of the index or the folder"
    return UsageError(f"{path} is not a picture that can be read", hint)
