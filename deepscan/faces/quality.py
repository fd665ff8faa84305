"""Quality: how well a face can be judged, and the recorded rule by which poor faces are left out."""

from dataclasses import dataclass, fields

import cv2
import numpy as np

from deepscan.faces.face import Detection, Face, Quality
from deepscan.media.frames import Image

#: Side to which every crop is brought before its sharpness is measured.
COMMON_SIDE = 128


def assess(crop: Image, detection: Detection) -> Quality:
    """Return how well a face can be judged.

    Args:
        crop: The aligned face, RGB, square, uint8. Sharpness depends on how tight it is, so figures compare
            only between crops of one recipe: the rule's defaults are made for `recipe.REFERENCE`.
        detection: The face in the frame that the crop was cut from.
    """
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if luma.shape[0] != COMMON_SIDE:
        shrinks = luma.shape[0] > COMMON_SIDE
        luma = cv2.resize(
            luma, (COMMON_SIDE, COMMON_SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    sharpness = float(cv2.Laplacian(luma, cv2.CV_32F).var())
    return Quality(min(detection.width, detection.height), sharpness, yaw_proxy(detection))


def yaw_proxy(detection: Detection) -> float:
    """Return how far a face is turned aside: 0 seen from the front, 1 where the nose is as far out as an eye.

    The nose is measured along the line between the eyes, so that a tilted head does not count as turned.
    """
    left, right, nose = detection.landmarks[:3].astype(np.float64)
    between = right - left
    square = float(between @ between)
    if square == 0:
        return 1.0
    return min(1.0, abs(float((nose - (left + right) / 2) @ between)) / square * 2)


@dataclass(frozen=True, slots=True)
class QualityRule:
    """Which faces count towards a track's score.

    The defaults come from 2,372 faces that `fast` found in 72 clips: what it took for a face and was none had
    a probability below 0.9 almost always, faces that a person can see had a sharpness above 11.

    Attributes:
        min_size: Least shorter side of the box in pixels of the frame.
        min_sharpness: Least variance of the Laplacian (see `Quality`).
        max_pose: Largest turn aside, in [0, 1]; 1 admits every pose.
        min_probability: Least confidence of the finder, in [0, 1].
    """

    min_size: float = 40
    min_sharpness: float = 10
    max_pose: float = 0.9
    min_probability: float = 0.9

    def __post_init__(self) -> None:
        if self.min_size < 0 or self.min_sharpness < 0:
            raise ValueError(f"least size and sharpness must not be negative: {self}")
        if not (0 <= self.max_pose <= 1 and 0 <= self.min_probability <= 1):
            raise ValueError(f"largest pose and least probability must be in [0, 1]: {self}")

    def admits(self, face: Face) -> bool:
        """Return whether a face is good enough."""
        return self.passes(face.quality, face.detection.probability)

    def passes(self, quality: Quality, probability: float) -> bool:
        """Return whether a face of that quality, found with that confidence, is good enough.

        The figures count as a record states them, so that whoever has the record comes to the same.
        """
        stated = Quality.from_json(quality.to_json())
        return (
            stated.size >= self.min_size
            and stated.sharpness >= self.min_sharpness
            and stated.yaw_proxy <= self.max_pose
            and round(probability, 4) >= self.min_probability
        )

    def to_json(self) -> dict[str, float]:
        """Return the rule as the run's record states it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
