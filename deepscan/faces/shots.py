"""Shots: between which sampled frames a video was cut, by how their colours and their structure differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.media.frames import Image

#: Side of the small copy of a frame that is compared, in pixels, and by how many of them it may have moved.
SIDE, REACH = 32, 6
#: What of it is searched for in the other one.
_INNER = slice(REACH, SIDE - REACH)
# Fitted by `scripts/train_looks.py` as log-odds of a cut, to pairs of whole pictures of one clip (829) and of
# two (828): 97.6 % of both are told. There one pair in two was a cut, in a video it is one in ten at most: so
# -8.0, as fitted, less the logarithm of 9.
#: Weights of what is left of the structure, in [0, 2], and of the difference of colours, in levels; the bias.
STRUCTURE, COLOUR, BIAS = 8.8, 0.2, -10.2


@dataclass(frozen=True, slots=True)
class ShotSpan:
    """Sampled frames that follow one another without a cut between them.

    Attributes:
        id: From 0, in the order of time.
        first: Index of its first sampled frame.
        last: Of its last one.
        start: Presentation time of the first, in seconds.
        end: Of the last.
    """

    id: int
    first: int
    last: int
    start: float
    end: float

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last or self.end < self.start:
            raise ValueError(f"a shot ends where it begins or later: {self}")

    def to_json(self) -> dict[str, int | float]:
        """Return the shot as the record has it."""
        return {
            "id": self.id,
            "first": self.first,
            "last": self.last,
            "start": round(self.start, 6),
            "end": round(self.end, 6),
        }


def thumbnail(image: Image) -> Image:
    """Return the small copy of a frame that shots are found by, YCrCb, shape (SIDE, SIDE, 3), uint8.

    Args:
        image: RGB, shape (h, w, 3), uint8.
    """
    # Averaging every pixel of a large frame would cost more than all the rest: four by four a pixel do.
    some = cv2.resize(image, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(some, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cast(Image, cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb))


def find_shots(sampled: Sequence[tuple[int, float]], thumbnails: Sequence[Image]) -> list[ShotSpan]:
    """Return the shots of a video, in the order of time, none without frames.

    Frames of a sample may lie seconds apart. What has moved or changed its light a little is no cut; a camera
    that has turned away altogether is one.

    Args:
        sampled: Index and presentation time of each frame that was looked at.
        thumbnails: The small copy of each.
    """
    frames = sorted(zip(sampled, thumbnails, strict=True), key=lambda frame: frame[0])
    if not frames:
        return []
    starts = [0, *_cuts(np.stack([small for _, small in frames]))]
    ends = [*starts[1:], len(frames)]
    return [
        ShotSpan(number, *(frames[k][0][0] for k in (a, b - 1)), *(frames[k][0][1] for k in (a, b - 1)))
        for number, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]


def _cuts(smalls: NDArray[np.uint8]) -> list[int]:
    """Return which frames a shot begins with, but the first, from the small copies of all (n, SIDE, SIDE, 3).

    What lies in its place in both frames of a pair speaks against a cut already, and most pairs are so alike
    that none is left: only for the others is it searched how far they have moved.
    """
    colours = _colour_distances(smalls)
    inner = smalls[:, _INNER, _INNER, 0].astype(np.float32).reshape(len(smalls), -1)
    inner -= inner.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(inner, axis=1)
    unmoved = (inner[:-1] * inner[1:]).sum(axis=1) / np.maximum(lengths[:-1] * lengths[1:], 1e-6)
    most = STRUCTURE * (1 - unmoved) + COLOUR * colours + BIAS
    return [k + 1 for k in np.flatnonzero(most > -1e-3).tolist() if cut_odds(smalls[k], smalls[k + 1]) > 0]


def shot_of(shots: Sequence[ShotSpan], index: int) -> int:
    """Return the shot that a sampled frame is in."""
    return next(shot.id for shot in shots if shot.first <= index <= shot.last)


def cut_odds(before: Image, after: Image) -> float:
    """Return the log-odds that there is a cut between two sampled frames, from their small copies."""
    structure, colour = differences(before, after)
    return STRUCTURE * structure + COLOUR * colour + BIAS


def differences(before: Image, after: Image) -> tuple[float, float]:
    """Return how two frames differ.

    Args:
        before: The small copy of one.
        after: Of the other.

    Returns:
        One less the correlation of their brightness where they are laid over each other best, in [0, 2]; and
        how far their levels of brightness and colour lie apart, place not regarded (the earth mover's
        distance of each channel's histogram, summed), in levels.
    """
    luma = [small[..., 0].astype(np.float32) for small in (before, after)]
    both = [
        cv2.matchTemplate(whole, part[_INNER, _INNER], cv2.TM_CCOEFF_NORMED).max()
        for whole, part in (luma, luma[::-1])
    ]
    # A frame of one colour correlates with nothing.
    structure = 1 - float(np.nan_to_num(max(both), posinf=0.0, neginf=0.0))
    return structure, float(_colour_distances(np.stack([before, after]))[0])


def _colour_distances(smalls: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far the colours of each small copy lie from those of the next, in levels, shape (n - 1,)."""
    count = len(smalls)
    start = 256 * np.arange(3 * count).reshape(count, 1, 1, 3)
    values = np.bincount((start + smalls).ravel(), minlength=3 * 256 * count)
    below = values.reshape(count, 3, 256).cumsum(axis=2)
    apart: NDArray[np.float64] = np.abs(np.diff(below, axis=0)).sum(axis=(1, 2)) / SIDE**2
    return apart
