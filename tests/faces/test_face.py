"""Test that detections and faces check themselves when they are created."""

import numpy as np
import pytest

from deepscan.faces.face import Detection, Face, Quality

BOX = np.array([1.04, 2, 31, 52], np.float32)
POINTS = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_sides():
    found = Detection(BOX, POINTS, 0.5)
    assert found.width == pytest.approx(29.96) and found.height == 50


@pytest.mark.parametrize(
    ("box", "points", "probability"),
    [(BOX[:3], POINTS, 0.5), (BOX, POINTS.T, 0.5), (BOX, POINTS, 1.01), (BOX, POINTS, float("nan"))],
)
def test_a_detection_of_another_shape_is_refused(box, points, probability):
    with pytest.raises(ValueError):
        Detection(box, points, probability)


def test_record_is_rounded_json():
    face = Face(
        3, 0.1234567, Detection(BOX, POINTS, 0.98765), Quality(29.96, 7.77, 0.12345), np.ones(4, np.float32)
    )
    assert face.to_json() == {
        "index": 3,
        "pts": 0.123457,
        "box": [1.0, 2.0, 31.0, 52.0],
        "landmarks": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]],
        "probability": 0.9877,
        "face_score": 1.0,
        "quality": {"size": 30.0, "sharpness": 7.8, "pose": 0.123},
    }


def test_an_appearance_is_a_vector():
    with pytest.raises(ValueError, match="vector"):
        Face(0, 0.0, Detection(BOX, POINTS, 0.5), Quality(1, 1, 0), np.ones((2, 2), np.float32))
