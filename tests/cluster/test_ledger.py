"""Who gets which chunk, and what becomes of the chunks of workers that end."""

import pytest

from deepscan.cluster.ledger import MOST_LOST, ChunkLedger
from deepscan.scanning.chunks import Chunk, ManifestRow

OK = ("ok", "fake")


def ledger(count=3, deaths=None):
    rows = [(ManifestRow(b"/%d/a" % index), ManifestRow(b"/%d/b" % index)) for index in range(count)]
    chunks = [Chunk(index, pair, f"chunk{index}") for index, pair in enumerate(rows)]
    return ChunkLedger(iter(chunks), count, lambda name: (deaths or {}).get(name, 0))


def take(made, worker, *, idle=True):
    """Return the name of what a worker gets, with an exclamation mark if it is to be scanned alone."""
    task = made.take(worker, idle=idle)
    return task and task.chunk.name + "!" * task.alone


def test_each_chunk_is_given_once_and_counted_once():
    made = ledger()
    assert [take(made, worker) for worker in "abab"] == ["chunk0", "chunk1", "chunk2", None]
    assert (made.state().waiting, made.state().held) == (0, 3)
    made.finish("a", "chunk0", {OK: 2})
    made.finish("a", "chunk0", {OK: 2})
    made.finish("b", "chunk2", {OK: 2})  # that of another worker
    made.finish("gone", "chunk1", {OK: 2})
    assert (made.state().left, made.state().outcomes) == (2, {OK: 2})
    made.finish("a", "chunk2", {OK: 1, ("error", None): 1})
    made.finish("b", "chunk1", {OK: 2})
    assert (made.state().left, made.state().ended) == (0, 6)


def test_progress_counts_videos_of_unfinished_chunks_once():
    made = ledger()
    take(made, "a"), take(made, "b")
    assert made.report("a", 1)
    made.report("b", 1)
    assert made.state().ended == 2
    made.finish("a", "chunk0", {OK: 2})
    assert made.state().ended == 3
    made.release("b", died=True)
    assert made.state().ended == 2
    assert made.report("b", 5)
    assert made.state().ended == 2


def test_chunks_of_a_dead_worker_are_given_again_and_then_alone():
    made = ledger()
    assert [take(made, "a"), take(made, "a", idle=False)] == ["chunk0", "chunk1"]
    assert made.release("a", died=True)
    assert [take(made, "b"), take(made, "c")] == ["chunk0", "chunk1"]
    made.finish("c", "chunk1", {OK: 2})
    assert made.release("b", died=True)
    assert made.state().suspects == 2
    # Last, and only for a worker that scans nothing else.
    assert [take(made, "c"), take(made, "c", idle=False), take(made, "d")] == ["chunk2", None, "chunk0!"]
    # `scan_alone` counts from then on.
    assert made.release("d", died=True)
    assert take(made, "e") == "chunk0!"
    assert made.state().suspects == 2


def test_deaths_of_earlier_runs_count():
    made = ledger(deaths={"chunk0": 2, "chunk1": 1})
    assert [take(made, "a"), take(made, "b")] == ["chunk1", "chunk2"]
    made.release("a", died=True)
    assert [take(made, worker) for worker in "cdef"] == ["chunk0!", "chunk1!", None, None]


def test_a_worker_that_ends_with_an_error_leaves_its_chunks_without_blame():
    made = ledger(1)
    for _ in range(5):
        assert take(made, "a") == "chunk0"
        assert not made.release("a")
    assert made.state().suspects == 0


def test_a_chunk_that_was_on_many_lost_machines_is_suspected():
    made = ledger(1)
    for _ in range(MOST_LOST):
        assert take(made, "a") == "chunk0"
        assert not made.release("a", lost=True)
    for _ in range(2):
        assert take(made, "a") == "chunk0"
        assert made.release("a", lost=True)
    assert take(made, "a") == "chunk0!"


def test_after_a_stop_nothing_is_given_and_reports_end_the_workers():
    made = ledger()
    take(made, "a")
    made.stop()
    assert not made.report("a", 1)
    assert (take(made, "a"), take(made, "b")) == (None, None)


@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_ledger_has_nothing_left(count):
    made = ledger(count)
    assert made.state().left == count
    assert take(made, "a") == ("chunk0" if count else None)
