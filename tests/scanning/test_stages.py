"""Test the stages apart from each other, and the pipeline that runs them again and again."""

import pickle
import threading

import numpy as np
import pytest

from deepscan.media.frames import Frame
from deepscan.media.jobs import DecodeJob
from deepscan.scanning import extract_stage
from deepscan.scanning.extract_stage import CropSlice, ExtractStage
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.outcome import build_record
from deepscan.scanning.pipeline import Pipeline
from deepscan.scanning.score_stage import ScoreStage
from deepscan.scanning.sources import local_items
from tests.scanning.test_pipeline import Filter, Finder, Pool, Scorer, frames, report

OPTIONS = ScanOptions(model="none")
VOLATILE = ("run", "started", "seconds")


class Brightness(Scorer):
    """Stub whose score is the mean of the crop."""

    def score(self, crops):
        super().score(crops)
        return (crops.mean(axis=(1, 2, 3)) / 255).astype(np.float32)


def fading(count, faces=1):
    """Return frames of which each is darker than the one before it."""
    darker = []
    for frame in frames(count, faces):
        image = (frame.image * (1 - frame.index / count)).astype(np.uint8)
        image[0, 0, 0] = faces
        darker.append(Frame(frame.index, frame.pts, image))
    return darker


def videos():
    return {
        b"a": (fading(12), report()),
        b"crowd": (fading(6, faces=4), report()),
        b"none": (frames(3, faces=0), report()),
        b"torn": (frames(1), report("decode_error", "torn")),
    }


def stable(record):
    return {key: value for key, value in record.to_json().items() if key not in VOLATILE}


def pipeline(pool, scorer=None):
    return Pipeline(OPTIONS, pool, Finder(), [scorer or Brightness()], "run", pytest.fail, Filter(0.9))


def by_path(records):
    return {record.path: stable(record) for record in records}


def test_stages_in_two_processes_give_the_records_of_the_pipeline(monkeypatch):
    monkeypatch.setattr(extract_stage, "SLICE_FACES", 5)
    sent = []
    pool = Pool(videos())
    extract = ExtractStage(pool, Finder(), {Scorer.recipe}, Filter(0.9))
    jobs = [DecodeJob(number, path) for number, path in enumerate(videos(), start=7)]
    extract.run(iter(jobs), lambda part: sent.append(pickle.dumps(part)))
    assert pool.out == 0, "every frame is released"
    records, slices = [], {}
    scorer = Brightness()
    models = pickle.loads(pickle.dumps((scorer.facts,)))
    for part in map(pickle.loads, sent):
        if isinstance(part, CropSlice):
            slices.setdefault(part.video, []).append(part)
            continue
        score = ScoreStage([scorer], pytest.fail)
        scored = pickle.loads(pickle.dumps(score.run(part, slices.pop(part.id, []))))
        records.append(build_record(scored, models, OPTIONS, "run", least_face=Filter.least))
    assert slices == {}, "no slice comes after its video"
    assert by_path(records) == by_path(pipeline(Pool(videos())).scan(local_items(videos())))
    scores = {record.path: record.score for record in records}
    assert 0 < scores[b"a"] < 1 and scores[b"none"] is None


def test_a_video_with_many_faces_is_sent_in_slices(monkeypatch):
    monkeypatch.setattr(extract_stage, "SLICE_FACES", 5)
    sent = []
    stage = ExtractStage(Pool({b"a": (frames(12), report())}), Finder(), {Scorer.recipe})
    stage.run([DecodeJob(3, b"a")], sent.append)
    *slices, video = sent
    assert [part.numbers for part in slices] == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (10, 11)]
    assert {part.crops[Scorer.recipe].shape[1:] for part in slices} == {(64, 64, 3)}
    assert {part.video for part in sent[:-1]} == {video.id} == {3}
    assert len(video.observations) == 12


def test_without_a_recipe_nothing_is_sent_but_the_video():
    sent = []
    ExtractStage(Pool({b"a": (frames(4), report())}), Finder(), ()).run([DecodeJob(0, b"a")], sent.append)
    (video,) = sent
    assert len(video.observations) == 4


def test_two_jobs_in_progress_cannot_have_the_same_id():
    stage = ExtractStage(Pool({b"a": (frames(4), report())}), Finder(), ())
    with pytest.raises(ValueError, match="job 0 has not ended"):
        stage.run([DecodeJob(0, b"a"), DecodeJob(0, b"a")], lambda part: None)


def test_a_pipeline_scans_again():
    both = pipeline(Pool(videos()))
    assert by_path(both.scan(local_items(videos()))) == by_path(both.scan(local_items(videos())))


def test_a_pipeline_scans_again_after_a_scan_that_was_abandoned():
    pool = Pool({**videos(), b"long": (fading(400), report())}, slots=1)
    both = pipeline(pool)
    unfinished = both.scan(local_items([b"a", b"long"]))
    assert next(unfinished).path == b"a"
    unfinished.close()
    assert by_path(both.scan(local_items(videos()))) == by_path(
        pipeline(Pool(videos())).scan(local_items(videos()))
    )
    assert pool.out == 0, "every frame is released, also those of the abandoned video"


def test_the_next_scan_waits_for_a_batch_of_one_that_was_abandoned():
    began, go_on, at_once = threading.Event(), threading.Event(), []

    class Slow(Brightness):
        running = 0

        def score(self, crops):
            self.running += 1
            at_once.append(self.running)
            began.set()
            assert go_on.wait(10)
            self.running -= 1
            return super().score(crops)

    both = pipeline(Pool({b"a": (fading(4), report()), b"b": (frames(1), report("timeout", "late"))}), Slow())
    unfinished = both.scan(local_items([b"a"]), lambda path: both._score.busy and began.wait(10) and stop())

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(unfinished)
    threading.Timer(0.2, go_on.set).start()
    (record,) = both.scan(local_items([b"a"]))
    assert record.status == "ok"
    assert set(at_once) == {1}


def test_two_scans_of_one_pipeline_at_once_are_refused():
    both = pipeline(Pool(videos()))
    first = both.scan(local_items([b"a", b"none"]))
    next(first)
    with pytest.raises(RuntimeError, match="still going on"):
        next(both.scan(local_items([b"a"])))
    first.close()
