"""Test that the entries of a journal are found by video, and that only those that count are kept."""

from deepscan.scanning import originals
from deepscan.scanning.journal import JournalEntry
from deepscan.scanning.recorded import RecordedEntries


def entry(number, path):
    times = {"mtime_ns": 10**18 + number, "started": "2026", "etag": "e"}
    run = f"run{number % 2}"
    return JournalEntry(number * 100, 100, path, "ok", None, "0" * 64, number, run, **times)


def test_the_last_entry_of_a_video_counts_and_dropped_ones_are_not_kept(monkeypatch):
    monkeypatch.setattr(originals, "RECENT", 3)
    given = [entry(number, b"/v/%d.mp4" % (number % 7)) for number in range(10)]
    recorded = RecordedEntries(given)
    assert len(recorded) == 10 and recorded.runs == {"run0", "run1"}
    assert [recorded.find(b"/v/%d.mp4" % number) for number in range(7)] == [*given[7:10], *given[3:7]]
    assert recorded.find(b"/v/7.mp4") is None
    recorded.drop(b"/v/4.mp4")
    recorded.drop(b"/v/7.mp4")
    assert recorded.find(b"/v/4.mp4") is None
    kept = recorded.kept()
    assert list(kept) == [kept[at] for at in range(len(kept))] == [given[at] for at in (3, 5, 6, 7, 8, 9)]
    assert list(kept[1:3]) == [given[5], given[6]]


def test_no_entries():
    kept = RecordedEntries([]).kept()
    assert list(kept) == [] and len(kept) == 0
