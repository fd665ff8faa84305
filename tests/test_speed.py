"""Limits on CPU time, as ratios of two measurements in one test, so that they hold on slow machines too.

Both sides of a ratio run in turns, and the minimum of each counts, since other work on the machine only adds
time. Every limit is at least 1.5 times the ratio measured when it was written, on two cores with six times
their load.
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
from deepscan.scanning.sources import local_items
from tests.scanning import test_pipeline as fakes

FRAMES = 16
CLIP = Clip(1280, 720, frames=64, faces=1, fps=16)


def ratio(numerator, denominator, turns=3):
    """Return the CPU time of one function divided by that of another."""
    cases = [TimedCase({}, 1, "", each) for each in (numerator, denominator)]
    first, second = measure_cases(cases, turns, lambda *_: None)
    return first.least_cpu / second.least_cpu


def python(*arguments):
    """Return a function that runs Python with arguments and measures it."""
    command = [sys.executable, *arguments]
    return lambda: timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(CLIP, tmp_path_factory.mktemp("speed"))


def test_fast_face_finding_costs_less_than_a_fifth_of_exact():
    """Measured: 0.10. It would be 0.28 if faces were not followed, so that each frame is searched."""
    frames = [Frame(at, at / CLIP.fps, image) for at, image in enumerate(render_frames(CLIP)) if at % 4 == 0]

    def finding(mode):
        finder = Mtcnn(mode, threads=1)
        return lambda: timed(lambda: search_or_follow(finder, frames, [FollowState()] * len(frames)))

    assert ratio(finding("fast"), finding("exact")) < 0.2


@pytest.mark.exhaustive
def test_a_scan_costs_little_more_than_its_stages(clip, tmp_path):
    """Measured: 1.1. The rest is hashing, probing, alignment, looks, tracks and records."""
    paths = [os.fsencode(tmp_path / f"{name}.mp4") for name in range(3)]
    for path in paths:
        os.link(clip, path)
    options = ScanOptions(model=DEFAULT_MODEL, frames=FRAMES)
    decoding = DecodeOptions(frames=FRAMES)
    finding = stages.faces_case(stages.decode_within_memory(paths, decoding), Mtcnn(), {})
    judging = stages.detector_case(load_scorer(options), FRAMES, {})
    scan = whole.scan_case(paths, options, 1, {})

    def run_stages():
        return timed(
            lambda: (stages.decode_once(paths, decoding), finding.run(), [judging.run() for _ in paths])
        )

    assert ratio(scan.run, run_stages) < 1.65


def test_a_scan_is_ready_soon_after_its_libraries():
    """Measured: 1.3. It would be 5 if torch were imported by mistake."""
    ready = python("-c", whole.READY, json.dumps({"model": DEFAULT_MODEL}))
    assert ratio(ready, python("-c", whole.BARE_IMPORTS)) < 2


def test_help_takes_less_time_than_importing_a_scans_libraries():
    """Measured: 0.54. It would be about 1 if ONNX Runtime were imported by mistake."""
    assert ratio(python("-m", "deepscan", "--help"), python("-c", whole.BARE_IMPORTS)) < 0.82


def test_a_scan_keeps_no_memory_of_finished_videos():
    """Measured: no growth. A record that is kept would take a few thousand bytes per video."""
    videos = {str(number).encode(): (fakes.frames(2), fakes.report()) for number in range(600)}
    memory = []
    pool, options = fakes.Pool(videos), ScanOptions(model="none")
    tracemalloc.start()
    try:
        for _ in Pipeline(options, pool, fakes.Finder(), [fakes.Scorer()], "run", pytest.fail).scan(
            local_items(videos)
        ):
            memory.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    growth = (min(memory[-100:]) - min(memory[200:300])) / 300
    assert growth < 500
