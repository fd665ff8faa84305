"""Test what a page shows of its run, and which records it refuses."""

import json

import pytest

from deepscan.errors import ContractError
from deepscan.report.page import default_page, write_page
from tests.report.made import MODEL, Page, described, journal, page, video


def without(run, *keys):
    *above, last = keys
    part = run
    for key in above:
        part = part[key]
    del part[last]
    return run


def test_each_session_of_a_run_is_shown(tmp_path):
    run = described()
    run["sessions"].insert(0, {**run["sessions"][0], "folder": "/elsewhere", "exit_code": 130})
    words = page(tmp_path, video(), run=run).words
    assert words.count("in folder") == words.count("s, Python 3, 2 cores") == 2
    assert "/elsewhere" in words
    assert "exit code 130" in words


def test_without_the_runs_file_the_page_says_what_is_unknown(tmp_path):
    path = journal(tmp_path, video())
    warned = []
    write_page(path, tmp_path / "a.html", most=9, warn=warned.append)
    made = Page(tmp_path / "a.html")
    assert all(warning in made.words for warning in warned)
    (warning,) = warned
    assert "thresholds, error rates and parameters are unknown" in warning
    assert "a.run.json, which describes the run, is not next to the records" in made.words
    assert "its thresholds are unknown here" in made.words
    assert not made.all("rect", **{"class": "band"})


@pytest.mark.parametrize(
    ("session", "note"),
    [
        (
            {"ended": None, "exit_code": None, "videos": 3},
            "the run has not ended: 1 of 4 videos are on this page",
        ),
        ({"exit_code": 130, "videos": 3}, "the run was interrupted: 1 of 4 videos are on this page"),
        ({"exit_code": 3, "videos": 3}, "the run was interrupted: 1 of 4 videos are on this page"),
        ({"exit_code": 3, "kept": 0, "videos": 1}, ""),
    ],
)
def test_a_run_without_all_of_its_videos_is_reported(tmp_path, session, note):
    run = described()
    run["sessions"][-1] |= {"kept": 1, **session}
    words = page(tmp_path, video(), run=run).words
    assert (note or "1 video From") in words
    assert ("videos are on this page" in words) is bool(note)


@pytest.mark.parametrize(
    ("records", "run", "why"),
    [
        ([video()], {**described(), "id": "other"}, "another run"),
        ([video()], {"id": "r1"}, "was not written by this version of deepscan"),
        ([video()], [], "was not written by this version of deepscan"),
        ([video()], {**described(), "sessions": []}, "was not written by this version of deepscan"),
        # A run from before calibrations were recorded does not say that there is none.
        (
            [video()],
            without(described(), "model", "calibration"),
            "was not written by this version of deepscan",
        ),
        ([video(), video(run="r2")], described(), "two runs, r1 and r2"),
        ([without(video(), "verdict")], described(), "was not written by this version of deepscan"),
        ([video(verdict="authentic")], described(), "was not written by this version of deepscan"),
        ([{**video(), "score": "0.9"}], described(), "was not written by this version of deepscan"),
        ([{**video(), "score": 3.0}], described(), "was not written by this version of deepscan"),
        ([{**video(), "score": None}], described(), "was not written by this version of deepscan"),
        (
            [{**video(), "models": [{**MODEL, "verdict": "real", "score": 0.9, "calibrated": True}]}],
            described(),
            "was not written by this version",
        ),
        (
            [without(video(), "frames", 1, "quality")],
            described(),
            "was not written by this version of deepscan",
        ),
        ([{**video(), "score": float("nan")}], described(), "line 1, is not a record of this version"),
    ],
)
def test_records_not_of_one_run_of_this_version_are_refused(tmp_path, records, run, why):
    path = journal(tmp_path, *records, run=run)
    with pytest.raises(ContractError, match=why):
        write_page(path, tmp_path / "a.html", most=9)
    assert {file.name for file in tmp_path.iterdir()} == {"a.jsonl", "a.run.json"}


def test_an_incomplete_last_line_is_skipped(tmp_path):
    path = journal(tmp_path, video(), run=described())
    with path.open("a") as file:
        file.write(json.dumps(video(b"/v/b.mp4"))[:50])
    assert write_page(path, tmp_path / "a.html", most=9) == 1


def test_of_many_sessions_the_first_are_shown(tmp_path):
    run = described()
    run["sessions"] = [{**run["sessions"][0], "folder": f"/node{number}"} for number in range(30)]
    words = page(tmp_path, video(), run=run).words
    assert "30; these are the first 8" in words
    assert words.count("in folder") == 8 and "/node7" in words and "/node8" not in words


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("a/videos.jsonl", "a/videos.html"),
        ("a/run.v2.parquet", "a/run.v2.html"),
        ("a/run.v2/", "a/run.v2.html"),
        ("s3://bucket/runs/one/", "one.html"),
        ("s3://bucket", "bucket.html"),
    ],
)
def test_a_page_is_next_to_its_records(location, expected):
    assert str(default_page(location)) == expected


def test_the_page_of_the_current_folder_is_next_to_it(tmp_path, monkeypatch):
    (tmp_path / "run" / "parts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    assert default_page(".") == tmp_path / "run.html"
    monkeypatch.chdir(tmp_path / "run" / "parts")
    assert default_page("..") == tmp_path / "run.html"
