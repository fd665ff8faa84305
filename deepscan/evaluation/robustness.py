"""Robustness: crops distorted at five levels, and how far a detector's AUC moves with them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from deepscan.errors import UsageError
from deepscan.media.frames import Image
from deepscan.registry import Registry

#: What one does to a crop (RGB, shape (S, S, 3), uint8, left as it is) at a level from 1 to 5; the generator
#: draws what is random about it.
Distortion = Callable[[Image, int, Generator], Image]

#: Name -> what levels 1 to 5 mean: the kernel in pixels, the number of squares, the gain, the quality in
#: percent, the factor. All but the quality are those of the distortions published with DeeperForensics-1.0
#: (CVPR 2020), whose "JPEG" is `resizing`. Its authors distort whole frames; here a crop is distorted. Pixels
#: are meant for a crop of `REFERENCE_SIDE` and scale with the crop's side, so that a level removes as much of
#: a face at any resolution.
STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "blur": (7, 9, 13, 17, 21),
    "block-wise": (16, 32, 48, 64, 80),
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
    "jpeg": (90, 70, 50, 30, 10),
    "resizing": (2, 3, 4, 5, 6),
}
LEVELS = (1, 2, 3, 4, 5)
REFERENCE_SIDE = 256
#: Side of a square of `block-wise` in a crop of `REFERENCE_SIDE` pixels, and its grey.
SQUARE, GREY = 8, 128

#: Name of a distortion -> what distorts.
DISTORTIONS: Registry[Distortion] = Registry("distortion", dict.fromkeys(STRENGTHS, __name__))


def strength(name: str, level: int) -> float:
    """Return what a level of a distortion means; see `STRENGTHS`.

    Raises:
        UsageError: There is no such distortion or level.
    """
    DISTORTIONS.get(name)
    if level not in LEVELS:
        raise UsageError(f"{name} has no level {level}", f"choose from: {', '.join(map(str, LEVELS))}")
    return STRENGTHS[name][level - 1]


@DISTORTIONS.register("blur")
def gaussian_blur(crop: Image, level: int, rng: Generator) -> Image:
    """Blur with a Gaussian: k = 7 to 21 pixels across, a standard deviation of k / 6.

    In a crop of S pixels the standard deviation is k / 6 * S / 256, and the kernel the next odd number from
    k * S / 256 on, so that it never ends within three standard deviations.
    """
    across = strength("blur", level) * crop.shape[0] / REFERENCE_SIDE
    kernel = 2 * int(np.ceil((across - 1) / 2)) + 1
    return np.asarray(cv2.GaussianBlur(crop, (kernel, kernel), across / 6), dtype=np.uint8)


@DISTORTIONS.register("block-wise")
def block_wise(crop: Image, level: int, rng: Generator) -> Image:
    """Cover with 16 to 80 grey squares at random places, which may overlap.

    A square is 8 pixels wide in a crop of 256; in one of S pixels it is 8 * S / 256, rounded, and as many are
    drawn: together they are as large as 1.6 to 7.8 % of the crop.
    """
    side = crop.shape[0]
    square = max(1, round(SQUARE * side / REFERENCE_SIDE))
    covered = crop.copy()
    for top, left in rng.integers(side - square + 1, size=(int(strength("block-wise", level)), 2)):
        covered[top : top + square, left : left + square] = GREY
    return covered


@DISTORTIONS.register("contrast")
def contrast(crop: Image, level: int, rng: Generator) -> Image:
    """Multiply all values by 0.85 to 0.35, rounded down: less contrast, and darker by as much."""
    table = (np.arange(256, dtype=np.float32) * np.float32(strength("contrast", level))).astype(np.uint8)
    return table[crop]


@DISTORTIONS.register("jpeg")
def jpeg(crop: Image, level: int, rng: Generator) -> Image:
    """Compress as JPEG at a quality of 90 to 10 %, colours at half the resolution (4:2:0), and read it back.

    JPEG's blocks are 8 pixels wide whatever the crop's side.
    """
    how = [
        cv2.IMWRITE_JPEG_QUALITY,
        int(strength("jpeg", level)),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    _, data = cv2.imencode(".jpg", crop[..., ::-1], how)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


@DISTORTIONS.register("resizing")
def resizing(crop: Image, level: int, rng: Generator) -> Image:
    """Shrink by a factor of 2 to 6 and enlarge again, both bilinear: what one toolbox calls JPEG.

    Nothing is averaged on the way down, so that fine detail does not only go but also aliases.
    """
    side = crop.shape[0]
    small = max(1, side // int(strength("resizing", level)))
    shrunk = cv2.resize(crop, (small, small), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def distorted(crop: Image, name: str, level: int, *, seed: int, video: str, frame: int) -> Image:
    """Return a crop distorted; the same numbers give the same picture in whichever order crops come.

    Args:
        crop: RGB, shape (S, S, 3), uint8; it is left as it is. Whether it is resized for a network before or
            after this matters to `jpeg` alone.
        name: A name of `DISTORTIONS`.
        level: 1 to 5, or 0 for the crop itself.
        seed: Of the whole run.
        video: What tells the crop's video from all others.
        frame: What tells the crop from the others of its video.

    Raises:
        UsageError: There is no such distortion or level.
        ValueError: This is no crop.
    """
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape != (crop.shape[0], crop.shape[0], 3):
        raise ValueError(f"a crop is a square of three colours in 8 bits, not {crop.shape} {crop.dtype}")
    distort = DISTORTIONS.get(name)
    if level == 0:
        return crop
    return distort(crop, level, _generator(seed, video, frame, level))


def _generator(seed: int, video: str, frame: int, level: int) -> Generator:
    # Python's own hash of a string differs from process to process.
    key = hashlib.sha256(json.dumps([int(seed), video, int(frame), int(level)]).encode()).digest()
    return np.random.default_rng(int.from_bytes(key, "big"))


@dataclass(frozen=True, slots=True)
class Robustness:
    """How one distortion moves the AUC.

    Attributes:
        distortion: A name of `DISTORTIONS`.
        aucs: Level -> AUC in [0, 1]; level 0 is the original, and at least one other is there.

    Raises:
        UsageError: There is no such distortion or level, level 0 or all others are missing, an AUC is none,
            or the original one is 0.
    """

    distortion: str
    aucs: Mapping[int, float]

    def __post_init__(self) -> None:
        DISTORTIONS.get(self.distortion)
        hint = f"measure at level 0, the original, and at some of {', '.join(map(str, LEVELS))}"
        if 0 not in self.aucs or len(self.aucs) < 2:
            raise UsageError(f"levels {sorted(self.aucs)} do not show how an AUC varies", hint)
        if unknown := set(self.aucs) - {0, *LEVELS}:
            raise UsageError(f"there is no level {min(unknown)}", hint)
        for value in self.aucs.values():
            if not 0 <= value <= 1:
                raise UsageError(f"an AUC is between 0 and 1, not {value}", "measure it on both classes")
        if self.aucs[0] == 0:
            raise UsageError(
                "the AUC on original crops is 0, and nothing is relative to that",
                "check which label means fake: a detector that is always wrong has them swapped",
            )
        object.__setattr__(self, "aucs", dict(sorted(self.aucs.items())))

    @property
    def variations(self) -> dict[int, float]:
        """Level from 1 on -> relative variation of AUC: -0.1 where a tenth of the original AUC is lost.

        "CoRIT", arXiv 2603.24057, Sec. V-F, Eq. 26. The text at hand has lost the formula; this one is
        rebuilt from its name, "Relative AUC Variation", and from what is said of it: it is taken from the AUC
        on original and on perturbed data, and closer to zero is more robust.
        """
        original = self.aucs[0]
        return {level: (value - original) / original for level, value in self.aucs.items() if level}

    @property
    def figure(self) -> float:
        """The mean of the variations over the levels, our one figure for all that the paper draws."""
        return float(np.mean(list(self.variations.values())))

    def to_json(self) -> dict[str, Any]:
        """Return what a report keeps: each level with its strength, AUC and variation, and the figure."""
        varied = self.variations
        levels = [
            {
                "level": level,
                "strength": strength(self.distortion, level) if level else None,
                "auc": value,
                "variation": varied.get(level, 0.0),
            }
            for level, value in self.aucs.items()
        ]
        return {"distortion": self.distortion, "levels": levels, "robustness": self.figure}
