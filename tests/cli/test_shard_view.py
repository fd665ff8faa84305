"""What a shard of a run folder shows while it runs and when it ends."""

import pytest

from deepscan.cli import progress as module
from deepscan.cli.shard_view import ShardView
from deepscan.errors import Terminated
from deepscan.scanning.chunks import Shard
from deepscan.scanning.shard_job import ShardShare, ShardSummary
from tests.cli.test_scan_view import record
from tests.cli.test_train_view import Clock, log, screen, terminal

RUN = {"model": None, "parameters": {"explain": False}, "inputs": {"named": ["/videos"]}}


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def shown(console, clock, *, kept=0, owed=0, shard=(2, 3)):
    """A shard of four videos, of which `kept` have records already."""
    share = ShardShare(Shard(*shard), 2, 4, 12, frozenset({3}), 4 - kept, ["0" * 16] * bool(kept))
    view = ShardView("auto", "s3://bucket/run/", Shard(*shard), console=console)
    with view:
        view.loaded(RUN)
        view.shared(share)
        for name in "abcd"[kept:]:
            view.at_work(f"/videos/{name}.mp4".encode())
            clock.now += 12.0
            view.ended(record(f"{name}.mp4", "no_evidence"))
            view.at_work(None)
        view.written(4 - kept)
        if not owed:
            view.auditing(1, 6)
            view.auditing(6, 6)
    summary = ShardSummary(share=share, owed=owed, sealed=not owed)
    for _ in range(4):
        summary.count("ok", "no_evidence")
    view.show_summary(summary)
    return view


@pytest.mark.parametrize("console", [terminal(), log()], ids=["terminal", "log"])
def test_the_last_shard_says_that_the_run_is_complete(clock, console):
    shown(console, clock)
    lines = [line for line in screen(console.file.getvalue()) if line and "now " not in line]
    assert [line for line in lines if not line.startswith(("scanning", "checking"))] == [
        "shard 2/3: 4 videos in 2 chunks, of 12 in the run",
        "4 videos in 48 s, 5.0 per minute: 4 no evidence",
        "shard 2/3 is complete",
        "the run is complete and checked: 12 videos, one record each",
        "records: s3://bucket/run/",
        "to make a page of them: deepscan report s3://bucket/run/",
    ]


def test_a_continued_shard_says_what_was_there_and_what_others_owe(clock):
    console = log()
    shown(console, clock, kept=3, owed=5)
    text = console.file.getvalue()
    assert "3 videos already scanned, 1 to scan\n" in text
    assert "this session: 1 video in 12 s" in text
    assert "in total: 4 videos: 4 no evidence\n" in text
    assert text.endswith(
        "shard 2/3 is complete\nother shards still have 5 chunks of the run to scan\n"
        "records so far: s3://bucket/run/\n"
    )


def test_names_are_shown_without_the_folder_of_the_run(clock):
    console = log()
    shown(console, clock)
    assert "now /videos" not in console.file.getvalue()


def test_an_interrupted_shard_counts_what_is_in_the_run_folder(clock):
    view = shown(log(), clock, kept=1)
    assert view.interrupted(Terminated()) == "terminated: 4 of 4 videos of shard 2/3 are done"
    early = ShardView("none", "run/", Shard())
    assert early.interrupted(KeyboardInterrupt()) == "interrupted"
