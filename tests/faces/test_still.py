"""Test still faces: a photo under a moving camera is still, a head with a moving mouth is not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import REFERENCE
from deepscan.faces import still
from deepscan.faces.align import align
from deepscan.faces.face import Face
from deepscan.faces.quality import assess
from deepscan.faces.still import grey_crop, is_still
from deepscan.faces.tracks import appearance
from tests.faces.alive import speaking


def photographed(picture, number):
    """Return the picture as filmed by a hand-held camera, with noise and different light."""
    rng = np.random.default_rng(number)
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-4, 4), rng.uniform(0.8, 1.1))
    matrix[:, 2] += rng.uniform(-15, 15, 2)
    moved = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    lit = moved * rng.uniform(0.85, 1.1) + rng.normal(0, 4, moved.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)


def track(pictures, finder, every=0.5):
    faces = []
    for index, picture in enumerate(pictures):
        detection = finder.detect([picture])[0][0]
        crop = align(picture, detection.landmarks, REFERENCE)
        quality, look = assess(crop, detection), appearance(crop)
        faces.append(Face(index, index * every, detection, quality, look, grey=grey_crop(crop)))
    return faces


@pytest.fixture(scope="module")
def photograph(hopper, fast):
    return track([photographed(hopper, number) for number in range(8)], fast)


@pytest.fixture(scope="module")
def speaker(portraits, fast):
    picture, face = portraits["hopper"]
    spoken = [speaking(picture, face.landmarks, number) for number in range(8)]
    return track([photographed(frame, number) for number, frame in enumerate(spoken)], fast)


def test_a_photo_filmed_by_a_moving_camera_is_still(photograph):
    assert is_still(photograph)


def test_a_speaking_face_made_from_one_photo_is_not_still(speaker):
    assert not is_still(speaker)


def test_a_hand_that_passes_in_one_frame_does_not_make_a_photo_alive(photograph):
    covered = photograph[2].grey.copy()
    covered[20:40, 10:50] = 200
    passed = list(photograph)
    passed[2] = replace(photograph[2], grey=covered)
    assert is_still(passed)


@pytest.mark.parametrize("some", [slice(0, 5), slice(0, 1)])
def test_a_few_faces_are_not_enough(photograph, some):
    assert not is_still(photograph[some])


def test_a_moment_is_not_enough(hopper, fast):
    assert not is_still(track([photographed(hopper, number) for number in range(8)], fast, every=0.2))


def test_faces_without_a_grey_crop_are_not_enough(photograph):
    bare = [replace(face, grey=None) for face in photograph]
    assert not is_still(bare)


def test_faces_that_cannot_be_registered_have_changed():
    flat = np.full((still.SIDE, still.SIDE), 100, np.float32)
    noise = np.random.default_rng(0).uniform(0, 255, flat.shape).astype(np.float32)
    assert still.change(noise, flat) >= still.MOVED
    assert still.change(noise, noise) < 0.01
