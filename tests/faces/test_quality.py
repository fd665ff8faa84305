"""Test that quality measures change as a person would expect, and that the rule applies its limits."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import REFERENCE
from deepscan.faces.align import align
from deepscan.faces.face import Detection, Face, Quality
from deepscan.faces.quality import QualityRule, assess, yaw_proxy


def detection(landmarks=None, box=(10, 20, 70, 100), probability=0.99):
    points = REFERENCE.template if landmarks is None else np.array(landmarks, np.float32)
    return Detection(np.array(box, np.float32), points, probability)


def face(**quality):
    return Face(0, 0.0, detection(), replace(Quality(100, 200, 0.1), **quality), np.ones(1, np.float32))


def test_blur_lowers_sharpness(portraits):
    image, found = portraits["astronaut"]
    crop = align(image, found.landmarks, REFERENCE)
    measures = [assess(cv2.GaussianBlur(crop, (0, 0), sigma), found).sharpness for sigma in (0.01, 1, 2, 4)]
    assert measures == sorted(measures, reverse=True) and measures[-1] < measures[0] / 10


def test_sharpness_is_measured_at_the_common_side():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    twice = np.repeat(np.repeat(noise, 2, axis=0), 2, axis=1)
    assert assess(twice, detection()).sharpness == pytest.approx(assess(noise, detection()).sharpness)


def test_flat_crop_has_no_sharpness():
    assert assess(np.full((160, 160, 3), 77, np.uint8), detection()).sharpness == 0


def test_size_is_the_shorter_side():
    assert assess(np.zeros((128, 128, 3), np.uint8), detection()).size == 60


def with_nose(x, angle=0.0):
    points = np.array([[-20, 0], [20, 0], [x, 25], [-15, 50], [15, 50]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return detection(points @ turn.T + 100)


@pytest.mark.parametrize(("x", "expected"), [(0, 0), (10, 0.5), (-10, 0.5), (20, 1), (-35, 1)])
@pytest.mark.parametrize("angle", [0, 0.6])
def test_pose_is_the_nose_between_the_eyes_however_the_head_is_tilted(x, expected, angle):
    assert yaw_proxy(with_nose(x, angle)) == pytest.approx(expected, abs=1e-5)


def test_eyes_in_one_point_count_as_a_profile():
    assert yaw_proxy(detection([[5, 5]] * 5)) == 1


def test_the_rule_includes_its_limits():
    rule = QualityRule(min_size=50, min_sharpness=20, max_pose=0.5, min_probability=0.99)
    assert rule.admits(face(size=50, sharpness=20, yaw_proxy=0.5))
    assert not rule.admits(face(size=49.9))
    assert not rule.admits(face(sharpness=19.9))
    assert not rule.admits(face(yaw_proxy=0.51))
    assert not replace(rule, min_probability=0.995).admits(face())


def test_default_rule_admits_portraits(portraits):
    for image, found in portraits.values():
        quality = assess(align(image, found.landmarks, REFERENCE), found)
        assert QualityRule().admits(Face(0, 0.0, found, quality, np.ones(1, np.float32)))


def test_the_record_of_a_rule_has_every_limit():
    assert QualityRule(1, 2, 0.5, 0.25).to_json() == {
        "min_size": 1,
        "min_sharpness": 2,
        "max_pose": 0.5,
        "min_probability": 0.25,
    }


@pytest.mark.parametrize(
    "wrong", [{"min_size": -1}, {"min_sharpness": -1}, {"max_pose": 2}, {"min_probability": -0.1}]
)
def test_impossible_rules(wrong):
    with pytest.raises(ValueError, match="must"):
        QualityRule(**wrong)
