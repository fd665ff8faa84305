"""What may cost how much of what: ratios of CPU time within a test, so that no machine is too slow for them.

Both sides of a ratio take turns and the least of each counts, since other work on the machine only adds.
Every bound leaves half as much again as was measured when it was written, on two cores with six times their
work.
"""

import json
import os
import subprocess
import sys
import tracemalloc

import pytest

from deepscan.bench import stages, whole
from deepscan.bench.clips import Clip, make_clip, render_frames
from deepscan.bench.timing import TimedCase, measure_cases, timed
from deepscan.faces.following import FollowState, search_or_follow
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.frames import Frame
from deepscan.media.jobs import DecodeOptions
from deepscan.models.lookup import DEFAULT_MODEL
from deepscan.scanning.loading import load_scorer
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.pipeline import Pipeline
from tests.scanning import test_pipeline as told

FRAMES = 16
CLIP = Clip(1280, 720, frames=64, faces=1, fps=16)


def ratio(one, other, turns=3):
    """Return how many times the CPU time of the other one thing takes."""
    cases = [TimedCase({}, 1, "", each) for each in (one, other)]
    first, second = measure_cases(cases, turns, lambda *_: None)
    return first.least_cpu / second.least_cpu


def python(*arguments):
    """Return what runs Python with arguments to its end."""
    command = [sys.executable, *arguments]
    return lambda: timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(CLIP, tmp_path_factory.mktemp("speed"))


def test_fast_face_finding_costs_less_than_a_fifth_of_exact():
    """Measured: 0.10. Were no face followed, so that each frame is searched, it would be 0.28."""
    frames = [Frame(at, at / CLIP.fps, image) for at, image in enumerate(render_frames(CLIP)) if at % 4 == 0]

    def finding(mode):
        finder = Mtcnn(mode, threads=1)
        return lambda: timed(lambda: search_or_follow(finder, frames, [FollowState()] * len(frames)))

    assert ratio(finding("fast"), finding("exact")) < 0.2


@pytest.mark.exhaustive
def test_a_scan_costs_little_more_than_its_stages(clip, tmp_path):
    """Measured: 1.1. What is beside the stages: hashing, probing, alignment, looks, tracks, records."""
    paths = [os.fsencode(tmp_path / f"{name}.mp4") for name in range(3)]
    for path in paths:
        os.link(clip, path)
    options = ScanOptions(model=DEFAULT_MODEL, frames=FRAMES)
    decoding = DecodeOptions(frames=FRAMES)
    finding = stages.faces_case(stages.decode_within_memory(paths, decoding), Mtcnn(), {})
    judging = stages.detector_case(load_scorer(options), FRAMES, {})
    scan = whole.scan_case(paths, options, 1, {})

    def apart():
        return timed(
            lambda: (stages.decode_once(paths, decoding), finding.run(), [judging.run() for _ in paths])
        )

    assert ratio(scan.run, apart) < 1.65


def test_a_scan_is_ready_soon_after_its_libraries():
    """Measured: 1.3. Torch, imported by mistake, would make it 5."""
    ready = python("-c", whole.READY, json.dumps({"model": DEFAULT_MODEL}))
    assert ratio(ready, python("-c", whole.BARE_IMPORTS)) < 2


def test_help_is_shown_before_a_scans_libraries_would_be_there():
    """Measured: 0.54. With ONNX Runtime, imported by mistake, it would be about 1."""
    assert ratio(python("-m", "deepscan", "--help"), python("-c", whole.BARE_IMPORTS)) < 0.82


def test_a_scan_holds_nothing_of_a_video_that_has_ended():
    """Measured: nothing. A record that were kept would be some thousand bytes a video."""
    videos = {str(number).encode(): (told.frames(2), told.report()) for number in range(600)}
    held = []
    pool, options = told.Pool(videos), ScanOptions(model="none")
    tracemalloc.start()
    try:
        for _ in Pipeline(options, pool, told.Finder(), [told.Scorer()], "run", pytest.fail).scan(videos):
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    growth = (min(held[-100:]) - min(held[200:300])) / 300
    assert growth < 500
