"""What a scan shows while it runs and when it ends."""

import io
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from deepscan.cli import progress as module
from deepscan.cli.scan_view import ScanView, about_model
from deepscan.scanning.paths import ScanPaths
from deepscan.scanning.run import RunSummary
from tests import toy
from tests.cli.test_train_view import Clock, log, looks, screen, terminal, words
from tests.command import SAMPLES, deepscan

MODEL = {"calibration": {"fake": 0.845, "no_evidence": 0.29}, "error_rates": []}
RATES = {
    "data": "clips of the web",
    "level": "video",
    "reals": 37,
    "reals_called_fake": 2,
    "fakes": 18,
    "fakes_called_fake": 5,
    "fakes_no_evidence": 0,
}


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def record(name, verdict=None, status="ok", detail=""):
    score = {"fake": 0.9, "inconclusive": 0.5, "no_evidence": 0.1}.get(verdict)
    return {
        "path": f"/videos/{name}",
        "status": status,
        "detail": detail,
        "verdict": verdict,
        "score": score,
        "warnings": [],
        "tracks": [],
        "frames": [],
    }


def shows(console, clock, style="auto", kept=(), out=Path("out.jsonl")):
    """A scan of four videos, one of which fails."""
    view = ScanView(style, out, console=console)
    view.show_inputs(ScanPaths([f"/videos/{name}.mp4".encode() for name in "abcd"]))
    view.planned(4, iter(kept))
    ends = [
        record("a.mp4", "fake"),
        record("b.mp4", "inconclusive"),
        record("c.mp4", status="timeout", detail="gave no answer within 120 s"),
        record("d.mp4", "no_evidence"),
    ]
    for one in ends:
        view.at_work(one["path"].encode())
        clock.now += 12.0
        view.ended(one)
        clock.now += 0.2
        view.at_work(None)
    return view


def said(console):
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [50, 80])
def test_a_terminal_shows_outcomes_and_the_current_video(clock, width):
    console = terminal(width)
    view = shows(console, clock)
    drawn = [words(line) for line in looks(console)]
    assert "now d.mp4" in drawn, "the folder that all are in need not be said of each"
    assert "1 fake, 1 inconclusive, 1 timed out" in drawn
    assert "c.mp4: timed out: gave no answer within 120 s" in " ".join(drawn)
    assert any(re.fullmatch(r"scanning 3/4 (4.9 videos/min )?12 s left", line) for line in drawn), drawn
    assert max(map(len, looks(console))) <= width
    view._close()
    assert not any("scanning" in line for line in screen(console.file.getvalue(), width))


def test_long_lines_are_wrapped_not_cut(clock):
    console = terminal(50)
    view = ScanView("auto", None, console=console)
    view.planned(9000, iter(()))
    view._outcomes = Counter({"fake": 1200, "inconclusive": 3000, "no_evidence": 3100, "decode_error": 700})
    clock.now += 1
    view.at_work(f"/videos/{'n' * 60}.mp4".encode())
    lines = screen(console.file.getvalue(), 50)
    assert "1,200 fake, 3,000 inconclusive," in lines
    assert "3,100 no evidence, 700 not decoded" in lines
    assert "".join(lines).replace(" ", "").count("n" * 60) == 1


def test_time_left_grows_during_a_long_video_without_constant_redrawing(clock):
    console = terminal()
    view = ScanView("auto", None, console=console)
    view.planned(2, iter(()))
    view.at_work(b"/videos/a.mp4")
    clock.now += 10
    view.ended(record("a.mp4", "fake"))
    view.at_work(b"/videos/b.mp4")
    for _ in range(100):
        clock.now += 0.25
        view.at_work(None)
    left = [int(found) for line in looks(console) for found in re.findall(r"(\d+) s left", line)]
    assert left[0] == 10 and left[-1] in (34, 35) and left == sorted(left)
    assert len(left) <= 30


def test_a_log_has_complete_plain_lines(clock):
    console = log()
    shows(console, clock)
    lines = said(console)
    assert "scanning 1/4 5.0 videos/min 36 s left; 1 fake" in lines
    assert "scanning 4/4 4.9 videos/min 0 s left; 1 fake, 1 inconclusive, 1 no evidence, 1 timed out" in lines
    assert "\x1b" not in console.file.getvalue()


def test_none_shows_nothing(clock):
    console = log()
    shows(console, clock, "none")
    assert console.file.getvalue() == ""


def test_no_color_removes_colour_but_no_lines(clock, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=80)
    shows(console, clock)
    assert "1 fake" in console.file.getvalue()
    assert not re.search(r"\x1b\[[\d;]*3\d", console.file.getvalue())


def test_the_summary_counts_this_session_and_all(clock):
    console = log()
    kept = [record(f"kept{at}.mp4", "no_evidence") for at in range(68)]
    view = shows(console, clock, kept=kept)
    summary = RunSummary(Counter(ok=71, timeout=1), Counter(fake=1, inconclusive=1, no_evidence=69))
    view.show_summary(summary)
    lines = said(console)
    assert "68 videos already scanned, 4 to scan" in lines
    became = "1 fake, 1 inconclusive, 1 no evidence, 1 timed out"
    assert f"this session: 4 videos in 49 s, 4.9 per minute: {became}" in lines
    assert "in total: 72 videos: 1 fake, 1 inconclusive, 69 no evidence, 1 timed out" in lines


def test_without_an_earlier_session_the_summary_has_one_count(clock):
    console = log()
    view = shows(console, clock)
    view.show_summary(RunSummary(Counter(ok=3, timeout=1), Counter(fake=1, inconclusive=1, no_evidence=1)))
    became = "1 fake, 1 inconclusive, 1 no evidence, 1 timed out"
    assert f"4 videos in 49 s, 4.9 per minute: {became}" in said(console)
    assert "in all" not in console.file.getvalue()


def test_a_model_is_shown_with_thresholds_and_error_rates():
    assert about_model("toy", {**MODEL, "error_rates": [RATES]}).startswith(
        "toy: fake from 0.84, no evidence below 0.29, inconclusive in between. On clips of the web, "
        "2 of 37 real videos and 5 of 18 fake ones were called fake"
    )


def test_a_card_without_error_rates_or_thresholds_says_so():
    assert "Its card has no error rates" in about_model("toy", MODEL)
    # Run files of earlier versions have no error rates.
    assert "no error rates" in about_model("toy", {"calibration": MODEL["calibration"]})
    assert "every verdict is inconclusive" in about_model("toy", {"calibration": None})


def test_engine_and_precision_are_shown_only_with_verbose(tmp_path):
    model = toy.model(tmp_path / "toy")
    command = ("scan", SAMPLES / "real_hopper.mp4", "--model", model, "--frames", "1")
    plain, verbose = deepscan(*command), deepscan(*command, "-v")
    for word in ("onnx", "cpu", "fp32", "qtfp"):
        assert word not in plain.err
        assert word in verbose.err
    assert "toy: fake from 0.70, no evidence below 0.30" in plain.err
    assert len(plain.records) == len(verbose.records) == 1
