"""Scores of videos as they come: in order, batched over videos, each crop read once."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

import numpy as np
import pytest

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.evaluation import scoring
from deepscan.evaluation.scoring import score_videos


@dataclass
class Brightness:
    """A detector that scores a crop by its mean, and notes how many it got at once."""

    batches: list = field(default_factory=list)

    def score(self, crops):
        self.batches.append(len(crops))
        return crops.mean(axis=(1, 2, 3)).astype(np.float32) / 255


@dataclass
class Shelf:
    """Reads crops whose brightness is a number that their path states; `broken` cannot be read."""

    seen: Counter = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock)

    def __call__(self, video, number):
        path = video.frames[number]
        with self.lock:
            self.seen[path] += 1
        return None if path == "broken" else np.full((4, 4, 3), int(path), np.uint8)


def video(name, *frames):
    return FaceVideo("made", "fake", 1, "test", name, tuple(map(str, frames)))


def all_of(count):
    return np.arange(count)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(scoring, "BATCH", 4)
    monkeypatch.setattr(scoring, "AHEAD", 6)


def test_videos_come_out_in_order_with_each_frames_score():
    videos = [video("a", *range(0, 9)), video("b"), video("c", 100), video("d", *range(200, 205))]
    detector, shelf = Brightness(), Shelf()
    found = list(score_videos(iter(videos), shelf, detector, all_of))
    assert [item.video.name for item in found] == ["a", "b", "c", "d"]
    for item in found:
        np.testing.assert_allclose(item.scores, [[int(path) / 255 for path in item.video.frames]], atol=1e-6)
    assert detector.batches == [4, 4, 4, 3]
    assert set(shelf.seen.values()) == {1}


def test_only_the_sampled_frames_are_read():
    shelf = Shelf()
    (found,) = score_videos([video("a", *range(10))], shelf, Brightness(), lambda count: np.array([0, 9]))
    assert found.frames.tolist() == [0, 9]
    assert sorted(shelf.seen) == ["0", "9"]


def test_a_crop_that_cannot_be_read_has_no_score_and_costs_no_other():
    found = list(
        score_videos([video("a", 0, "broken", 51), video("b", "broken")], Shelf(), Brightness(), all_of)
    )
    np.testing.assert_allclose(found[0].scores, [[0, np.nan, 0.2]])
    np.testing.assert_array_equal(found[1].scores, [[np.nan]])


def test_a_crop_is_read_once_for_all_changes():
    shelf = Shelf()
    changes = (lambda crop, video, number: crop, lambda crop, video, number: crop + np.uint8(51 + number))
    (found,) = score_videos([video("a", 0, 51)], shelf, Brightness(), all_of, changes)
    np.testing.assert_allclose(found.scores, [[0, 0.2], [0.2, 103 / 255]], atol=1e-6)
    assert set(shelf.seen.values()) == {1}


def test_videos_are_taken_as_they_are_needed():
    taken = []

    def endless():
        for number in range(10_000):
            taken.append(number)
            yield video(str(number), 1)

    coming = score_videos(endless(), Shelf(), Brightness(), all_of)
    next(coming)
    assert len(taken) < 20
    coming.close()


def test_any_number_of_videos_without_frames_hides_none_that_follows():
    videos = [*(video(str(number)) for number in range(40)), video("last", 51)]
    found = list(score_videos(videos, Shelf(), Brightness(), all_of))
    assert [item.video.name for item in found] == [*map(str, range(40)), "last"]
    np.testing.assert_allclose(found[-1].scores, [[0.2]], atol=1e-6)


def test_every_variant_of_a_batch_is_of_its_own_crops():
    changes = [partial(raised, by=by) for by in range(5)]
    found = list(
        score_videos([video("a", 10), video("b", 20, "broken", 30)], Shelf(), Brightness(), all_of, changes)
    )
    by = np.arange(5)[:, None]
    np.testing.assert_allclose(found[0].scores * 255, 10 + by, atol=1e-4)
    np.testing.assert_allclose(found[1].scores * 255, np.array([20, np.nan, 30]) + by, atol=1e-4)


def raised(crop, video, number, *, by):
    return crop + np.uint8(by)
