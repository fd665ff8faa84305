"""Pictures of 19 generators, not only faces, read in place: ForenSynths and UniversalFakeDetect."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.errors import MissingError, UsageError, choice_hint
from deepscan.media.frames import Image
from deepscan.media.suffixes import STILLS

#: Names of the folders of real and fake pictures, anywhere below a generator's folder, and of the kinds.
REAL_FOLDER, FAKE_FOLDER = "0_real", "1_fake"
#: Side of the central square that is scored, in pixels.
CENTRE_SIDE = 224
#: Parent folders of the generators' folders under the root, in the archives of their authors.
PARENT_FOLDERS = (
    *("", "test", "datasets/test", "CNN_synth_testset", "ForenSynths", "ForenSynths/test"),
    *("diffusion_datasets", "datasets/diffusion_datasets"),
)


@dataclass(frozen=True, slots=True)
class Generator:
    """Source of a generator's pictures.

    Attributes:
        reals: Folder of the matching real pictures; None for its own folder.
        origin: Where its authors publish it, for a hint.
    """

    reals: str | None
    origin: str


_FORENSYNTHS = "the test set of github.com/PeterWang512/CNNDetection"
_DIFFUSION = "the diffusion_datasets of github.com/WisconsinAIVision/UniversalFakeDetect"
#: Name of a subset in tables, and of its folder -> its generator, in table order.
GENERATORS: Mapping[str, Generator] = {
    **dict.fromkeys(
        (
            *("progan", "cyclegan", "biggan", "stylegan", "gaugan", "stargan", "deepfake", "seeingdark"),
            *("san", "crn", "imle"),
        ),
        Generator(None, _FORENSYNTHS),
    ),
    "guided": Generator("imagenet", _DIFFUSION),
    **dict.fromkeys(
        (*("ldm_200", "ldm_200_cfg", "ldm_100", "glide_100_27", "glide_50_27", "glide_100_10"), "dalle"),
        Generator("laion", _DIFFUSION),
    ),
}


def read_generator(root: Path, name: str, cap: int = 0) -> tuple[FaceVideo, ...]:
    """Return the pictures of a generator and the matching real pictures, each as a video of one frame.

    All pictures below a folder `0_real` or `1_fake` are read. For a diffusion model, the reals are those of
    `imagenet` or `laion`, or its own `0_real` if there are none. Reals come first; each class is sorted by
    folder and name.

    Args:
        root: Folder of the generators' folders, or of one of `PARENT_FOLDERS`.
        name: The generator.
        cap: Maximum number of pictures of each class, evenly spread; 0 for all.

    Raises:
        MissingError: Its pictures or the real ones are missing; the hint describes the expected folders.
        UsageError: The generator is unknown.
    """
    if name not in GENERATORS:
        raise UsageError(f"unknown generator {name!r}", choice_hint(name, GENERATORS))
    videos = []
    for label, kind in enumerate((REAL_FOLDER, FAKE_FOLDER)):
        pictures = next((found for found in _sources(root, name, kind) if found), None)
        if pictures is None:
            raise _missing(root, name, kind)
        if cap and cap < len(pictures):
            indices = np.linspace(0, len(pictures) - 1, cap).astype(int).tolist()
            pictures = [pictures[index] for index in indices]
        videos += [FaceVideo(name, kind, label, "test", title, (path,)) for title, path in pictures]
    return tuple(videos)


def centre_crop(image: Image, side: int = CENTRE_SIDE) -> Image:
    """Return the central square of a picture without resizing, padded with black if the picture is smaller.

    The test transform of UniversalFakeDetect (CVPR 2023): resizing would destroy the traces of a generator.
    Odd margins are split like in torchvision's CenterCrop.

    Args:
        image: Shape (h, w, 3), uint8.
        side: Side of the result, in pixels.

    Returns:
        Shape (side, side, 3).
    """
    for axis in (0, 1):
        size = image.shape[axis]
        if size < side:
            before = (side - size) // 2
            margins = [(0, 0)] * image.ndim
            margins[axis] = (before, side - size - before)
            image = np.pad(image, margins)
        elif size > side:
            # `round` rounds half a pixel to even, as torchvision does.
            start = round((size - side) / 2)
            image = image[start : start + side] if axis == 0 else image[:, start : start + side]
    return np.ascontiguousarray(image)


def _sources(root: Path, name: str, kind: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the pictures (name, path) of each folder that may contain this class of a generator."""
    paired = GENERATORS[name].reals
    folders = [paired, name] if kind == REAL_FOLDER and paired else [name]
    for folder in folders:
        for parent in PARENT_FOLDERS:
            top = os.path.join(root, parent, folder)
            yield [(os.path.relpath(path, top), path) for path in _pictures(top, kind)]


def _pictures(top: str, kind: str) -> Iterator[str]:
    visited: set[str] = set()
    for folder, below, files in os.walk(top, followlinks=True):
        # Symbolic links may form a cycle.
        if os.path.realpath(folder) in visited:
            below.clear()
            continue
        visited.add(os.path.realpath(folder))
        below.sort()
        if kind in os.path.relpath(folder, top).split(os.sep):
            for name in sorted(files):
                if os.path.splitext(name)[1].lower() in STILLS:
                    yield os.path.join(folder, name)


def _missing(root: Path, name: str, kind: str) -> MissingError:
    generator = GENERATORS[name]
    if generator.reals is None:
        expected = f"test/{name}/{REAL_FOLDER} and test/{name}/{FAKE_FOLDER}, or both below each class"
    else:
        expected = (
            f"diffusion_datasets/{name}/{FAKE_FOLDER} and diffusion_datasets/{generator.reals}/{REAL_FOLDER}"
        )
    return MissingError(
        f"no pictures of {name!r} found in a folder {kind} below {root}",
        f"download {generator.origin}; {root} must contain {expected}",
    )
