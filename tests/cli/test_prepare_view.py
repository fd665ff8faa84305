"""The notes on a prepared data set, whatever the names of its videos."""

from pathlib import Path

import pytest

from deepscan.cli.prepare_view import MOST_REASONS, PrepareView
from deepscan.data.crops.prepare import Prepared


def line(name, status="ok", detail="", **more):
    kept = {"kind": "fake", "split": "test", "compression": "", "name": name, "warnings": [], "faces": 2}
    return {**kept, "status": status, "detail": detail, **more}


def notes(capsys, *lines, style="plain", **more):
    prepared = Prepared(
        Path("x.json"),
        Path("x.videos.jsonl"),
        **{"videos": 1, "repeated": 0, "same": (), **more},
        lines=lines,
    )
    with PrepareView(style, "x", Path("raw")) as view:
        view.planned(len(lines), 0)
        for each in lines:
            view.ended(each)
    capsys.readouterr()
    view.show_summary(prepared)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_identical_videos_are_counted_and_two_named(capsys):
    lines = [line(name) for name in "abcde"]
    (note,) = [row for row in notes(capsys, *lines, same=((lines[0], lines[3]),)) if "identical" in row]
    assert note == "used, but identical to another: 2 (fake/test/a = fake/test/d)"
    (note,) = [
        row for row in notes(capsys, *lines, same=(tuple(lines[:3]), tuple(lines[3:]))) if "identical" in row
    ]
    assert note == "used, but identical to another: 5 (fake/test/a = fake/test/b, ...)"
    assert not any("identical" in row for row in notes(capsys, *lines))


def test_control_characters_in_names_are_escaped(capsys):
    rows = notes(capsys, line("red\x1b[31m\nline", "error", "bad\rness"), line("good"))
    assert "dropped: 1 error: bad\\rness (fake/test/red\\x1b[31m\\nline)" in rows


def test_frequent_reasons_are_shown_and_the_rest_counted(capsys):
    lines = [line(f"v{at}", "error", f"reason {at}") for at in range(MOST_REASONS + 2)]
    rows = notes(capsys, *lines, line("w", "error", "reason 9"))
    dropped = [row for row in rows if row.startswith("dropped")]
    assert dropped[0] == "dropped: 2 error: reason 9 (fake/test/v9, ...)"
    assert dropped[1:] == [
        *(f"dropped: 1 error: reason {at} (fake/test/v{at})" for at in range(MOST_REASONS - 1)),
        "dropped for other reasons: 2",
    ]


@pytest.mark.parametrize(("style", "rows"), [("plain", True), ("none", False)])
def test_nothing_is_shown_without_need(capsys, style, rows):
    assert bool(notes(capsys, line("a"), style=style)) == rows
