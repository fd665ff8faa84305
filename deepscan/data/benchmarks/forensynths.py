"""Pictures of 19 generators, faces or not, read where they lie: ForenSynths and UniversalFakeDetect."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.errors import MissingError, UsageError, choice_hint
from deepscan.media.frames import Image
from deepscan.media.suffixes import STILLS

#: Names of the folders, anywhere below a generator's, that hold real and fake pictures. They are the kinds.
REAL_FOLDER, FAKE_FOLDER = "0_real", "1_fake"
#: Side of the middle of a picture that is looked at, in pixels.
CENTRE_SIDE = 224
#: Where the generators' folders may lie under the root, as their authors pack them.
HOLDERS = (
    *("", "test", "datasets/test", "CNN_synth_testset", "ForenSynths", "ForenSynths/test"),
    *("diffusion_datasets", "datasets/diffusion_datasets"),
)


@dataclass(frozen=True, slots=True)
class Generator:
    """Where the pictures of a generator come from.

    Attributes:
        reals: Folder with the real pictures that go with it; its own where None.
        origin: Where its authors give it out, for a hint.
    """

    reals: str | None
    origin: str


_FORENSYNTHS = "the test set of github.com/PeterWang512/CNNDetection"
_DIFFUSION = "the diffusion_datasets of github.com/WisconsinAIVision/UniversalFakeDetect"
#: Name of a subset in tables, and of its folder -> its generator, in the order of the tables.
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
    """Return the pictures of a generator and the real ones that go with it, each as a video of one frame.

    Pictures are those below a folder `0_real` or `1_fake`, however deep. Of a diffusion model the reals are
    those of `imagenet` or `laion`; where there are none, its own `0_real` will do. Reals come first, each
    class in the order of folders and names.

    Args:
        root: Folder under which the generators' folders lie, directly or as in `HOLDERS`.
        name: The generator.
        cap: How many pictures of a class at most, spread evenly over them; 0 for all.

    Raises:
        MissingError: Its pictures, or the real ones, are not there; the hint says what to put where.
        UsageError: There is no such generator.
    """
    if name not in GENERATORS:
        raise UsageError(f"unknown generator {name!r}", choice_hint(name, GENERATORS))
    videos = []
    for label, kind in enumerate((REAL_FOLDER, FAKE_FOLDER)):
        pictures = next((found for found in _sources(root, name, kind) if found), None)
        if pictures is None:
            raise _missing(root, name, kind)
        if cap and cap < len(pictures):
            pictures = [pictures[at] for at in np.linspace(0, len(pictures) - 1, cap).astype(int).tolist()]
        videos += [FaceVideo(name, kind, label, "test", title, (path,)) for title, path in pictures]
    return tuple(videos)


def centre_crop(image: Image, side: int = CENTRE_SIDE) -> Image:
    """Return the middle of a picture at its own scale, with black around it where it is smaller.

    The test transform of UniversalFakeDetect (CVPR 2023), which resizes nothing: traces of a generator do not
    outlive resizing. Odd margins are divided as torchvision's CenterCrop divides them.

    Args:
        image: Shape (h, w, 3), uint8.
        side: Of the result, in pixels.

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
            # Half a pixel goes to the even side, as Python rounds.
            start = round((size - side) / 2)
            image = image[start : start + side] if axis == 0 else image[:, start : start + side]
    return np.ascontiguousarray(image)


def _sources(root: Path, name: str, kind: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the pictures, by name and path, of each folder that may hold that class of a generator."""
    paired = GENERATORS[name].reals
    folders = [paired, name] if kind == REAL_FOLDER and paired else [name]
    for folder in folders:
        for holder in HOLDERS:
            top = os.path.join(root, holder, folder)
            yield [(os.path.relpath(path, top), path) for path in _pictures(top, kind)]


def _pictures(top: str, kind: str) -> Iterator[str]:
    met: set[str] = set()
    for folder, below, files in os.walk(top, followlinks=True):
        # A link may lead back to where the walk has been.
        if os.path.realpath(folder) in met:
            below.clear()
            continue
        met.add(os.path.realpath(folder))
        below.sort()
        if kind in os.path.relpath(folder, top).split(os.sep):
            for name in sorted(files):
                if os.path.splitext(name)[1].lower() in STILLS:
                    yield os.path.join(folder, name)


def _missing(root: Path, name: str, kind: str) -> MissingError:
    generator = GENERATORS[name]
    if generator.reals is None:
        wanted = f"test/{name}/{REAL_FOLDER} and test/{name}/{FAKE_FOLDER}, or the same below each class"
    else:
        wanted = (
            f"diffusion_datasets/{name}/{FAKE_FOLDER} and diffusion_datasets/{generator.reals}/{REAL_FOLDER}"
        )
    return MissingError(
        f"there are no pictures in a folder {kind} for {name!r} in {root}",
        f"fetch {generator.origin}; in {root} there must be {wanted}",
    )
