"""Test frames that are not released yet, and the memory they are passed in."""

import os
import time

from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FileOpened, FrameReady
from deepscan.media.pool import DecodePool
from tests import awkward, stills
from tests.media.conftest import STUB, collect, drain, run


def test_the_clock_is_paused_while_the_caller_holds_all_frames(media):
    with DecodePool(DecodeOptions(timeout=1.5, buffer_bytes=1, decoder="pyav"), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("plain.mp4"))))
        unreleased = collect(pool, FrameReady, 2)
        # Neither waiting in poll nor not calling it counts.
        assert pool.poll(1.6) == []
        time.sleep(1.6)
        for event in unreleased:
            assert awkward.number_of(event.frame.image) == event.frame.index
            event.release()
            event.release()
        *frames, ended = drain(pool)
    assert [event.frame.index for event in unreleased + frames] == list(range(30))
    assert ended.report.status == "ok"


def test_frames_outlive_their_worker_and_the_pool(stubbed):
    with DecodePool(DecodeOptions(timeout=1.5, decoder="pyav"), 1, STUB) as pool:
        pool.submit(DecodeJob(0, os.fsencode(stubbed("pyav-hang@4"))))
        unreleased = collect(pool, FrameReady, 4)
        (ended,) = collect(pool, Ended)
        assert ended.report.status == "timeout"
        (after,) = run(pool, stubbed("after"))
        assert after.report.status == "ok"
        unreleased[0].release()
    unreleased[1].release()
    assert [awkward.number_of(event.frame.image) for event in unreleased[2:]] == [2, 3]


def test_frames_of_one_file_stay_valid_when_the_next_one_starts(media):
    with DecodePool(DecodeOptions(frames=2), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("plain.mp4"))))
        unreleased = collect(pool, FrameReady, 2)
        pool.poll(0.2) if pool.busy else None
        pool.submit(DecodeJob(1, os.fsencode(media("vfr.mp4"))))
        collect(pool, FileOpened)
        assert not [event for event in pool.poll(0.3) if isinstance(event, FrameReady)]
        assert [awkward.number_of(event.frame.image) for event in unreleased] == [0, 29]
        for event in unreleased:
            event.release()
        assert [event.frame.index for event in collect(pool, FrameReady, 2)] == [0, 23]


def test_frames_go_through_a_file_if_memory_is_short(media, monkeypatch):
    real, refused = os.posix_fallocate, []

    def short(fd, offset, size):
        if "memfd" in os.readlink(f"/proc/self/fd/{fd}"):
            refused.append(fd)
            raise OSError(28, "No space left on device")
        real(fd, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", short)
    with DecodePool(DecodeOptions(), 1) as pool:
        assert pool.buffer_kind == "memory"
        first, second = run(pool, media("plain.mp4"), media("vfr.mp4"))
        assert pool.buffer_kind == "file"
    assert len(refused) == 1
    assert first.numbers == list(range(30))
    assert first.report.warnings == ("memory is short: its frames were passed through a temporary file",)
    assert second.report.warnings == ()


def test_without_any_room_the_file_has_an_error(media, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with DecodePool(DecodeOptions(), 1) as pool:
        (out,) = run(pool, media("plain.mp4"))
    assert out.report.status == "error"
    assert "No space left on device" in out.report.detail


def test_an_8k_picture_is_decoded_in_bounded_memory(tmp_path):
    path = stills.png(tmp_path / "8k.png", 7680, 4320)
    with DecodePool(DecodeOptions(), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(path)))
        *_, ready, ended = drain(pool)
        assert ready.frame.image.shape == (4320, 7680, 3)
    assert ended.report.status == "ok"
