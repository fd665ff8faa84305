"""Robustness: distortions of crops at five levels, and the change of a detector's AUC."""

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

#: Distorts a crop (RGB, shape (S, S, 3), uint8, not modified) at a level from 1 to 5, with a generator for
#: random choices.
Distortion = Callable[[Image, int, Generator], Image]

#: Name -> parameter of levels 1 to 5: kernel in pixels, number of squares, gain, quality in percent, factor.
#: All but the quality are those of the distortions published with DeeperForensics-1.0 (CVPR 2020), whose
#: "JPEG" is `resizing`. Its authors distort whole frames, this module distorts crops. Pixels refer to a crop
#: of `REFERENCE_SIDE` and scale with the crop's side, so that a level removes the same share of a face at any
#: resolution.
STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "blur": (7, 9, 13, 17, 21),
    "block-wise": (16, 32, 48, 64, 80),
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
    "jpeg": (90, 70, 50, 30, 10),
    "resizing": (2, 3, 4, 5, 6),
}
LEVELS = (1, 2, 3, 4, 5)
REFERENCE_SIDE = 256
#: Side of a square of `block-wise` in a crop of `REFERENCE_SIDE` pixels, and its grey level.
SQUARE, GREY = 8, 128

#: Name of a distortion -> its function.
DISTORTIONS: Registry[Distortion] = Registry("distortion", dict.fromkeys(STRENGTHS, __name__))


def strength(name: str, level: int) -> float:
    """Return the parameter of a distortion at a level; see `STRENGTHS`.

    Raises:
        UsageError: The distortion or the level is unknown.
    """
    DISTORTIONS.get(name)
    if level not in LEVELS:
        raise UsageError(f"{name} has no level {level}", f"choose from: {', '.join(map(str, LEVELS))}")
    return STRENGTHS[name][level - 1]


@DISTORTIONS.register("blur")
def gaussian_blur(crop: Image, level: int, rng: Generator) -> Image:
    """Apply a Gaussian blur with a kernel of k = 7 to 21 pixels and a standard deviation of k / 6.

    In a crop of S pixels, the standard deviation is k / 6 * S / 256, and the kernel is k * S / 256 rounded up
    to an odd number, so that it covers at least three standard deviations on each side.
    """
    across = strength("blur", level) * crop.shape[0] / REFERENCE_SIDE
    kernel = 2 * int(np.ceil((across - 1) / 2)) + 1
    return np.asarray(cv2.GaussianBlur(crop, (kernel, kernel), across / 6), dtype=np.uint8)


@DISTORTIONS.register("block-wise")
def block_wise(crop: Image, level: int, rng: Generator) -> Image:
    """Cover the crop with 16 to 80 grey squares at random positions, which may overlap.

    A square is 8 pixels wide in a crop of 256, and 8 * S / 256, rounded, in a crop of S pixels. Together they
    have an area of 1.6 to 7.8 % of the crop.
    """
    side = crop.shape[0]
    square = max(1, round(SQUARE * side / REFERENCE_SIDE))
    covered = crop.copy()
    for top, left in rng.integers(side - square + 1, size=(int(strength("block-wise", level)), 2)):
        covered[top : top + square, left : left + square] = GREY
    return covered


@DISTORTIONS.register("contrast")
def contrast(crop: Image, level: int, rng: Generator) -> Image:
    """Multiply all values by 0.85 to 0.35, rounded down, which reduces both contrast and brightness."""
    table = (np.arange(256, dtype=np.float32) * np.float32(strength("contrast", level))).astype(np.uint8)
    return table[crop]


@DISTORTIONS.register("jpeg")
def jpeg(crop: Image, level: int, rng: Generator) -> Image:
    """Compress as JPEG at a quality of 90 to 10 % with 4:2:0 chroma subsampling, and decode again.

    JPEG blocks are 8 pixels wide, whatever the side of the crop.
    """
    parameters = [
        cv2.IMWRITE_JPEG_QUALITY,
        int(strength("jpeg", level)),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    _, data = cv2.imencode(".jpg", crop[..., ::-1], parameters)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


@DISTORTIONS.register("resizing")
def resizing(crop: Image, level: int, rng: Generator) -> Image:
    """Downscale by a factor of 2 to 6 and upscale again, both bilinear; one toolbox calls this JPEG.

    Downscaling does not average, so fine detail aliases.
    """
    side = crop.shape[0]
    small = max(1, side // int(strength("resizing", level)))
    shrunk = cv2.resize(crop, (small, small), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def distorted(crop: Image, name: str, level: int, *, seed: int, video: str, frame: int) -> Image:
    """Distort a crop, reproducibly and independently of the order of crops.

    Args:
        crop: RGB, shape (S, S, 3), uint8; not modified. Resizing it for a network before or after the
            distortion makes a difference for `jpeg` only.
        name: A name of `DISTORTIONS`.
        level: 1 to 5, or 0 for the crop itself.
        seed: Seed of the whole run.
        video: Unique key of the crop's video.
        frame: Index of the crop in its video.

    Raises:
        UsageError: The distortion or the level is unknown.
        ValueError: The array is not a crop.
    """
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape != (crop.shape[0], crop.shape[0], 3):
        raise ValueError(f"a crop must have shape (S, S, 3) and uint8, not {crop.shape} and {crop.dtype}")
    distort = DISTORTIONS.get(name)
    if level == 0:
        return crop
    return distort(crop, level, _generator(seed, video, frame, level))


def _generator(seed: int, video: str, frame: int, level: int) -> Generator:
    # Python's `hash` of a string differs between processes.
    key = hashlib.sha256(json.dumps([int(seed), video, int(frame), int(level)]).encode()).digest()
    return np.random.default_rng(int.from_bytes(key, "big"))


@dataclass(frozen=True, slots=True)
class Robustness:
    """AUCs under a distortion.

    Attributes:
        distortion: A name of `DISTORTIONS`.
        aucs: Level -> AUC in [0, 1]; has level 0, the original, and at least one other.

    Raises:
        UsageError: The distortion or a level is unknown, level 0 or all others are missing, an AUC is out of
            range, or the original one is 0.
    """

    distortion: str
    aucs: Mapping[int, float]

    def __post_init__(self) -> None:
        DISTORTIONS.get(self.distortion)
        hint = f"measure at level 0, the original, and at some of {', '.join(map(str, LEVELS))}"
        if 0 not in self.aucs or len(self.aucs) < 2:
            raise UsageError(f"levels {sorted(self.aucs)} are not enough for a variation", hint)
        if unknown := set(self.aucs) - {0, *LEVELS}:
            raise UsageError(f"unknown level {min(unknown)}", hint)
        for value in self.aucs.values():
            if not 0 <= value <= 1:
                raise UsageError(f"an AUC must be in [0, 1], not {value}", "measure it on both classes")
        if self.aucs[0] == 0:
            raise UsageError(
                "the AUC on original crops is 0, so a relative variation is undefined",
                "check which label means fake: the labels are probably swapped",
            )
        object.__setattr__(self, "aucs", dict(sorted(self.aucs.items())))

    @property
    def variations(self) -> dict[int, float]:
        """Level, from 1 -> relative variation of the AUC: -0.1 for a loss of a tenth of the original AUC.

        "CoRIT", arXiv 2603.24057, Sec. V-F, Eq. 26. The formula is missing from the available text. This one
        is reconstructed from its name, "Relative AUC Variation", and its description: it is computed from the
        AUC on original and perturbed data, and a value closer to zero is more robust.
        """
        original = self.aucs[0]
        return {level: (value - original) / original for level, value in self.aucs.items() if level}

    @property
    def figure(self) -> float:
        """Mean of the variations over the levels; the paper only plots them."""
        return float(np.mean(list(self.variations.values())))

    def to_json(self) -> dict[str, Any]:
        """Return the format of reports: strength, AUC and variation of each level, and the mean variation."""
        variations = self.variations
        levels = [
            {
                "level": level,
                "strength": strength(self.distortion, level) if level else None,
                "auc": value,
                "variation": variations.get(level, 0.0),
            }
            for level, value in self.aucs.items()
        ]
        return {"distortion": self.distortion, "levels": levels, "robustness": self.figure}
