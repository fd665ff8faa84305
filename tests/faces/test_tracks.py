"""Test linking: one person stays one, and two stay two, wherever they go."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import REFERENCE
from deepscan.faces.align import align
from deepscan.faces.face import Detection, Face, Quality
from deepscan.faces.shots import ShotSpan
from deepscan.faces.tracks import LIMIT, LOOKED_AT, PLACE, FaceTrack, appearance, link

#: Orthogonal appearances: four persons who differ clearly.
LOOKS = np.eye(8, dtype=np.float32)[:4]


def blend(a, b, distance):
    """Return an appearance at a distance (1 - cosine) from `a` towards `b`."""
    cosine = 1 - distance
    return (cosine * a + np.sqrt(1 - cosine**2) * b).astype(np.float32)


def face(index, x, look, *, y=100.0, side=80.0):
    box = np.array([x, y, x + side, y + side], np.float32)
    points = (REFERENCE.template / REFERENCE.side * side + box[:2]).astype(np.float32)
    return Face(index, index / 2, Detection(box, points, 0.99), Quality(side, 100, 0), look)


def who(tracks):
    """Return for each track the frames of its faces and which appearance each has."""
    return [[(seen.index, int(seen.appearance.argmax())) for seen in track.faces] for track in tracks]


def test_one_person_who_moves_is_one_track():
    faces = [face(k, 30.0 * k, LOOKS[0]) for k in range(10)]
    (track,) = link(faces)
    assert track.id == 0 and track.faces == tuple(faces)


def test_appearance_may_drift_further_in_place_than_elsewhere():
    drifted = blend(LOOKS[0], LOOKS[1], LIMIT - PLACE / 2)
    assert len(link([face(0, 0, LOOKS[0]), face(1, 0, drifted)])) == 1
    assert len(link([face(0, 0, LOOKS[0]), face(1, 500, drifted)])) == 2


def test_two_persons_side_by_side_stay_two_even_if_they_look_alike():
    twin = blend(LOOKS[0], LOOKS[1], 0.01)
    tracks = link([face(k, x, look) for k in range(8) for x, look in ((0, LOOKS[0]), (300, twin))])
    assert [[seen.detection.box[0] for seen in track.faces] for track in tracks] == [[0] * 8, [300] * 8]


def test_crossing_persons_are_not_swapped():
    """They change places between two samples, so that position alone would swap them."""
    path = (0, 100, 200, 300, 400)
    faces = [
        face(k, x, look)
        for k, (a, b) in enumerate(zip(path, path[::-1], strict=True))
        for x, look in ((a, LOOKS[0]), (b, LOOKS[1]))
    ]
    assert who(link(faces)) in (
        [[(k, 0) for k in range(5)], [(k, 1) for k in range(5)]],
        [[(k, 1) for k in range(5)], [(k, 0) for k in range(5)]],
    )


def test_shot_and_reverse_shot_in_one_place_are_two_persons():
    shots = [0, 0, 1, 1, 0, 0, 1, 0]
    tracks = link([face(k, 100, LOOKS[person]) for k, person in enumerate(shots)])
    assert who(tracks) == [[(k, 0) for k in (0, 1, 4, 5, 7)], [(k, 1) for k in (2, 3, 6)]]


def test_a_person_who_was_away_returns_elsewhere_in_another_size():
    tracks = link([face(0, 0, LOOKS[0]), face(1, 0, LOOKS[1]), face(9, 700, LOOKS[0], side=300)])
    assert who(tracks) == [[(0, 0), (9, 0)], [(1, 1)]]


def test_tracks_that_turn_out_similar_are_joined():
    """The third appearance is between the first two, which are too far apart to be linked directly."""
    near = LIMIT - PLACE - 0.005
    far = blend(LOOKS[0], LOOKS[1], 2.5 * near)
    between = blend(LOOKS[0], LOOKS[1], 0.6 * near)
    other = [face(k, 900, LOOKS[2]) for k in range(3)]
    assert 1 - float(far @ between) < near < 1 - float(far @ LOOKS[0])
    tracks = link([*other, face(0, 0, LOOKS[0]), face(1, 400, far), face(2, 0, between)])
    assert sorted(len(track.faces) for track in tracks) == [3, 3]


def test_joining_keeps_one_face_per_frame():
    """Two persons seen together are not joined through a third track that resembles both."""
    near = LIMIT - PLACE - 0.01
    middle = blend(LOOKS[0], LOOKS[1], near / 2)
    side = blend(LOOKS[0], LOOKS[1], near)
    tracks = link([face(0, 0, LOOKS[0]), face(0, 600, side), face(1, 300, middle)])
    assert sorted(len(track.faces) for track in tracks) == [1, 2]


def test_ids_are_ordered_by_number_of_faces_then_by_size():
    faces = [face(k, 0, LOOKS[0], side=50) for k in range(2)]
    faces += [face(k, 300, LOOKS[1], side=90) for k in range(2)]
    faces += [face(k, 600, LOOKS[2], side=20) for k in range(3)]
    tracks = link(faces)
    assert [track.id for track in tracks] == [0, 1, 2]
    assert [int(track.faces[0].appearance.argmax()) for track in tracks] == [2, 1, 0]


def test_the_order_of_the_faces_does_not_matter():
    faces = [face(k, 200 * j, LOOKS[j]) for k in range(3) for j in range(2)]
    expected = who(link(faces))
    for shuffled in itertools.islice(itertools.permutations(faces), 0, 720, 37):
        assert who(link(shuffled)) == expected


def test_every_face_is_in_one_track_and_none_twice_in_a_frame():
    rng = np.random.default_rng(3)
    looks = rng.normal(size=(200, 4)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    faces = [face(k // 8, float(rng.integers(0, 900)), look) for k, look in enumerate(looks)]
    tracks = link(faces)
    assert sorted(map(id, (seen for track in tracks for seen in track.faces))) == sorted(map(id, faces))


def test_no_faces():
    assert link([]) == []


def test_a_track_refuses_two_faces_in_one_frame():
    with pytest.raises(ValueError, match="must increase"):
        FaceTrack(0, (face(1, 0, LOOKS[0]), face(1, 50, LOOKS[0])))
    with pytest.raises(ValueError, match="must increase"):
        FaceTrack(0, ())


# With the appearance of real faces: a portrait with small changes of position, size, light and angle.


def shown(portrait, index, x, rng, side=140):
    """Return the portrait's face in a variation for frame `index`, at x pixels of a 900-pixel frame."""
    image, found = portrait
    factor = side / found.width * rng.uniform(0.9, 1.1)
    turn = cv2.getRotationMatrix2D((0, 0), rng.uniform(-8, 8), factor)
    centre = (found.box[:2] + found.box[2:]) / 2
    turn[:, 2] = (x, 200) - turn[:, :2] @ centre
    frame = cv2.warpAffine(image, turn, (900, 400), borderMode=cv2.BORDER_REPLICATE)
    frame = np.clip(frame * rng.uniform(0.85, 1.15) + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8)
    points = (found.landmarks @ turn[:, :2].T + turn[:, 2] + rng.normal(0, 1.0, (5, 2))).astype(np.float32)
    look = appearance(align(frame, points, REFERENCE))
    return replace(face(index, x - side / 2, look, y=200 - side / 2, side=side))


@pytest.fixture
def actors(portraits):
    rng = np.random.default_rng(5)
    return {
        name: lambda index, x, portrait=portrait, **how: shown(portrait, index, x, rng, **how)
        for name, portrait in portraits.items()
    }


def names(tracks, faces_by_name):
    lookup = {id(face): name for name, faces in faces_by_name.items() for face in faces}
    return [{lookup[id(face)] for face in track.faces} for track in tracks]


def test_an_appearance_is_a_unit_vector_that_hardly_changes_with_the_light(portraits):
    image, found = portraits["hopper"]
    crop = align(image, found.landmarks, REFERENCE)
    look, darker = appearance(crop), appearance((crop * 0.8).astype(np.uint8))
    assert look.shape == (416,) and look.dtype == np.float32
    assert np.linalg.norm(look) == pytest.approx(1, abs=1e-5)
    assert 1 - look @ darker < LIMIT / 4


def test_a_flat_crop_has_an_appearance():
    assert np.isfinite(appearance(np.full((128, 128, 3), 128, np.uint8))).all()


def test_a_person_is_nearer_to_themself_than_to_another(actors):
    looks = {name: np.stack([act(k, 450).appearance for k in range(12)]) for name, act in actors.items()}
    own = max(float((1 - faces @ faces.T).max()) for faces in looks.values())
    other = float((1 - looks["astronaut"] @ looks["hopper"].T).min())
    assert own < LIMIT < other


def test_portraits_across_a_cut_and_a_crossing(actors):
    left, right = range(100, 801, 100), range(800, 99, -100)
    faces_by_name = {
        "astronaut": [actors["astronaut"](k, x) for k, x in enumerate(left)],
        "hopper": [actors["hopper"](k, x) for k, x in enumerate(right)],
    }
    # After the cut each is alone, in the centre of the picture, closer to the camera.
    faces_by_name["hopper"] += [actors["hopper"](k, 450, side=220) for k in range(8, 12)]
    faces_by_name["astronaut"] += [actors["astronaut"](k, 450, side=220) for k in range(12, 15)]
    tracks = link([face for faces in faces_by_name.values() for face in faces])
    assert names(tracks, faces_by_name) == [{"hopper"}, {"astronaut"}]
    assert [len(track.faces) for track in tracks] == [12, 11]


class StubLooks:
    """Identifies a person by the level of the crop, and counts the crops."""

    alike = 0.5

    def __init__(self):
        self.seen = 0

    def vectors(self, crops):
        self.seen += len(crops)
        return np.eye(8, dtype=np.float32)[[crop[0, 0, 0] for crop in crops]]


def cut_face(index, x, look, person):
    return replace(face(index, x, look), look=np.full((115, 115, 3), person, np.uint8))


#: Two shots of four frames.
SHOTS = (ShotSpan(0, 0, 3, 0.0, 1.5), ShotSpan(1, 4, 7, 2.0, 3.5))


def test_a_person_is_recognised_after_a_cut_despite_a_changed_appearance():
    faces = [cut_face(k, 0, LOOKS[k // 4], person=1) for k in range(8)]
    (track,) = link(faces, SHOTS, StubLooks())
    assert len(track.faces) == 8
    assert len(link(faces)) == 2


def test_another_person_in_the_same_place_after_a_cut_stays_another_despite_a_similar_appearance():
    twin = blend(LOOKS[0], LOOKS[1], 0.01)
    faces = [cut_face(k, 0, LOOKS[0] if k < 4 else twin, person=k // 4) for k in range(8)]
    assert [len(track.faces) for track in link(faces, SHOTS, StubLooks())] == [4, 4]
    assert len(link(faces)) == 1


def test_two_persons_seen_together_are_never_joined_by_their_looks():
    faces = [cut_face(k, x, LOOKS[at], person=1) for k in range(4) for at, x in ((0, 0), (1, 300))]
    # One of them is seen after the cut: it joins one of the two, and the other stays alone.
    faces += [cut_face(k, 0, LOOKS[2], person=1) for k in range(4, 8)]
    assert sorted(len(track.faces) for track in link(faces, SHOTS, StubLooks())) == [4, 8]


def test_a_person_lost_within_a_shot_is_recognised_by_the_looks():
    faces = [cut_face(k, 0, LOOKS[0 if k < 4 else 1], person=2) for k in range(8)]
    (whole,) = (ShotSpan(0, 0, 7, 0.0, 3.5),)
    assert len(link(faces, [whole], StubLooks())) == 1


def test_of_each_track_three_faces_are_looked_at_whatever_its_length_and_once():
    looks = StubLooks()
    faces = [cut_face(k, 0, LOOKS[k // 4], person=1 + (k // 4) % 2) for k in range(16)]
    shots = [ShotSpan(k, 4 * k, 4 * k + 3, 2.0 * k, 2.0 * k + 1.5) for k in range(4)]
    assert [len(track.faces) for track in link(faces, shots, looks)] == [8, 8]
    assert looks.seen == 4 * LOOKED_AT == 12


def test_no_look_is_taken_where_nobody_can_be_somebody_else():
    looks = StubLooks()
    alone = [cut_face(k, 0, LOOKS[0], person=1) for k in range(8)]
    assert len(link(alone, SHOTS[:1], looks)) == 1
    at_once = [cut_face(k, x, LOOKS[at], person=1) for k in range(8) for at, x in ((0, 0), (1, 300))]
    assert len(link(at_once, [ShotSpan(0, 0, 7, 0.0, 3.5)], looks)) == 2
    assert looks.seen == 0


def test_the_face_that_is_turned_away_least_is_looked_at():
    turned = [0.6, 0.1, 0.5, 0.7, 0.2, 0.6, 0.0, 0.9, 0.8]
    faces = [
        replace(cut_face(k, 0, LOOKS[0], person=k % 8), quality=Quality(80.0, 100.0, yaw))
        for k, yaw in enumerate(turned)
    ]
    other = [cut_face(9, 0, LOOKS[1], person=7)]
    seen = []

    class Noting(StubLooks):
        def vectors(self, crops):
            seen.extend(int(crop[0, 0, 0]) for crop in crops)
            return super().vectors(crops)

    link([*faces, *other], [ShotSpan(0, 0, 8, 0.0, 4.0), ShotSpan(1, 9, 9, 5.0, 5.0)], Noting())
    assert sorted(seen) == [1, 4, 6, 7]


def test_faces_without_a_crop_are_never_joined_by_their_looks():
    faces = [face(k, 0, LOOKS[k // 4]) for k in range(8)]
    assert [len(track.faces) for track in link(faces, SHOTS, StubLooks())] == [4, 4]
