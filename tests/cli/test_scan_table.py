"""The table of a scan: nothing is cut at any width, and no name is broken if it fits on a line."""

import os
from pathlib import Path

import pytest
from rich.cells import cell_len

from deepscan.cards import Calibration
from deepscan.cli.scan_table import WorstRows, scan_table
from deepscan.scanning.summary import ModelSummary, VideoSummary

CALIBRATION = Calibration("video", "hand-made", 10, "by hand", temperature=1.0, no_evidence=0.3, fake=0.85)
FOLDER = "/media/evidence of May/camera 2/"
LONG = "fake_dreamtalk_male_neutral_front_0_with_super_resolution_a12b3c.mp4"
NAMES = [
    "a.mp4",
    LONG,
    "sub/folder of its own/b.mp4",
    "WhatsApp Video 2024-01-02 at 10.11.12.mp4",
    "\u6f22\u5b57" * 12 + ".mp4",
    "\u05e9\u05dc\u05d5\u05dd 2024.mp4",
    "gpj.\u202e4pm.exe",
    "x" * 251 + ".mp4",
]


def row(name, score=0.95, verdict="fake", note="", persons=1, faces=32, **more):
    return VideoSummary(
        f"{FOLDER}{name}",
        more.pop("status", "ok"),
        verdict,
        score,
        note,
        persons,
        faces,
        32,
        **more,
    )


def shown(rows, width, **options):
    return scan_table(rows, width, **options).plain.split("\n")


@pytest.mark.parametrize("width", [20, 36, 50, 80, 120, 200])
def test_lines_fit_and_nothing_is_cut(width):
    notes = "the container states 900 frames, 812 could be decoded"
    lines = shown([row(name, note=notes) for name in NAMES], width)
    assert max(map(cell_len, lines)) <= width
    text = "".join("".join(lines).split())
    for name in NAMES[:-2]:
        assert "".join(name.split()) in text
    assert "gpj.\\u202e4pm.exe" in text and "x" * 251 not in lines
    assert text.count("0.95") == text.count("1personin32of32frames") == len(NAMES)
    assert text.count("812couldbedecoded") == len(NAMES)


@pytest.mark.parametrize("width", [50, 80])
def test_a_name_that_fits_on_a_line_is_not_broken(width):
    lines = shown([row(name) for name in NAMES], width)
    fitting = [name.rsplit("/", 1)[-1] for name in NAMES if cell_len(name) < width and "\u202e" not in name]
    assert len(fitting) >= 4
    for name in fitting:
        assert any(name in line for line in lines), name


def test_the_folder_is_shown_once_and_the_most_suspicious_video_first():
    lines = shown([row("b.mp4", 0.2, "no_evidence"), row("a.mp4")], 80)
    assert lines == [
        "in /media/evidence of May/camera 2/",
        "verdict      score  video  seen",
        "fake          0.95  a.mp4  1 person in 32 of 32 frames",
        "no evidence   0.20  b.mp4  1 person in 32 of 32 frames",
    ]


def test_the_current_folder_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [VideoSummary(f"{tmp_path}/{name}.mp4", "no_face", None, None, "", 0, 0, 1) for name in "ab"]
    assert shown(rows, 80) == ["verdict  score  video", *["no face         a.mp4", "no face         b.mp4"]]
    assert shown(rows[:1], 80)[1].endswith("a.mp4")
    monkeypatch.chdir(os.sep)
    assert shown(rows, 300)[0] == f"in {str(tmp_path)[1:]}/"


def test_a_narrow_terminal_shows_persons_below_the_name():
    assert shown([row("a.mp4"), row("b.mp4", persons=2, faces=42)], 50) == [
        "in /media/evidence of May/camera 2/",
        "verdict  score  video",
        "fake      0.95  a.mp4",
        "    1 person in 32 of 32 frames",
        "fake      0.95  b.mp4",
        "    2 persons, 42 faces in 32 frames",
    ]


def test_a_longer_name_does_not_move_the_columns_of_others():
    longer = f"{'n' * 50}.mp4"
    lines = shown([row("a.mp4"), row(longer, 0.9), row("c.mp4", 0.88)], 80)
    column = lines[1].index("seen")
    assert lines[2].index("1 person") == lines[5].index("1 person") == column
    assert lines[3:5] == [f"fake      0.90  {longer}", f"{' ' * column}1 person in 32 of 32 frames"]
    # A slightly longer name moves the next column.
    rows = [row("a.mp4", persons=2, faces=64), row("n" * 34, 0.9), row("c.mp4", 0.88)]
    assert f"fake      0.90  {'n' * 34}  1 person in 32 of 32 frames" in shown(rows, 80)
    (own,) = [line for line in shown([row(LONG)], 80) if LONG in line]
    assert own == f"    {LONG}", "on its own line"


def test_a_score_is_not_rounded_past_a_threshold():
    rows = [row("a.mp4", 0.8496, "inconclusive"), row("b.mp4", 0.2999, "no_evidence"), row("c.mp4", 0.851)]
    scores = [line.split()[-9] for line in shown(rows, 80, calibration=CALIBRATION)[2:]]
    assert scores == ["0.85", "0.8496", "0.2999"]


def test_a_video_whose_results_were_copied_names_the_equal_one():
    rows = [row("a.mp4"), row("b.mp4", note="dark", copied_from=f"{FOLDER}a.mp4")]
    lines = shown(rows, 80)
    assert [line.strip() for line in lines[-2:]] == ["dark", "same content as a.mp4"]
    (alone,) = [line for line in shown(rows[1:], 80) if "same content" in line]
    assert alone.strip() == f"same content as {FOLDER}a.mp4"


def test_hidden_rows_are_counted():
    lines = shown([row(f"{at}.mp4") for at in range(7)], 80, most=3, out="out.jsonl")
    assert len(lines) == 2 + 3 + 1
    assert lines[-1] == "... and 4 more in out.jsonl"


def test_of_many_videos_only_those_that_are_shown_are_kept():
    rows = WorstRows(3)
    for at in range(1000):
        score = (at * 7919) % 1000 / 1000
        rows.add(row(f"{at:03}.mp4", score, agreement=(2 if at % 4 else 1, 2)))
        assert len(rows._rows) <= 60
    lines = rows.table(80, out=Path("out.jsonl"), calibration=None).plain.split("\n")
    assert [line.split()[1] for line in lines[2:5]] == ["1.00", "1.00", "1.00"]
    assert [int(line.split()[2][:3]) * 7919 % 1000 for line in lines[2:5]] == [999, 998, 997]
    assert lines[-1] == "... and 997 more in out.jsonl"
    assert (rows.count, rows.judged, rows.voted, rows.agreed) == (1000, True, 1000, 750)


@pytest.mark.parametrize("width", [36, 80])
def test_the_verdicts_of_several_models_are_below(width):
    models = (ModelSummary("convnet", "fake", 0.91, True), ModelSummary("mine", "inconclusive", 0.5, True))
    lines = shown([row("a.mp4", models=models, agreement=(1, 2))], width)
    text = "\n".join(lines)
    assert "convnet 0.91 fake" in text and "mine 0.50 inconclusive" in text and "1/2" in text
    assert max(map(len, lines)) <= width


def test_a_right_to_left_name_has_nothing_next_to_it():
    lines = shown([row("\u05e9\u05dc\u05d5\u05dd.mp4"), row("a.mp4")], 120)
    (mirrored,) = [line for line in lines if "\u05e9" in line]
    assert mirrored.endswith(".mp4"), "figures would be drawn on its other side"
