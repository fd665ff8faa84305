"""Scoring of videos: in order, batched across videos, with each crop read once."""

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
    """A detector that scores a crop by its mean, and records its batch sizes."""

    batches: list = field(default_factory=list)

    def score(self, crops):
        self.batches.append(len(crops))
        return crops.mean(axis=(1, 2, 3)).astype(np.float32) / 255


@dataclass
class CropReader:
    """Reads uniform crops whose path is their brightness; `broken` cannot be read."""

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


def test_videos_are_yielded_in_order_with_all_frame_scores():
    videos = [video("a", *range(0, 9)), video("b"), video("c", 100), video("d", *range(200, 205))]
    detector, reader = Brightness(), CropReader()
    found = list(score_videos(iter(videos), reader, detector, all_of))
    assert [item.video.name for item in found] == ["a", "b", "c", "d"]
    for item in found:
        np.testing.assert_allclose(item.scores, [[int(path) / 255 for path in item.video.frames]], atol=1e-6)
    assert detector.batches == [4, 4, 4, 3]
    assert set(reader.seen.values()) == {1}


def test_only_the_sampled_frames_are_read():
    reader = CropReader()
    (found,) = score_videos([video("a", *range(10))], reader, Brightness(), lambda count: np.array([0, 9]))
    assert found.frames.tolist() == [0, 9]
    assert sorted(reader.seen) == ["0", "9"]


def test_an_unreadable_crop_has_no_score_and_does_not_affect_others():
    found = list(
        score_videos([video("a", 0, "broken", 51), video("b", "broken")], CropReader(), Brightness(), all_of)
    )
    np.testing.assert_allclose(found[0].scores, [[0, np.nan, 0.2]])
    np.testing.assert_array_equal(found[1].scores, [[np.nan]])


def test_a_crop_is_read_once_for_all_changes():
    reader = CropReader()
    changes = (lambda crop, video, number: crop, lambda crop, video, number: crop + np.uint8(51 + number))
    (found,) = score_videos([video("a", 0, 51)], reader, Brightness(), all_of, changes)
    np.testing.assert_allclose(found.scores, [[0, 0.2], [0.2, 103 / 255]], atol=1e-6)
    assert set(reader.seen.values()) == {1}


def test_videos_are_consumed_lazily():
    consumed = []

    def endless():
        for number in range(10_000):
            consumed.append(number)
            yield video(str(number), 1)

    scored = score_videos(endless(), CropReader(), Brightness(), all_of)
    next(scored)
    assert len(consumed) < 20
    scored.close()


def test_videos_without_frames_do_not_hide_later_ones():
    videos = [*(video(str(number)) for number in range(40)), video("last", 51)]
    found = list(score_videos(videos, CropReader(), Brightness(), all_of))
    assert [item.video.name for item in found] == [*map(str, range(40)), "last"]
    np.testing.assert_allclose(found[-1].scores, [[0.2]], atol=1e-6)


def test_every_variant_is_scored_on_its_own_crops():
    changes = [partial(brightened, by=by) for by in range(5)]
    found = list(
        score_videos(
            [video("a", 10), video("b", 20, "broken", 30)], CropReader(), Brightness(), all_of, changes
        )
    )
    by = np.arange(5)[:, None]
    np.testing.assert_allclose(found[0].scores * 255, 10 + by, atol=1e-4)
    np.testing.assert_allclose(found[1].scores * 255, np.array([20, np.nan, 30]) + by, atol=1e-4)


def brightened(crop, video, number, *, by):
    return crop + np.uint8(by)
