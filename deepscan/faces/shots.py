"""Split the sampled frames of a video into shots, by changes in their structure and colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.media.frames import Image

#: Side in pixels of the thumbnails that are compared, and by how many pixels content may have moved.
SIDE, REACH = 32, 6
#: The part of one thumbnail that is searched for in the other.
_INNER = slice(REACH, SIDE - REACH)
# Fitted by `scripts/fit_cuts.py` as log-odds of a cut, to pairs of whole pictures from one clip (829) and
# from two (828): 97.6% of all pairs are classified correctly. Half of those pairs were cuts, but in a video
# at most one in ten is. The bias is therefore the fitted -8.0 minus the logarithm of 9.
#: Weights of the structural difference, in [0, 2], and of the colour difference, in levels; and the bias.
STRUCTURE, COLOUR, BIAS = 8.8, 0.2, -10.2


@dataclass(frozen=True, slots=True)
class ShotSpan:
    """Consecutive sampled frames without a cut between them.

    Attributes:
        id: Number in order of time, from 0.
        first: Index of its first sampled frame.
        last: Index of its last sampled frame.
        start: Presentation time of its first frame, in seconds.
        end: Presentation time of its last frame, in seconds.
    """

    id: int
    first: int
    last: int
    start: float
    end: float

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last or self.end < self.start:
            raise ValueError(f"a shot must not end before it begins: {self}")

    def to_json(self) -> dict[str, int | float]:
        """Return the shot in the format of the record."""
        return {
            "id": self.id,
            "first": self.first,
            "last": self.last,
            "start": round(self.start, 6),
            "end": round(self.end, 6),
        }


def thumbnail(image: Image) -> Image:
    """Return a frame's thumbnail for finding shots, YCrCb, shape (SIDE, SIDE, 3), uint8.

    Args:
        image: RGB, shape (h, w, 3), uint8.
    """
    # Averaging every pixel of a large frame would cost more than everything else; 4 x 4 samples per pixel
    # suffice.
    samples = cv2.resize(image, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(samples, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cast(Image, cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb))


def find_shots(sampled: Sequence[tuple[int, float]], thumbnails: Sequence[Image]) -> list[ShotSpan]:
    """Return the shots of a video in order of time, empty without frames.

    Sampled frames may be seconds apart. Movement and small changes of light are not cuts; a camera that has
    turned to something else entirely counts as one.

    Args:
        sampled: Index and presentation time of each sampled frame.
        thumbnails: Thumbnail of each frame.
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
    """Return the positions of frames that begin a new shot, from all thumbnails (n, SIDE, SIDE, 3).

    Content that stays in place in both frames of a pair already rules out a cut, and most pairs are so
    similar that no candidate is left. Only for the others is the movement searched.
    """
    colours = _colour_distances(smalls)
    inner = smalls[:, _INNER, _INNER, 0].astype(np.float32).reshape(len(smalls), -1)
    inner -= inner.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(inner, axis=1)
    unmoved = (inner[:-1] * inner[1:]).sum(axis=1) / np.maximum(lengths[:-1] * lengths[1:], 1e-6)
    upper_bound = STRUCTURE * (1 - unmoved) + COLOUR * colours + BIAS
    candidates = np.flatnonzero(upper_bound > -1e-3).tolist()
    return [k + 1 for k in candidates if cut_odds(smalls[k], smalls[k + 1]) > 0]


def shot_of(shots: Sequence[ShotSpan], index: int) -> int:
    """Return the id of the shot that contains a sampled frame."""
    return next(shot.id for shot in shots if shot.first <= index <= shot.last)


def cut_odds(before: Image, after: Image) -> float:
    """Return the log-odds that there is a cut between two sampled frames, from their thumbnails."""
    structure, colour = differences(before, after)
    return STRUCTURE * structure + COLOUR * colour + BIAS


def differences(before: Image, after: Image) -> tuple[float, float]:
    """Return the structural and the colour difference of two frames.

    Args:
        before: Thumbnail of the first frame.
        after: Thumbnail of the second frame.

    Returns:
        One minus the correlation of their brightness at the best displacement, in [0, 2]; and the distance of
        their brightness and colour levels regardless of position (earth mover's distances of the channels'
        histograms, summed), in levels.
    """
    luma = [small[..., 0].astype(np.float32) for small in (before, after)]
    matches = [
        cv2.matchTemplate(whole, part[_INNER, _INNER], cv2.TM_CCOEFF_NORMED).max()
        for whole, part in (luma, luma[::-1])
    ]
    # A frame of a single colour correlates with nothing.
    structure = 1 - float(np.nan_to_num(max(matches), posinf=0.0, neginf=0.0))
    return structure, float(_colour_distances(np.stack([before, after]))[0])


def _colour_distances(smalls: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the colour distance of each thumbnail to the next, in levels, shape (n - 1,)."""
    count = len(smalls)
    start = 256 * np.arange(3 * count).reshape(count, 1, 1, 3)
    values = np.bincount((start + smalls).ravel(), minlength=3 * 256 * count)
    below = values.reshape(count, 3, 256).cumsum(axis=2)
    distances: NDArray[np.float64] = np.abs(np.diff(below, axis=0)).sum(axis=(1, 2)) / SIDE**2
    return distances
