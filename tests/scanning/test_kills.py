"""Test that a scan that is killed again and again ends with the records of one that was not."""

import json

import pytest

from tests import awkward, toy
from tests.command import SAMPLES, deepscan, kill, start

#: What differs from run to run.
TIMES = ("started", "seconds", "run")


def records(path):
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return sorted(
        ({key: value for key, value in record.items() if key not in TIMES} for record in lines),
        key=lambda record: record["path"],
    )


@pytest.mark.parametrize("copies", [2, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_a_scan_killed_after_every_few_records_loses_and_repeats_none(tmp_path, copies):
    videos = tmp_path / "videos"
    videos.mkdir()
    for copy in range(copies):
        for sample in ("real_hopper.mp4", "no_face.mp4", "swapped.mp4"):
            awkward.distinct(SAMPLES / sample, videos / f"{copy}-{sample}", copy)
    command = ("scan", videos, "--model", toy.model(tmp_path / "toy"), "--frames", "2")
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    assert deepscan(*command, "--out", whole).code == 0
    done, resume = 0, ()
    while done + 2 < 3 * copies:
        process = start(*command, "--out", torn, *resume)
        done, resume = kill(process, torn, done + 2), ("--resume",)
    assert deepscan(*command, "--out", torn, "--resume").code == 0
    assert records(torn) == records(whole)
