"""Test the contract of all face finders: the faces of a picture, largest first, and what found them."""

import numpy as np
import pytest

from deepscan.errors import UsageError
from deepscan.faces.finder import FINDERS, describe_finder, open_finder


@pytest.fixture(scope="module", params=FINDERS.names)
def finder(request):
    return open_finder(request.param)


def test_it_finds_the_faces_of_pictures_of_any_size(finder, astronaut, hopper):
    empty, thin = np.full((64, 80, 3), 90, np.uint8), np.zeros((400, 8, 3), np.uint8)
    found = finder.detect([astronaut, empty, hopper, thin])
    assert [len(faces) for faces in found] == [1, 0, 1, 0]
    for image, (face,) in ((astronaut, found[0]), (hopper, found[2])):
        left, top, right, bottom = face.box
        assert 0.1 * image.shape[0] < bottom - top < image.shape[0]
        inside = (face.landmarks > (left, top)) & (face.landmarks < (right, bottom))
        assert inside.all()
        eyes, mouth = face.landmarks[:2, 1].mean(), face.landmarks[3:, 1].mean()
        assert eyes < face.landmarks[2, 1] < mouth


def test_the_largest_face_comes_first(finder, astronaut, hopper):
    side = np.full((400, 700, 3), 90, np.uint8)
    small = astronaut[::3, ::3]
    side[: small.shape[0], : small.shape[1]] = small
    large = hopper[:400, :400]
    side[: large.shape[0], 300 : 300 + large.shape[1]] = large
    (faces,) = finder.detect([side])
    sizes = [face.width * face.height for face in faces]
    assert len(sizes) == 2 and sizes == sorted(sizes, reverse=True)


def test_a_followed_face_is_the_one_that_was_found(finder, hopper):
    (known,) = finder.detect([hopper])
    (again,) = finder.redetect_near([hopper], [known])
    if again is not None:
        # Followed faces go through the same networks at the same place.
        np.testing.assert_allclose(again[0].landmarks, known[0].landmarks, atol=1.0)
    assert finder.every == 1 or again is not None


@pytest.mark.parametrize("mode", FINDERS.names)
def test_a_finder_describes_its_networks(mode):
    description = describe_finder(mode)
    assert set(description) == {"name", "method", "license", "files", "crop"}
    assert description["files"] and all(len(value) == 64 for value in description["files"].values())


def test_an_unknown_finder_is_refused_with_the_choices():
    with pytest.raises(UsageError, match="'best'") as raised:
        open_finder("best")
    assert all(name in raised.value.hint for name in FINDERS.names)
