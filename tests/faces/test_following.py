"""Test following: which frames are searched, which faces are followed, and what is found."""

import cv2
import numpy as np
import pytest

from deepscan.faces.boxes import iou
from deepscan.faces.face import Detection
from deepscan.faces.following import SURE, FollowState, search_or_follow
from deepscan.media.frames import Frame


def face(at, probability=1.0):
    return Detection(np.float32([at, 0, at + 50, 50]), np.zeros((5, 2), np.float32), probability)


class Finder:
    """Stub that reads a frame's number from its first pixel, records calls, and loses some faces."""

    def __init__(self, every, lost=(), empty=()):
        self.every, self.lost, self.empty = every, lost, empty
        self.searched, self.followed = [], []

    def detect(self, images):
        numbers = [int(image[0, 0, 0]) for image in images]
        self.searched += numbers
        return [[] if number in self.empty else [face(number)] for number in numbers]

    def redetect_near(self, images, known):
        numbers = [int(image[0, 0, 0]) for image in images]
        self.followed += [
            (number, [int(face.box[0]) for face in faces])
            for number, faces in zip(numbers, known, strict=True)
        ]
        return [None if number in self.lost else [face(number)] for number in numbers]


def frames(*numbers, apart=0.1):
    return [Frame(number, number * apart, np.full((60, 60, 3), number, np.uint8)) for number in numbers]


def placed(found):
    return [[int(face.box[0]) for face in faces] for faces in found]


def test_some_frames_are_searched_and_the_others_follow_the_one_before():
    finder, state = Finder(every=3), FollowState()
    assert placed(search_or_follow(finder, frames(*range(8)), [state] * 8)) == [[at] for at in range(8)]
    assert sorted(finder.searched) == [0, 3, 6]
    assert sorted(finder.followed) == [(1, [0]), (2, [1]), (4, [3]), (5, [4]), (7, [6])]


def test_following_continues_across_batches_and_videos_do_not_mix():
    finder, first, second = Finder(every=3), FollowState(), FollowState()
    search_or_follow(finder, frames(0, 100, 1), [first, second, first])
    search_or_follow(finder, frames(101, 2, 102, 103), [second, first, second, second])
    assert sorted(finder.searched) == [0, 100, 103]
    assert sorted(finder.followed) == [(1, [0]), (2, [1]), (101, [100]), (102, [101])]


def test_a_search_is_due_after_two_seconds():
    finder, state = Finder(every=9), FollowState()
    search_or_follow(finder, frames(0, 1, 2, 3, apart=0.9), [state] * 4)
    assert sorted(finder.searched) == [0, 3]
    finder, state = Finder(every=9), FollowState()
    search_or_follow(finder, frames(0, 1, 2, apart=20), [state] * 3)
    assert sorted(finder.searched) == [0, 1, 2]


def test_a_frame_with_a_lost_face_is_searched_and_so_is_one_after_a_frame_without_faces():
    finder, state = Finder(every=9, lost={2}, empty={2, 3}), FollowState()
    assert placed(search_or_follow(finder, frames(*range(6)), [state] * 6)) == [[0], [1], [], [], [4], [5]]
    assert finder.searched == [0, 2, 3, 4]
    assert [number for number, _ in finder.followed] == [1, 2, 5]


def test_uncertain_faces_are_not_followed():
    finder, state = Finder(every=9), FollowState(0, 0.0, [face(0), face(30, SURE - 0.01)])
    search_or_follow(finder, frames(1), [state])
    assert finder.followed == [(1, [0])]
    finder, state = Finder(every=9), FollowState(0, 0.0, [face(30, SURE - 0.01)])
    search_or_follow(finder, frames(1), [state])
    assert (finder.searched, finder.followed) == ([1], [])


@pytest.fixture(scope="module")
def clip(astronaut, hopper):
    """Return frames of two persons who grow, tilt, and move by up to a tenth of a face per frame."""
    made = []
    for at in range(12):
        picture = np.full((480, 900, 3), 90, np.uint8)
        for person, left, top, size, turn in ((astronaut, 20, 10, 1.0, 3), (hopper, 480, 20, 0.62, -2)):
            scale = size * (1 + 0.02 * at)
            matrix = cv2.getRotationMatrix2D((220 * scale, 120 * scale), turn * np.sin(at / 2), scale)
            matrix[:, 2] += (left + 8.25 * np.sin(at), top + 5.25 * np.cos(at))
            part = cv2.warpAffine(person, matrix, (900, 480), flags=cv2.INTER_AREA)
            shown = cv2.warpAffine(np.ones(person.shape[:2], np.uint8), matrix, (900, 480))
            picture[shown > 0] = part[shown > 0]
        made.append(picture)
    return made


@pytest.mark.slow
def test_moving_faces_are_found_where_a_search_finds_them(fast, clip):
    assert fast.every > 1
    # There are some false detections; they are not followed.
    found = [_sure(faces) for faces in _through(fast, clip)]
    followed = fast.redetect_near(clip[1:], found[:-1])
    off = []
    for faces, searched in zip(followed, fast.detect(clip[1:]), strict=True):
        assert faces is not None
        for one, other in zip(_sure(faces), _sure(searched), strict=True):
            assert float(iou(one.box, other.box[None])[0]) > 0.8
            eyes = np.linalg.norm(other.landmarks[1] - other.landmarks[0])
            off.append(np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean() / eyes)
    # The windows and the pyramid are the same: results differ only where suppression chose another window.
    assert np.median(off) < 1e-3


def test_a_face_that_is_followed_for_a_long_time_does_not_drift(fast, clip):
    (truth, *_), known = fast.detect(clip[:1])[0], fast.detect(clip[:1])
    for _ in range(12):
        known = fast.redetect_near(clip[:1], known)
    eyes = np.linalg.norm(truth.landmarks[1] - truth.landmarks[0])
    # Suppression may choose another one of a face's boxes.
    np.testing.assert_allclose(known[0][0].landmarks, truth.landmarks, atol=eyes / 20)


def _sure(faces):
    return [face for face in faces if face.probability >= SURE]


def _through(finder, clip):
    state = FollowState()
    moving = [Frame(at, at / 10, image) for at, image in enumerate(clip)]
    return search_or_follow(finder, moving, [state] * len(clip))


def test_a_face_that_is_gone_or_covered_is_lost(fast, clip):
    known = fast.detect(clip[:1])[0]
    covered = clip[0].copy()
    left, top, right, bottom = known[1].box.astype(int)
    covered[max(0, top) : bottom, max(0, left) : right] = 128
    empty = np.full_like(clip[0], 90)
    assert fast.redetect_near([covered, empty, clip[0]], [known] * 3)[:2] == [None, None]
    assert len(fast.redetect_near([covered], [known[:1]])[0]) == 1, "the other one is still there"


def test_two_hints_for_the_same_face_are_not_two_faces(fast, clip):
    known = fast.detect(clip[:1])[0]
    assert fast.redetect_near([clip[0]], [[known[0], known[0]]]) == [None]


def test_exact_searches_every_frame(exact, clip):
    found = _through(exact, clip[:3])
    for faces, searched in zip(found, exact.detect(clip[:3]), strict=True):
        assert [one.box.tolist() for one in faces] == [other.box.tolist() for other in searched]
