"""Looks: what is known again of a face, whatever the light and the side it is seen from."""

import cv2
import numpy as np
import pytest
from skimage import data

from deepscan.crop_recipe import REFERENCE
from deepscan.faces.align import align
from deepscan.faces.looks import Looks
from deepscan.faces.still import SIDE, grey_crop


@pytest.fixture(scope="module")
def looks():
    return Looks()


@pytest.fixture(scope="module")
def faces():
    """Faces of two persons, aligned: an astronaut's, and 40 small grey ones of others."""
    eyes = np.array([[200, 110], [248, 110], [226, 138], [205, 160], [244, 160]], np.float32)
    astronaut = align(data.astronaut(), eyes, REFERENCE)
    others = [cv2.resize(np.uint8(255 * face), (SIDE, SIDE)) for face in data.lfw_subset()[:40]]
    return grey_crop(astronaut), others


def test_a_look_is_a_unit_vector_and_does_not_depend_on_the_others(looks, faces):
    one, others = faces
    together = looks.vectors([one, *others])
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert looks.vectors([others[3]])[0] == pytest.approx(together[4], abs=1e-5)


def test_a_face_is_known_again_in_other_light_less_sharp_and_from_the_other_side(looks, faces):
    one, others = faces
    dark = np.uint8(255 * (one / 255) ** 1.5)
    soft = cv2.GaussianBlur(one, (0, 0), 1.0)
    same = looks.vectors([one, dark, soft])
    assert (same @ same[0] > looks.alike).all()
    assert (looks.vectors(others) @ same[0] < looks.alike).all()
    # Mirrored within the part that is looked at.
    mirrored = one.copy()
    mirrored[:, 8:56] = one[:, 8:56][:, ::-1]
    assert looks.vectors([mirrored])[0] == pytest.approx(same[0], abs=1e-5)


def test_what_a_run_says_of_it_names_the_file():
    said = Looks.describe()
    assert said["name"] == "looks" and len(said["files"]["directions"]) == 64
