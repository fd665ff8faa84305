"""Measure how well faces can be judged, and apply the rule that excludes poor ones."""

from dataclasses import dataclass, fields

import cv2
import numpy as np

from deepscan.faces.face import Detection, Face, Quality
from deepscan.media.frames import Image

#: Every crop is resized to this side before its sharpness is measured.
COMMON_SIDE = 128


def assess(crop: Image, detection: Detection) -> Quality:
    """Measure how well a face can be judged.

    Args:
        crop: The aligned face, RGB, square, uint8. Sharpness depends on how tight it is, so values are only
            comparable between crops of one recipe. The rule's defaults are for `crop_recipe.REFERENCE`.
        detection: The face in the frame from which the crop was cut.
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
    """Return how far a face is turned sideways: 0 if frontal, 1 if the nose is as far out as an eye.

    The nose's offset is measured along the line between the eyes, so that a tilted head does not count as
    turned.
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

    The defaults come from 2,372 faces that `fast` found in 72 clips. Almost all false detections had a
    probability below 0.9; faces that a person can make out had a sharpness above 11.

    Attributes:
        min_size: Minimum of the box's shorter side, in pixels of the frame.
        min_sharpness: Minimum variance of the Laplacian (see `Quality`).
        max_pose: Maximum of the yaw proxy, in [0, 1]; 1 admits every pose.
        min_probability: Minimum confidence of the finder, in [0, 1].
    """

    min_size: float = 40
    min_sharpness: float = 10
    max_pose: float = 0.9
    min_probability: float = 0.9

    def __post_init__(self) -> None:
        if self.min_size < 0 or self.min_sharpness < 0:
            raise ValueError(f"min_size and min_sharpness must not be negative: {self}")
        if not (0 <= self.max_pose <= 1 and 0 <= self.min_probability <= 1):
            raise ValueError(f"max_pose and min_probability must be in [0, 1]: {self}")

    def admits(self, face: Face) -> bool:
        """Return whether a face is good enough to count."""
        return self.passes(face.quality, face.detection.probability)

    def passes(self, quality: Quality, probability: float) -> bool:
        """Return whether a face of this quality and confidence is good enough to count.

        The values are rounded as in the record, so that anyone who has the record arrives at the same result.
        """
        recorded = Quality.from_json(quality.to_json())
        return (
            recorded.size >= self.min_size
            and recorded.sharpness >= self.min_sharpness
            and recorded.yaw_proxy <= self.max_pose
            and round(probability, 4) >= self.min_probability
        )

    def to_json(self) -> dict[str, float]:
        """Return the rule for the record of a run."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
