"""Test processes that hang, crash, are killed or never start, and changing files: each costs one job only."""

import os
import signal
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FrameReady
from deepscan.media.pool import DecodePool
from tests.media.conftest import STUB, children, collect, drain, run

# Other people's files, which not every checkout has.
CASES = Path(__file__).parents[3] / "shared" / "cases"


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_a_hang_is_ended_at_the_deadline(stubbed, decoder):
    with DecodePool(DecodeOptions(timeout=1.5, decoder=decoder), 2, STUB) as pool:
        start = time.monotonic()
        stuck, fine, after = run(pool, stubbed("pyav-hang@4"), stubbed("fine"), stubbed("after"))
        took = time.monotonic() - start
    assert stuck.report.status == "timeout"
    assert stuck.report.detail == "no answer within 1.5 s"
    assert stuck.numbers == list(range(4))
    assert stuck.report.decoded == len(stuck.numbers)
    assert stuck.report.sha256 is not None
    assert fine.report.status == after.report.status == "ok"
    assert 1.5 <= took < 15, "the deadline, and the start of a process on a busy machine"


@pytest.mark.parametrize(
    ("mishap", "status", "message"),
    [
        ("crash", "decode_error", "the decoding process was ended by SIGSEGV"),
        # If it is killed twice, the file is not to blame.
        ("killed", "error", "was killed from outside, possibly for lack of memory"),
    ],
)
def test_a_process_that_dies_costs_one_video(stubbed, mishap, status, message, caplog):
    with DecodePool(DecodeOptions(), 1, STUB) as pool:
        lost, after = run(pool, stubbed(f"pyav-{mishap}@7"), stubbed("after"))
    assert lost.report.status == status
    assert message in lost.report.detail
    assert lost.numbers == list(range(7))
    assert after.report.status == "ok"
    assert all(f"pyav-{mishap}@7" in line for line in caplog.messages)
    assert len(caplog.messages) == (2 if mishap == "killed" else 1)


def test_a_worker_that_cannot_start(stubbed):
    with DecodePool(DecodeOptions(), 1, [*STUB, "unable"]) as pool:
        outs = run(pool, stubbed("a"), stubbed("b"))
    assert [out.report.status for out in outs] == ["error", "error"]
    assert "could not start: it ended with exit code 7" in outs[0].report.detail


def test_starting_a_process_does_not_count_as_the_file_s_time(stubbed):
    # The process for the first file is ready after 3 s, the second file finds it ready.
    with DecodePool(DecodeOptions(frames=2, timeout=2.5), 1, [*STUB, "late=3"]) as pool:
        outs = run(pool, stubbed("a"), stubbed("b"))
    assert [out.report.status for out in outs] == ["ok", "ok"]


def test_a_process_that_never_starts(stubbed, monkeypatch):
    monkeypatch.setattr("deepscan.media.jobs.START_LIMIT", 0.3)
    with DecodePool(DecodeOptions(), 1, [*STUB, "late=1000"]) as pool:
        outs = run(pool, stubbed("a"), stubbed("b"))
    assert [out.report.status for out in outs] == ["error"] * 2
    assert outs[1].report.detail == "the decoding process did not start"


def test_a_process_killed_from_outside_is_replaced_without_duplicates(stubbed):
    with DecodePool(DecodeOptions(), 1, STUB) as pool:
        (out,) = run(pool, stubbed("pyav-once@12"))
    assert out.report.status == "ok"
    assert out.indices == out.numbers == list(range(30))
    assert "was killed from outside, possibly for lack of memory" in out.report.warnings[0]
    assert out.report.decoder == "pyav"


def test_idle_processes_that_were_killed_are_replaced(media):
    before = children()
    with DecodePool(DecodeOptions(frames=4), 2) as pool:
        run(pool, media("plain.mp4"), media("plain.mp4"))
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        # The pool does not know yet: its first message finds no process.
        outs = run(pool, *[media("plain.mp4")] * 3)
    assert [(out.report.status, out.report.warnings) for out in outs] == [("ok", ())] * 3
    assert children() == before


def test_a_file_that_changes_while_it_is_read(stubbed):
    path = stubbed("changing")
    with DecodePool(DecodeOptions(buffer_bytes=1), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(path)))
        unreleased = collect(pool, FrameReady, 2)
        path.open("ab").write(b"more")
        for event in unreleased:
            event.release()
        report = drain(pool)[-1].report
    assert report.status == "changed"
    assert "its size went" in report.detail


def test_workers_are_replaced_after_a_number_of_files(media):
    before = children()
    with DecodePool(DecodeOptions(frames=1, recycle_after=2), 1) as pool:
        seen = set()
        for _ in range(5):
            run(pool, media("plain.mp4"))
            seen |= children() - before
    assert len(seen) == 3, "two files by the first process, two by the second"
    assert children() == before, "no process is left, dead or alive"


def test_workers_ignore_ctrl_c(media):
    with DecodePool(DecodeOptions(buffer_bytes=1), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("plain.mp4"))))
        unreleased = collect(pool, FrameReady, 2)
        for pid in children():
            os.kill(pid, signal.SIGINT)
        for event in unreleased:
            event.release()
        assert drain(pool)[-1].report.status == "ok"


def scrambled(path, source, seed):
    """Copy a file with some of the bytes after its header overwritten."""
    rng = np.random.default_rng(seed)
    data = bytearray(source.read_bytes())
    for at in rng.integers(len(data) // 5, len(data) - 40, 4):
        data[at : at + 12] = rng.integers(0, 256, 12, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def fingerprints(path, times):
    """Decode a file several times in two processes, and return the result of each time."""
    made: dict[int, list[object]] = {number: [] for number in range(times)}
    with DecodePool(DecodeOptions(frames=16), 2) as pool:
        waiting = list(made)
        while waiting or pool.busy:
            while waiting and pool.idle:
                pool.submit(DecodeJob(waiting.pop(), os.fsencode(path)))
            for event in pool.poll(0.5):
                if isinstance(event, FrameReady):
                    frame = event.frame
                    made[event.job.id].append((frame.index, frame.pts, zlib.crc32(frame.image.tobytes())))
                    event.release()
                elif isinstance(event, Ended):
                    report = event.report
                    made[event.job.id].append((report.status, report.detail, report.warnings, report.decoder))
    return list(made.values())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["plain.mkv", "open.mkv", "vp9.webm", "damaged.mp4", "plain.avi"])
def test_a_damaged_file_gives_the_same_result_in_every_run(media, tmp_path, name, seed):
    first, *others = fingerprints(scrambled(tmp_path / name, media(name), seed), 4)
    assert all(other == first for other in others)


@pytest.mark.parametrize("path", sorted(CASES.glob("*.[jm][po][gv]")), ids=lambda path: path.name)
def test_damaged_files_that_once_differed_between_runs(path):
    first, *others = fingerprints(path, 6)
    assert all(other == first for other in others)
