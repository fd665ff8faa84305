"""Test the contract of every output format, and the cells of the CSV."""

import csv
import io

import pytest

from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.writers import WRITERS


def records():
    faces = [
        {"index": 0, "pts": 0.0, "track": 0, "score": 0.9, "box": [0, 0, 9, 9], "landmarks": []},
        {"index": 0, "pts": 0.0, "track": 1, "score": 0.1, "box": [0, 0, 9, 9], "landmarks": []},
        {"index": 5, "pts": 0.2, "track": None, "score": None, "box": None, "landmarks": None},
    ]
    good = RecordLine(
        b"a, 'b'.mp4",
        "ok",
        "",
        "r",
        sha256="00",
        size=7,
        warnings=("one", "two"),
        verdict="fake",
        score=0.875,
        tracks=[{"id": 0}, {"id": 1}],
        frames=faces,
        media={"fps": "30000/1001", "width": 640, "decoder": "decord"},
        model={"name": "m"},
        seconds={"total": 1.5},
    )
    return [good.to_json(), RecordLine(b"bad\xff.mp4", "decode_error", "empty", "r").to_json()]


@pytest.mark.parametrize("name", WRITERS.names)
def test_every_format_writes_one_entry_per_video_and_accepts_any_name(name):
    file = io.StringIO(newline="")
    WRITERS.get(name)(records(), file)
    text, nothing = file.getvalue(), io.StringIO(newline="")
    WRITERS.get(name)((), nothing)
    assert text.endswith("\n")
    # Without any video only a heading is written.
    assert len(text.splitlines()) - len(nothing.getvalue().splitlines()) == len(records())
    text.encode("utf-8")


def test_csv_counts_persons_faces_and_frames_and_a_failure_has_no_score():
    file = io.StringIO(newline="")
    WRITERS.get("csv")(records(), file)
    good, bad = csv.DictReader(io.StringIO(file.getvalue()))
    assert good["path"] == "a, 'b'.mp4"
    assert (good["persons"], good["faces"], good["sampled"]) == ("2", "2", "2")
    assert (good["score"], good["verdict"]) == ("0.875", "fake")
    assert (good["fps"], good["seconds"]) == ("30000/1001", "1.5")
    assert good["warnings"] == "one; two"
    assert (bad["score"], bad["verdict"], bad["status"], bad["detail"]) == ("", "", "decode_error", "empty")
    assert bytes.fromhex(bad["path"].removeprefix("hex:")) == b"bad\xff.mp4"
