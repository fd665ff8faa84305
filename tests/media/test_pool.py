"""Test that every job ends exactly once, whatever the file."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepscan.errors import UsageError
from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FrameReady, Hashed
from deepscan.media.pool import DecodePool
from tests import awkward
from tests.media.conftest import collect, drain, run


def test_frames_times_and_report(media):
    with DecodePool(DecodeOptions(frames=8), 1) as pool:
        (out,) = run(pool, media("vfr.mp4"))
    assert out.indices == out.numbers == [0, 3, 6, 9, 13, 16, 19, 23]
    assert out.times == pytest.approx([awkward.vfr_times()[index] for index in out.indices], abs=1e-3)
    report = out.report
    assert (report.status, report.detail, report.warnings) == ("ok", "", ())
    assert (report.asked, report.decoded) == (8, 8)
    assert report.size == media("vfr.mp4").stat().st_size
    assert report.mtime_ns == media("vfr.mp4").stat().st_mtime_ns
    assert len(report.sha256) == 64
    assert report.info == out.info
    assert set(report.seconds) == {
        *("hash", "probe", "decode", "wait"),
        *("hash_cpu", "probe_cpu", "decode_cpu"),
    }


def test_a_job_may_open_another_file_than_the_one_it_names(media, tmp_path):
    copy = os.memfd_create("copy")
    try:
        os.write(copy, media("plain.mp4").read_bytes())
        source = f"/proc/{os.getpid()}/fd/{copy}".encode()
        jobs = [
            DecodeJob(0, b"s3://bucket/clip.mp4", file=source),
            DecodeJob(1, b"s3://bucket/gone.mp4", file=os.fsencode(tmp_path / "gone")),
        ]
        with DecodePool(DecodeOptions(frames=4), 2) as pool:
            for job in jobs:
                pool.submit(job)
            ended = {event.job.path: event.report for event in drain(pool) if isinstance(event, Ended)}
    finally:
        os.close(copy)
    good, bad = (ended[job.path] for job in jobs)
    assert (good.status, good.decoded, good.size) == ("ok", 4, media("plain.mp4").stat().st_size)
    assert good.mtime_ns is None, "the time is that of the copy"
    assert (bad.status, bad.detail) == ("error", "the file does not exist")


def asking(pool, path, number=0):
    """Submit a job that asks, and return it once it is hashed."""
    job = DecodeJob(number, os.fsencode(path), ask=True)
    pool.submit(job)
    (event,) = collect(pool, Hashed)
    assert event.job is job and event.sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert (event.size, event.mtime_ns) == (os.stat(path).st_size, os.stat(path).st_mtime_ns)
    assert set(event.seconds) == {"hash", "hash_cpu"}
    return job


def test_a_job_that_asks_goes_on_when_it_is_answered(media):
    with DecodePool(DecodeOptions(frames=4, timeout=1), 1) as pool:
        job = asking(pool, media("plain.mp4"))
        # The time until the answer does not count.
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert pool.poll(0.2) == []
        assert (pool.busy, pool.idle) == (1, 0)
        pool.answer(job, decode=True)
        *_, ended = drain(pool)
    assert (ended.report.status, ended.report.decoded) == ("ok", 4)


def test_a_job_that_is_dropped_frees_its_process_at_once(media):
    with DecodePool(DecodeOptions(frames=4), 1) as pool:
        (process,) = pool._tasks
        for number in range(3):
            pool.answer(asking(pool, media("plain.mp4"), number), decode=False)
            assert pool.idle == 1
        pool.submit(DecodeJob(9, os.fsencode(media("vfr.mp4"))))
        events = drain(pool)
        assert [*pool._tasks] == [process], "it is the same process"
    assert {event.job.id for event in events} == {9}
    assert events[-1].report.status == "ok"


def test_a_process_is_replaced_after_enough_jobs_that_were_dropped(media):
    with DecodePool(DecodeOptions(recycle_after=2), 1) as pool:
        (first,) = pool._tasks
        for number in range(2):
            pool.answer(asking(pool, media("plain.mp4"), number), decode=False)
        (second,) = pool._tasks
    assert second is not first


def test_a_process_that_waits_for_an_answer_ends_with_its_parent(media):
    program = """
import os, sys, time
from deepscan.media.jobs import DecodeJob, DecodeOptions, Hashed
from deepscan.media.pool import DecodePool
pool = DecodePool(DecodeOptions(), 1)
pool.submit(DecodeJob(0, os.fsencode(sys.argv[1]), ask=True))
while not any(isinstance(event, Hashed) for event in pool.poll(1.0)):
    pass
print(next(iter(pool._tasks)).pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, media("plain.mp4")], capture_output=True, timeout=60, check=False
    )
    pid, end = int(done.stdout), time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < end, "it still waits"
        time.sleep(0.05)


def test_a_process_that_is_killed_while_it_waits_for_an_answer_is_replaced(media):
    with DecodePool(DecodeOptions(frames=4), 1) as pool:
        job = asking(pool, media("plain.mp4"))
        os.kill(next(iter(pool._tasks)).pid, signal.SIGKILL)
        (again,) = collect(pool, Hashed)
        assert again.job is job
        pool.answer(job, decode=True)
        *_, ended = drain(pool)
    assert (ended.report.status, ended.report.decoded) == ("ok", 4)


def test_an_answer_that_comes_while_another_process_takes_over_is_not_lost(media):
    with DecodePool(DecodeOptions(frames=4), 1) as pool:
        job = asking(pool, media("plain.mp4"))
        (process,) = pool._tasks
        os.kill(process.pid, signal.SIGKILL)
        while process in pool._tasks:
            assert not any(isinstance(event, Hashed) for event in pool.poll(0.0))
        pool.answer(job, decode=True)
        *_, ended = drain(pool)
    assert (ended.report.status, ended.report.decoded) == ("ok", 4)


def test_a_copy_whose_hash_is_known_is_not_hashed(media):
    path = os.fsencode(media("plain.mp4"))
    with DecodePool(DecodeOptions(frames=4), 1) as pool:
        pool.submit(DecodeJob(0, b"s3://bucket/clip.mp4", file=path, sha256="0" * 64))
        *_, ended = drain(pool)
    assert (ended.report.status, ended.report.sha256) == ("ok", "0" * 64)
    with pytest.raises(ValueError, match="copy"):
        DecodeJob(0, path, sha256="0" * 64)


def test_time_until_frames_are_released_does_not_count_as_decoding(media):
    with DecodePool(DecodeOptions(frames=8, buffer_bytes=1), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("plain.mp4"))))
        first = collect(pool, FrameReady, 2)
        time.sleep(1.0)
        for event in first:
            event.release()
        (ended,) = [event for event in drain(pool) if isinstance(event, Ended)]
    seconds = ended.report.seconds
    # Two frames fit. Until they are released, there is no room for the third.
    assert seconds["wait"] > 0.9
    # Decoding thirty frames of 160 x 96 pixels takes a hundredth of that.
    assert 0 < seconds["decode"] < 0.9


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("one.mp4", "ok", ""),
        ("still.png", "ok", ""),
        ("anim.gif", "ok", ""),
        ("av1.webm", "ok", ""),
        ("truncated.mp4", "ok", ""),
        ("stump.mp4", "decode_error", "too few decodable frames"),
        ("huge.png", "unsupported", "exceeds the limit"),
    ],
)
def test_statuses(media, pools, name, status, message):
    (out,) = run(pools("auto"), media(name))
    assert out.report.status == status
    assert message in out.report.detail
    assert bool(out.indices) == (status == "ok")
    assert "\n" not in out.report.detail


def test_paths_that_are_not_regular_files(pools, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    paths = [tmp_path / "fifo", tmp_path, tmp_path / "absent", b"/dev/zero"]
    outs = run(pools("auto"), *paths)
    assert [out.report.status for out in outs] == ["error"] * 4
    assert [out.report.sha256 for out in outs] == [None] * 4


@pytest.mark.parametrize(
    "name", [b"caf\xe9.mp4", b"http:a.mp4", b"%03d.mp4", b"new\nline.mp4", b"'q\"uote.mp4", b"concat:a|b.mp4"]
)
def test_awkward_names(media, pools, tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    shutil.copy(media("plain.mp4"), path)
    (out,) = run(pools("auto"), path)
    assert out.report.status == "ok"
    assert out.numbers == list(range(30))


def test_too_short(media):
    with DecodePool(DecodeOptions(min_frames=31), 1) as pool:
        out, image = run(pool, media("plain.mp4"), media("still.png"))
    assert out.report.status == image.report.status == "too_short"
    assert out.report.detail == "30 decodable frames, fewer than 31"
    assert out.report.info.frames_decodable == 30
    assert out.indices == []


def test_a_pool_accepts_one_job_per_worker(media):
    with DecodePool(DecodeOptions(), 2) as pool:
        assert (pool.idle, pool.busy) == (2, 0)
        for number in range(2):
            pool.submit(DecodeJob(number, os.fsencode(media("plain.mp4"))))
        assert (pool.idle, pool.busy) == (0, 2)
        with pytest.raises(RuntimeError, match="idle"):
            pool.submit(DecodeJob(2, b"x"))


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"timeout": 0.0}, {"recycle_after": 0}])
def test_options_check_themselves(wrong):
    with pytest.raises(ValueError, match="must be"):
        DecodeOptions(**wrong)


def test_an_unknown_decoder_is_refused_with_the_choices():
    with pytest.raises(UsageError, match="'opencv'") as caught:
        DecodeOptions(decoder="opencv")
    assert caught.value.hint == "choose from: auto, decord, pyav, pillow"


def test_a_job_with_indices_gets_those_frames_up_to_the_end(media):
    frames = []
    with DecodePool(DecodeOptions(frames=8), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("vfr.mp4")), indices=(2, 3, 9, 900)))
        while pool.busy:
            for event in pool.poll(0.5):
                if isinstance(event, FrameReady):
                    frames.append((event.frame.index, awkward.number_of(event.frame.image)))
                    event.release()
                elif isinstance(event, Ended):
                    report = event.report
    assert frames == [(2, 2), (3, 3), (9, 9)]
    assert (report.status, report.asked, report.decoded) == ("ok", 3, 3)


def test_a_parent_that_is_away_for_longer_than_the_time_limit_loses_no_video(tmp_path):
    """Whoever iterates over records may do anything in between; the frames that wait then stop the clock."""
    video = awkward.video(tmp_path / "long.mp4", count=400)
    with DecodePool(DecodeOptions(frames=400, timeout=4, decoder="pyav"), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(video)))
        collect(pool, FrameReady, 1)[0].release()
        time.sleep(6)
        *_, ended = drain(pool)
    assert ended.report.status == "ok", ended.report.detail
