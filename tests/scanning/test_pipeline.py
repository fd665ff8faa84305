"""Test the pipeline with a pool, a finder and a detector whose answers are given."""

import math
import time

import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.engines.scorer import ModelFacts
from deepscan.errors import ContractError
from deepscan.faces.face import Detection, Face, Quality
from deepscan.faces.stage import FRAME_BATCH
from deepscan.media.frames import DecodeReport, Frame
from deepscan.media.jobs import DecodeJob, Ended, FrameReady
from deepscan.scanning.extract_stage import LOOKS_KEPT, VideoState
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.outcome import FaceObservation
from deepscan.scanning.pipeline import Pipeline
from deepscan.scanning.sources import ScanItem, local_items

POINTS = np.array([[40, 40], [80, 40], [60, 60], [45, 80], [75, 80]], np.float32)


class Pool:
    """Stub that returns each video's frames one by one, for as many videos at once as it has slots."""

    def __init__(self, videos, slots=2):
        self.videos, self.slots = videos, slots
        self.running, self.out, self.most_out = [], 0, 0

    @property
    def idle(self):
        return self.slots - len(self.running)

    def submit(self, job):
        self.running.append((job, iter(self.videos[job.path][0])))

    def poll(self, timeout):
        events = []
        for job, frames in list(self.running):
            frame = next(frames, None)
            if frame is None:
                self.running.remove((job, frames))
                events.append(Ended(job, self.videos[job.path][1]))
            else:
                self.out += 1
                self.most_out = max(self.most_out, self.out)
                events.append(FrameReady(job, frame, self.release))
        return events

    def release(self):
        self.out -= 1


class Finder:
    """Stub that finds as many faces as the frame's first pixel says."""

    every = 1

    def __init__(self):
        self.batches = []

    def detect(self, images):
        self.batches.append(len(images))
        found = Detection(np.float32([10, 10, 110, 110]), POINTS, 0.99)
        return [[found] * int(image[0, 0, 0]) for image in images]


class Scorer:
    """Stub that gives every crop the same score."""

    recipe, batch = CropRecipe(side=64), 32

    def __init__(self, score=0.25):
        self.value, self.batches = score, []
        self.card = type("Card", (), {"name": "stub", "calibration": None})()

    def score(self, crops):
        assert crops.shape[1:] == (64, 64, 3)
        self.batches.append(len(crops))
        return np.full(len(crops), self.value, np.float32)

    @property
    def facts(self):
        name = self.card.name
        return ModelFacts(name, "stub", "00", "stub", "cpu", "fp32", self.recipe, self.card.calibration)


def frames(count, faces=1):
    image = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    image[0, 0, 0] = faces
    return [Frame(index, index / 10, image) for index in range(count)]


def report(status="ok", detail="", decoded=0):
    return DecodeReport(status, detail, (), "00", 1, None, "stub", decoded, decoded, {"decode": 0.1})


class Filter:
    """Stub that returns the given scores in turn."""

    least = 0.5

    def __init__(self, *scores):
        self.scores = scores

    def score(self, crops):
        assert all(crop.shape == (48, 48, 3) for crop in crops)
        return np.resize(np.float32(self.scores), len(crops))


def run(videos, scorers=(), slots=2, warn=pytest.fail, face_filter=None):
    pool, finder = Pool(videos, slots), Finder()
    options = ScanOptions(model="none")
    scorers = scorers if isinstance(scorers, list | tuple) else [scorers]
    records = list(
        Pipeline(options, pool, finder, scorers, "run", warn, face_filter).scan(local_items(videos))
    )
    assert pool.out == 0, "every frame is released"
    return {record.path: record for record in records}, pool, finder


def test_every_video_gets_one_record_with_its_own_frames():
    videos = {b"a": (frames(3), report()), b"b": (frames(5), report()), b"c": (frames(40, faces=2), report())}
    records, _, _ = run(videos, Scorer())
    assert {path: len(record.frames) for path, record in records.items()} == {b"a": 3, b"b": 5, b"c": 80}
    assert all(record.score == pytest.approx(0.25) for record in records.values())
    assert [line["index"] for line in records[b"a"].frames] == [0, 1, 2]


def test_frames_and_crops_of_several_videos_go_through_together():
    videos = {bytes([letter]): (frames(40), report()) for letter in b"abcd"}
    scorer = Scorer()
    _, _, finder = run(videos, scorer, slots=4)
    assert max(finder.batches) == FRAME_BATCH
    assert max(scorer.batches) == Scorer.batch
    assert sum(scorer.batches) == 160


def test_only_a_few_frames_are_in_use_however_long_the_video():
    _, pool, _ = run({b"a": (frames(500), report())}, Scorer(), slots=1)
    assert pool.most_out <= FRAME_BATCH


def test_a_video_without_a_face_and_one_that_fails_do_not_affect_others():
    videos = {
        b"none": (frames(4, faces=0), report()),
        b"broken": (frames(2), report("decode_error", "torn")),
        b"good": (frames(4), report()),
    }
    records, _, _ = run(videos, Scorer())
    assert {path: record.status for path, record in records.items()} == {
        b"none": "no_face",
        b"broken": "decode_error",
        b"good": "ok",
    }
    assert records[b"broken"].score is None
    assert records[b"broken"].frames == ()


def test_a_score_that_is_not_a_number_becomes_an_error():
    records, _, _ = run({b"a": (frames(4), report())}, Scorer(math.nan))
    assert records[b"a"].status == "error"
    assert records[b"a"].score is None


def test_without_a_detector_faces_are_recorded_without_a_score():
    records, _, _ = run({b"a": (frames(4), report())})
    record = records[b"a"]
    assert (record.status, record.score, record.verdict, record.model) == ("ok", None, None, None)
    assert len(record.frames) == 4


def test_a_frame_without_a_face_is_recorded():
    mixed = frames(4)
    mixed[2] = Frame(2, 0.2, np.zeros((120, 120, 3), np.uint8))
    records, _, _ = run({b"a": (mixed, report())}, Scorer())
    assert [line["track"] for line in records[b"a"].frames] == [0, 0, None, 0]


def assert_only_bad_fails(records, message):
    assert (records[b"bad"].status, records[b"bad"].score) == ("error", None)
    assert message in records[b"bad"].detail
    assert records[b"good"].status == "ok"


def choke(detections):
    raise RuntimeError("failed to allocate\nmemory")


def degenerate(detections):
    # All landmarks in one place: no transform maps that to five points.
    return [Detection(detections[0].box, np.full((5, 2), 7, np.float32), 0.99)]


@pytest.mark.parametrize(
    ("fault", "message"),
    [(choke, "failed to allocate memory"), (degenerate, "cropping a face failed")],
)
def test_a_frame_on_which_a_stage_fails_costs_its_own_video_only(monkeypatch, fault, message):
    def detect(self, images):
        found = zip(real(self, images), images, strict=True)
        return [fault(faces) if image[0, 0, 0] == 2 else faces for faces, image in found]

    real = Finder.detect
    monkeypatch.setattr(Finder, "detect", detect)
    videos = {b"bad": (frames(4, faces=2), report()), b"good": (frames(4), report())}
    assert_only_bad_fails(run(videos, Scorer())[0], message)


def test_each_detector_sees_its_own_crops_and_a_failure_names_the_detector():
    class Other(Scorer):
        recipe = CropRecipe(side=32)

        def __init__(self, score, failing=False):
            super().__init__(score)
            self.card.name, self.failing = "other", failing

        def score(self, crops):
            assert crops.shape[1:] == (32, 32, 3)
            if self.failing:
                raise RuntimeError("no memory")
            return np.full(len(crops), self.value, np.float32)

    records, _, _ = run({b"a": (frames(3), report())}, [Scorer(0.2), Other(0.8)])
    record = records[b"a"]
    assert {frame["scores"]["stub"] for frame in record.frames} == {0.2}
    assert {frame["scores"]["other"] for frame in record.frames} == {0.8}
    assert record.score == pytest.approx(0.5)
    records, _, _ = run({b"a": (frames(3), report())}, [Scorer(0.2), Other(0.8, failing=True)])
    assert (records[b"a"].status, records[b"a"].score) == ("error", None)
    assert "the detector other failed at frame 2: no memory" in records[b"a"].detail
    assert [model["score"] for model in records[b"a"].models] == [None, None]


def test_a_detector_that_runs_out_of_memory_continues_with_smaller_batches_and_warns_once():
    class Large(Scorer):
        def score(self, crops):
            if len(crops) > 10:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().score(crops)

    scorer, warnings = Large(), []
    records, _, _ = run({b"a": (frames(100), report())}, scorer, warn=warnings.append)
    assert (records[b"a"].status, len(records[b"a"].frames)) == ("ok", 100)
    assert max(scorer.batches) == Scorer.batch // 4
    (warning,) = warnings
    assert "the detector stub: memory ran out with a batch of 32" in warning and "2.00 GiB" in warning


def test_a_crop_too_large_for_the_memory_costs_its_own_video_only():
    class Full(Scorer):
        def score(self, crops):
            if (crops == 0).all(axis=(1, 2, 3)).any():
                raise MemoryError("no room for it")
            return super().score(crops)

    black = [Frame(0, 0.0, np.zeros((120, 120, 3), np.uint8))]
    black[0].image[0, 0, 0] = 1
    videos = {b"bad": (black, report()), b"good": (frames(20), report())}
    records, _, _ = run(videos, Full(), warn=[].append)
    assert_only_bad_fails(records, "the detector stub failed at frame 0: no room for it")


def test_an_error_that_is_not_about_a_frame_ends_the_run():
    class Broken(Scorer):
        def score(self, crops):
            raise ContractError("the weights changed", "restore them")

    with pytest.raises(ContractError):
        run({b"a": (frames(4), report())}, Broken())


def test_a_record_has_the_elapsed_and_the_cpu_time_of_each_stage():
    class Busy(Scorer):
        def score(self, crops):
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass
            return super().score(crops)

    records, _, _ = run({b"a": (frames(4), report()), b"none": (frames(2, faces=0), report())}, Busy())
    seconds = records[b"a"].seconds
    assert list(seconds) == ["decode", "faces", "faces_cpu", "detector", "detector_cpu", "total"]
    assert seconds["detector"] > 0.04 and seconds["detector_cpu"] > 0.04
    assert records[b"none"].seconds["detector_cpu"] == 0


def test_nothing_to_scan_ends_at_once():
    assert run({})[0] == {}


def test_faces_rejected_by_the_filter_are_recorded_and_not_judged():
    records, _, _ = run({b"a": (frames(4), report())}, Scorer(0.9), face_filter=Filter(0.2))
    record = records[b"a"]
    assert (record.status, record.score, record.verdict, record.calibrated) == ("no_face", None, None, False)
    assert record.detail == "no face was found in 4 sampled frames; none of 1 candidate looks like a face"
    (track,) = record.tracks
    assert (track["counted"], track["reason"], track["face_score"]) == (False, "no_face", 0.2)
    assert [line["face_score"] for line in record.frames] == [0.2] * 4


def test_no_model_has_a_verdict_if_nothing_is_a_face():
    class Other(Scorer):
        def __init__(self):
            super().__init__(0.8)
            self.card.name = "other"

    records, _, _ = run({b"a": (frames(4), report())}, [Scorer(0.9), Other()], face_filter=Filter(0.2))
    assert records[b"a"].status == "no_face"
    assert [(model["score"], model["verdict"]) for model in records[b"a"].models] == [(None, None)] * 2


def test_a_track_is_a_face_if_most_of_its_faces_are():
    class Wavering(Filter):
        def __init__(self):
            super().__init__()
            self.remaining = iter([0.9, 0.1, 0.9, 0.9, 0.2])

        def score(self, crops):
            return np.float32([next(self.remaining) for _ in crops])

    records, _, _ = run({b"a": (frames(5), report())}, Scorer(), face_filter=Wavering())
    (track,) = records[b"a"].tracks
    assert (records[b"a"].status, track["face_score"], track["reason"]) == ("ok", 0.9, None)


@pytest.mark.parametrize("count", [10, LOOKS_KEPT, 3 * LOOKS_KEPT])
def test_crops_for_looks_are_kept_in_bounded_memory_and_spread_over_the_video(count):
    video = VideoState(DecodeJob(0, b"a"))
    box, points = np.array([0, 0, 9, 9], np.float32), np.zeros((5, 2), np.float32)
    detection, quality = Detection(box, points, 1.0), Quality(9, 9, 0)
    for index in range(count):
        video.sampled.append((index, float(index)))
        crop = np.zeros((1, 1, 3), np.uint8)
        face = Face(index, float(index), detection, quality, np.ones(1, np.float32), look=crop)
        video.observations.append(FaceObservation(face))
        video.keep_look(video.observations[-1])
    kept = [seen.face.index for seen in video.observations if seen.face.look is not None]
    step = {10: 1, LOOKS_KEPT: 1, 3 * LOOKS_KEPT: 4}[count]
    assert kept == list(range(step - 1, count, step))
    assert len(kept) <= LOOKS_KEPT


def scan_items(items, videos=None, slots=2):
    pool = Pool(videos or {})
    return list(Pipeline(ScanOptions(model="none"), pool, Finder(), [], "run", pytest.fail).scan(items))


def test_a_video_that_could_not_be_fetched_gets_a_record_without_decoding():
    items = [ScanItem(b"s3://b/gone", size=7, failure=("error", "the object does not exist"))]
    (record,) = scan_items(items)
    assert (record.path, record.status, record.detail, record.size) == (
        b"s3://b/gone",
        "error",
        "the object does not exist",
        7,
    )
    assert (record.sha256, record.media, record.score) == (None, None, None)


def test_a_scan_goes_on_while_no_item_is_ready():
    videos = {b"a": (frames(3), report()), b"b": (frames(3), report())}
    items = [None, ScanItem(b"a"), None, None, ScanItem(b"b"), None]
    assert [record.path for record in scan_items(iter(items), videos)] == [b"a", b"b"]


def test_records_of_items_that_failed_are_not_held_back_until_all_items_are_taken():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield ScanItem(b"%d" % number, failure=("error", "gone"))

    pipeline = Pipeline(ScanOptions(model="none"), Pool({}), Finder(), [], "run", pytest.fail)
    next(pipeline.scan(items()))
    assert len(taken) == 1


def test_items_are_released_when_they_are_decoded_and_when_the_scan_is_given_up():
    released = []
    videos = {b"a": (frames(3), report()), b"long": (frames(400), report())}
    items = [ScanItem(path, release=lambda path=path: released.append(path)) for path in videos]
    pipeline = Pipeline(ScanOptions(model="none"), Pool(videos), Finder(), [], "run", pytest.fail)
    scan = pipeline.scan(items)
    assert next(scan).path == b"a"
    assert released == [b"a"]
    scan.close()
    assert released == [b"a", b"long"]
