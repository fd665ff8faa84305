"""The output of `deepscan verify`, line by line."""

from pathlib import Path

import pytest

from deepscan.cli.verify import report_lines
from deepscan.scanning.model_check import Finding
from deepscan.scanning.verification import Verification

RUN = {
    "id": "b9cad9c86523",
    "tool": {"version": "0.1.0"},
    "custody": {"case": "2026-17", "exhibit": None},
    "sessions": [{"ended": "2026-11-30T08:49:08.743Z"}],
}
MEANING = "What was found is computed again from this record's own frames: one of both was changed by hand."


def lines_of(findings, checked, width=80, run=RUN):
    result = Verification(run)
    result.findings += findings
    result.checked |= checked
    return list(report_lines(Path("out.jsonl"), result, width))


def test_matches_are_counted_part_by_part():
    lines = lines_of([], {"records file": (1, 1), "videos": (5000, 5000)})
    assert lines[:6] == [
        "run b9cad9c86523 by deepscan 0.1.0, ended 2026-11-30 08:49:08 UTC",
        "case 2026-17",
        "",
        "ok  records file      1 of 1 match",
        "ok  videos            5,000 of 5,000 match",
        "out.jsonl: everything matches",
    ]


@pytest.mark.parametrize("width", [50, 80])
def test_a_mismatch_shows_recorded_and_found_value_and_its_meaning(width):
    finding = Finding("mismatch", "/a\x1b[31m.mp4", "verdict", "no_evidence", "fake", MEANING)
    missing = Finding("missing", "/b.mp4", "the video")
    lines = lines_of([finding, missing], {"scores, verdicts": (71, 72)}, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "DOES NOT MATCH: /a\\x1b[31m.mp4 verdict recorded no_evidence found fake What was found" in text
    assert "MISSING: /b.mp4" in text and MEANING in text
    assert "-- scores, verdicts 71 of 72 match" in text
    assert "out.jsonl: 1 does not match, 1 could not be checked" in text


def test_an_unfinished_run_is_shown_as_such():
    run = {**RUN, "sessions": [{"ended": None}]}
    assert lines_of([], {}, run=run)[0] == "run b9cad9c86523 by deepscan 0.1.0, not ended"
