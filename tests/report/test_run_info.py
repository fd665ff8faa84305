"""What a page says of its run, and which records it refuses."""

import json

import pytest

from deepscan.errors import ContractError
from deepscan.report.page import write_page
from tests.report.made import MODEL, Page, described, journal, page, video


def without(run, *keys):
    *above, last = keys
    part = run
    for key in above:
        part = part[key]
    del part[last]
    return run


def test_each_session_of_a_run_is_told_whole(tmp_path):
    run = described()
    run["sessions"].insert(0, {**run["sessions"][0], "folder": "/elsewhere", "exit_code": 130})
    words = page(tmp_path, video(), run=run).words
    assert words.count("in folder") == words.count("s, Python 3, 2 cores") == 2
    assert "/elsewhere" in words
    assert "exit code 130" in words


def test_without_the_runs_file_it_says_what_is_not_known(tmp_path):
    path = journal(tmp_path, video())
    write_page(path, tmp_path / "a.html", most=9)
    made = Page(tmp_path / "a.html")
    assert "a.run.json, which describes the run, is not beside the records" in made.words
    assert "its thresholds are not known here" in made.words
    assert not made.all("rect", **{"class": "band"})


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ({"ended": None, "exit_code": None, "videos": 3}, "the run has not ended: 1 of 4 videos are here"),
        ({"exit_code": 130, "videos": 3}, "the run was cut short: 1 of 4 videos are here"),
        ({"exit_code": 3, "videos": 3}, "the run was cut short: 1 of 4 videos are here"),
        ({"exit_code": 3, "kept": 0, "videos": 1}, ""),
    ],
)
def test_a_run_without_all_of_its_videos_is_told_of(tmp_path, session, said):
    run = described()
    run["sessions"][-1] |= {"kept": 1, **session}
    words = page(tmp_path, video(), run=run).words
    assert (said or "1 video From") in words
    assert ("videos are here" in words) is bool(said)


@pytest.mark.parametrize(
    ("records", "run", "why"),
    [
        ([video()], {**described(), "id": "other"}, "another run"),
        ([video()], {"id": "r1"}, "does not describe a run as this version does"),
        ([video()], [], "does not describe a run as this version does"),
        ([video()], {**described(), "sessions": []}, "does not describe a run as this version does"),
        # a run of before calibrations were stated says nothing of them, which is not that there is none
        ([video()], without(described(), "model", "calibration"), "does not describe a run"),
        ([video(), video(run="r2")], described(), "two runs, r1 and r2"),
        ([without(video(), "verdict")], described(), "not as this version writes it"),
        ([video(verdict="authentic")], described(), "not as this version writes it"),
        ([{**video(), "score": "0.9"}], described(), "not as this version writes it"),
        ([{**video(), "score": 3.0}], described(), "not as this version writes it"),
        ([{**video(), "score": None}], described(), "not as this version writes it"),
        (
            [{**video(), "models": [{**MODEL, "verdict": "real", "score": 0.9, "calibrated": True}]}],
            described(),
            "not as this version writes it",
        ),
        ([without(video(), "frames", 1, "quality")], described(), "not as this version writes it"),
        ([{**video(), "score": float("nan")}], described(), "line 1, is not a record of this version"),
    ],
)
def test_what_is_not_of_one_run_of_this_version_is_refused(tmp_path, records, run, why):
    path = journal(tmp_path, *records, run=run)
    with pytest.raises(ContractError, match=why):
        write_page(path, tmp_path / "a.html", most=9)
    assert {file.name for file in tmp_path.iterdir()} == {"a.jsonl", "a.run.json"}


def test_a_torn_last_line_is_left_out(tmp_path):
    path = journal(tmp_path, video(), run=described())
    with path.open("a") as file:
        file.write(json.dumps(video(b"/v/b.mp4"))[:50])
    assert write_page(path, tmp_path / "a.html", most=9) == 1
