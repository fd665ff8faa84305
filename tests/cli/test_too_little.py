"""`scan` of videos with few faces: no verdict, and the reason in the table, the CSV and the page."""

import csv
import json

import av
import numpy as np
import pytest

from deepscan.errors import ExitCode
from tests import toy
from tests.command import SAMPLES, deepscan
from tests.report.made import Page
from tests.terminal import at_a_terminal

REASON = "too little to judge: a face counts in 1 of 8 sampled frames, a verdict needs 3"


def clip(path, count, faces):
    """A black video of `count` frames, except for the frames `faces`, which show a portrait."""
    with av.open(str(SAMPLES / "real_hopper.mp4")) as container:
        portrait = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with av.open(str(path), "w") as output:
        # Intra frames only, so that no portrait is visible in a black frame.
        stream = output.add_stream("mjpeg", rate=25)
        stream.height, stream.width = portrait.shape[:2]
        stream.pix_fmt = "yuvj420p"
        for index in range(count):
            image = portrait if index in faces else np.zeros_like(portrait)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that calls every face fake."""
    return toy.model(tmp_path_factory.mktemp("model") / "toy", 4.0)


@pytest.fixture(scope="module")
def seldom(tmp_path_factory):
    """A video with a face in the first of eight sampled frames."""
    return clip(tmp_path_factory.mktemp("clips") / "seldom.avi", 80, range(10))


def scan(model, *more):
    return deepscan("scan", "--model", model, "--progress", "none", *more)


def test_a_face_in_one_of_eight_frames_gives_no_verdict(model, seldom):
    (record,) = scan(model, seldom, "--frames", "8").records
    assert (record["status"], record["verdict"], record["calibrated"]) == ("ok", "inconclusive", True)
    assert record["score"] > 0.9
    assert record["warnings"][-1] == REASON


def test_enough_frames_give_the_verdict(model, tmp_path):
    video = clip(tmp_path / "half.avi", 80, range(40))
    (record,) = scan(model, video, "--frames", "8", "--min-share", "0.5").records
    assert (record["verdict"], record["warnings"]) == ("fake", [])
    (record,) = scan(model, video, "--frames", "8", "--min-share", "0.51").records
    assert record["verdict"] == "inconclusive"
    assert record["warnings"] == [
        "too little to judge: a face counts in 4 of 8 sampled frames, a verdict needs 5"
    ]


def test_the_reason_is_in_the_table_the_csv_and_the_page(model, seldom, tmp_path):
    out = tmp_path / "out.csv"
    ran = scan(model, seldom, "--frames", "8", "--out", out, "--fail-on", "fake")
    assert ran.code == ExitCode.OK, "it is not called fake"
    with out.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["verdict"] == "inconclusive"
    assert REASON in row["warnings"]
    assert deepscan("report", out.with_suffix(".jsonl")).code == 0
    assert REASON in Page(tmp_path / "out.html").words
    shown = at_a_terminal("-m", "deepscan", "scan", seldom, "--model", model, "--frames", "8", columns=200)
    assert "inconclusive" in shown.screen
    assert "too little to judge" in shown.screen


def test_a_resumed_run_keeps_its_share(model, seldom, tmp_path):
    options = ("--frames", "8", "--out", tmp_path / "out.jsonl")
    assert scan(model, seldom, *options).code == 0
    run = json.loads((tmp_path / "out.run.json").read_text())
    assert run["parameters"]["min_share"] == 0.3
    assert scan(model, seldom, *options, "--resume").code == 0
    other = scan(model, seldom, *options, "--resume", "--min-share", "0.1")
    assert "--min-share 0.3, not 0.1" in other.refused(ExitCode.CONTRACT)[0]


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "half"])
def test_the_share_must_be_from_0_to_1(model, seldom, share):
    scan(model, seldom, "--min-share", share).refused(ExitCode.USAGE)


def test_a_picture_is_judged_by_its_one_frame(model, tmp_path):
    with av.open(str(SAMPLES / "real_hopper.mp4")) as container:
        next(container.decode(video=0)).to_image().save(tmp_path / "still.png")
    (record,) = scan(model, tmp_path / "still.png").records
    assert (record["verdict"], record["warnings"]) == ("fake", [])


def test_a_single_frame_is_not_the_black_first_one(model, tmp_path):
    video = clip(tmp_path / "faded.avi", 30, range(5, 30))
    (record,) = scan(model, video, "--frames", "1").records
    assert (record["verdict"], [frame["index"] for frame in record["frames"]]) == ("fake", [14])
