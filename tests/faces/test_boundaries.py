"""Test the limits that decide whether a face is a photo, whose face it is and where a shot ends."""

from dataclasses import replace

import numpy as np
import pytest

from deepscan.faces import shots, still
from deepscan.faces.still import is_still
from deepscan.faces.tracks import link
from tests.faces.test_tracks import LOOKS, SHOTS, StubLooks, blend, cut_face, face


def faces(count, seconds):
    """Return faces of one person, evenly spread over a time."""
    grey = np.zeros((still.SIDE, still.SIDE), np.uint8)
    times = np.linspace(0, seconds, count)
    return [replace(face(k, 0, LOOKS[0]), pts=float(pts), grey=grey) for k, pts in enumerate(times)]


@pytest.fixture
def changes(monkeypatch):
    """Return a function that sets by how much the compared faces differ from the one in the middle."""

    def put(*values):
        left = iter(values)
        monkeypatch.setattr(still, "change", lambda base, other: next(left))

    return put


@pytest.mark.parametrize(
    ("count", "seconds", "expected"), [(6, 2.0, True), (5, 2.0, False), (6, 1.99, False), (40, 9.0, True)]
)
def test_six_faces_in_two_seconds_are_enough_to_call_a_face_still(changes, count, seconds, expected):
    changes(*[0.0] * 39)
    assert is_still(faces(count, seconds)) is expected


@pytest.mark.parametrize(("moved", "expected"), [(0.1199, True), (0.12, False)])
def test_a_face_has_moved_from_a_change_of_0_12(changes, moved, expected):
    changes(*[moved] * 7)
    assert is_still(faces(8, 3.0)) is expected


@pytest.mark.parametrize(("moving", "expected"), [(0, True), (1, True), (2, False)])
def test_one_of_the_seven_compared_faces_may_differ(changes, moving, expected):
    changes(*[0.0] * (7 - moving), *[1.0] * moving)
    assert is_still(faces(30, 3.0)) is expected


@pytest.mark.parametrize(
    ("structure", "colour", "cut"),
    [
        (1.0, 6.9, False),
        (1.0, 7.1, True),
        (0.0, 50.9, False),
        (0.0, 51.1, True),
        (1.15, 0, False),
        (1.17, 0, True),
    ],
)
def test_structure_and_colour_decide_together_whether_a_shot_ends(monkeypatch, structure, colour, cut):
    monkeypatch.setattr(shots, "differences", lambda before, after: (structure, colour))
    assert (shots.cut_odds(None, None) > 0) is cut


@pytest.mark.parametrize(
    ("x", "distance", "persons"), [(0, 0.115, 1), (0, 0.125, 2), (500, 0.07, 1), (500, 0.08, 2)]
)
def test_a_face_may_look_less_alike_in_its_place_than_elsewhere(x, distance, persons):
    other = blend(LOOKS[0], LOOKS[1], distance)
    assert len(link([face(0, 0, LOOKS[0]), face(1, x, other)])) == persons


@pytest.mark.parametrize(("cosine", "persons"), [(0.51, 1), (0.49, 2)])
def test_looks_join_two_tracks_from_the_similarity_that_the_model_states(cosine, persons):
    class Looks(StubLooks):
        def vectors(self, greys):
            kinds = np.array([[1, 0], [cosine, np.sqrt(1 - cosine**2)]], np.float32)
            return kinds[[grey[0, 0] for grey in greys]]

    seen = [cut_face(k, 0, LOOKS[k // 4], person=k // 4) for k in range(8)]
    assert len(link(seen, SHOTS, Looks())) == persons


def test_links_that_may_not_be_made_do_not_keep_a_face_from_its_person():
    """Linking both faces to the other person costs less in all, but neither link is allowed."""
    cosines = np.array([[1, 0.4, 0.9, 0.7], [0.4, 1, 0.5, 0.1], [0.9, 0.5, 1, 0.5], [0.7, 0.1, 0.5, 1]])
    one, other, near, far = np.linalg.cholesky(cosines).astype(np.float32)
    tracks = link([face(0, 0, one), face(0, 1, other), face(1, 0, near), face(1, 1, far)])
    assert [len(track.faces) for track in tracks] == [2, 1, 1]
    assert tracks[0].faces[0].appearance is one
