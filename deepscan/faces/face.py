"""Define a face found in a frame: where it is and how good it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deepscan.media.frames import Image

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A face found by the face finder, in pixels of the full-resolution frame.

    Attributes:
        box: Left, top, right, bottom, shape (4,), float32; may extend past the frame's edge.
        landmarks: Eye on the left of the picture, other eye, nose, mouth corner on the left, other mouth
            corner, each (x, y), shape (5, 2), float32.
        probability: The finder's confidence that this is a face, in [0, 1].
    """

    box: Floats
    landmarks: Floats
    probability: float

    def __post_init__(self) -> None:
        if self.box.shape != (4,) or self.landmarks.shape != (5, 2):
            raise ValueError(
                f"a detection is box (4,) and landmarks (5, 2), not {self.box.shape}, {self.landmarks.shape}"
            )
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be in [0, 1], not {self.probability}")

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return float(self.box[2] - self.box[0])

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return float(self.box[3] - self.box[1])


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of how well a face can be judged.

    Attributes:
        size: Shorter side of the box in pixels of the full-resolution frame.
        sharpness: Variance of the Laplacian of the crop's luma (0..255), resized to a common side.
        yaw_proxy: 0 for a frontal face, towards 1 for a profile: the distance of the nose from the point
            midway between the eyes, in units of half the eye distance, capped at 1.
    """

    size: float
    sharpness: float
    yaw_proxy: float

    @classmethod
    def from_json(cls, measures: Mapping[str, float]) -> Self:
        """Build the measures from the output of `to_json`."""
        return cls(measures["size"], measures["sharpness"], measures["pose"])

    def to_json(self) -> dict[str, float]:
        """Return the measures rounded for the record."""
        return {
            "size": round(self.size, 1),
            "sharpness": round(self.sharpness, 1),
            "pose": round(self.yaw_proxy, 3),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one frame. Its crop goes to the detector and is not kept.

    Attributes:
        index: Index of its frame.
        pts: Presentation time of its frame in seconds.
        detection: Box, landmarks and confidence in the frame's pixels.
        quality: Size, sharpness and yaw.
        appearance: Unit vector that describes the face's appearance, shape (d,), float32, used to group faces
            by person (see `tracks`).
        face_score: The face filter's probability that this is a face, 1 if the filter was not used.
        grey: Small grey crop used to detect still faces, None if that is not done.
        look: Crop that is used to recognise the person (see `looks`), None if that is not done.
    """

    index: int
    pts: float
    detection: Detection
    quality: Quality
    appearance: Floats
    face_score: float = 1.0
    grey: Image | None = None
    look: Image | None = None

    def __post_init__(self) -> None:
        if self.appearance.ndim != 1:
            raise ValueError(f"an appearance must be a vector, not of shape {self.appearance.shape}")

    def to_json(self) -> dict[str, Any]:
        """Return the face for the record, with positions rounded to a tenth of a pixel."""
        return {
            "index": self.index,
            "pts": round(self.pts, 6),
            "box": [round(float(value), 1) for value in self.detection.box],
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in self.detection.landmarks],
            "probability": round(self.detection.probability, 4),
            "face_score": round(self.face_score, 4),
            "quality": self.quality.to_json(),
        }
