"""Every job gets exactly one end, whatever its decoder does, and no other job suffers from it."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from deepscan.errors import MissingError
from deepscan.media.pool import DecodeJob, DecodeOptions, DecodePool, Ended, FrameReady, Opened
from tests import awkward
from tests.media.conftest import run

STUB = [sys.executable, "-m", "tests.media.stub"]


@pytest.fixture
def stubbed(media, tmp_path, monkeypatch):
    """Return a function: orders for the stubs -> a file of 30 frames that carries them in its name."""
    # The stub is a module of the tests, which are found through the current folder.
    monkeypatch.chdir(Path(__file__).parents[2])
    return lambda orders: Path(shutil.copy(media("plain.mp4"), tmp_path / f"{orders}.mp4"))


@pytest.fixture(scope="module")
def pools():
    """Return a function: decoder -> a pool with it, shared by the tests of a module."""
    made = {}

    def make(decoder):
        if decoder not in made:
            made[decoder] = DecodePool(DecodeOptions(decoder=decoder), 1)
        return made[decoder]

    yield make
    for pool in made.values():
        pool.close()


def collect(pool, kind, count=1, limit=20.0):
    """Poll until so many events of a kind have come, and return them."""
    found, end = [], time.monotonic() + limit
    while len(found) < count:
        assert time.monotonic() < end, f"only {found} after {limit} s"
        found += [event for event in pool.poll(0.2) if isinstance(event, kind)]
    return found


def drain(pool, limit=20.0):
    """Poll to the end of all jobs, releasing every frame, and return all events."""
    found, end = [], time.monotonic() + limit
    while pool.busy:
        assert time.monotonic() < end, f"only {found} after {limit} s"
        for event in pool.poll(0.5):
            found.append(event)
            if isinstance(event, FrameReady):
                event.release()
    return found


def children():
    """Return the process ids of this process's children."""
    lists = (task / "children" for task in Path("/proc/self/task").iterdir())
    return {int(pid) for pids in lists for pid in pids.read_text().split()}


def test_frames_times_and_report(media):
    with DecodePool(DecodeOptions(frames=8), 1) as pool:
        (out,) = run(pool, media("vfr.mp4"))
    assert out.indices == out.numbers == [0, 3, 6, 9, 13, 16, 19, 23]
    assert out.times == pytest.approx([awkward.vfr_times()[index] for index in out.indices], abs=1e-3)
    report = out.report
    assert (report.status, report.detail, report.warnings) == ("ok", "", ())
    assert (report.asked, report.decoded) == (8, 8)
    assert report.size == media("vfr.mp4").stat().st_size
    assert len(report.sha256) == 64
    assert report.info == out.info
    assert set(report.seconds) == {"hash", "probe", "decode"}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("one.mp4", "ok", ""),
        ("still.png", "ok", ""),
        ("anim.gif", "ok", ""),
        ("av1.webm", "ok", ""),
        ("truncated.mp4", "ok", ""),
        ("stump.mp4", "decode_error", "frames are left"),
        ("empty.mp4", "decode_error", "empty"),
        ("indexless.mp4", "decode_error", "nothing can be decoded"),
        ("text.mp4", "unsupported", "text"),
        ("cover.mp4", "unsupported", "audio only"),
        ("huge.png", "unsupported", "over the limit"),
    ],
)
@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_statuses(media, pools, name, status, words, decoder):
    (out,) = run(pools(decoder), media(name))
    assert out.report.status == status
    assert words in out.report.detail
    assert bool(out.indices) == (status == "ok")
    assert "\n" not in out.report.detail


def test_paths_that_are_no_files(pools, tmp_path):
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


def test_auto_says_when_decord_failed_and_only_then(media, pools):
    lying, gif, plain = run(pools("auto"), media("lying.mp4"), media("anim.gif"), media("plain.mp4"))
    assert lying.report.decoder == "pyav"
    assert any("decord cannot decode it" in line for line in lying.report.warnings)
    assert lying.numbers == list(range(30))
    assert (gif.report.decoder, gif.report.warnings) == ("pyav", ())
    assert plain.report.warnings == ()


def test_a_decoder_asked_for_by_name_is_never_replaced(stubbed, monkeypatch):
    monkeypatch.setattr("deepscan.media.pool.find_spec", lambda name: name)
    with DecodePool(DecodeOptions(decoder="decord", timeout=2.0), 1, STUB) as pool:
        some, none, hang = run(
            pool, stubbed("decord-fail@12"), stubbed("decord-fail@0"), stubbed("decord-hang@4")
        )
    assert (some.report.status, some.report.decoder, some.numbers) == ("ok", "decord", list(range(12)))
    assert "18 of 30, 0 of them replaced" in some.report.warnings[0]
    assert (none.report.status, none.report.decoder, none.numbers) == ("decode_error", None, [])
    assert none.report.detail == "only 0 of 30 sampled frames can be decoded"
    assert (hang.report.status, hang.report.decoder) == ("timeout", "decord")


def test_a_decoder_that_is_not_installed_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("deepscan.media.pool.find_spec", lambda _: None)
    with pytest.raises(MissingError, match="decord"):
        DecodePool(DecodeOptions(decoder="decord"), 1)


def test_decord_failing_midway_is_replaced_without_duplicates(stubbed):
    with DecodePool(DecodeOptions(), 1, STUB) as pool:
        (out,) = run(pool, stubbed("decord-fail@12"))
    assert out.indices == out.numbers == list(range(30))
    assert out.report.decoder == "decord+pyav"
    assert out.report.warnings == ("decord failed at frame 12: as told; pyav took over",)


def test_an_absent_decord_needs_no_warning(stubbed):
    with DecodePool(DecodeOptions(), 1, STUB) as pool:
        (out,) = run(pool, stubbed("decord-absent@0"))
    assert (out.report.decoder, out.report.warnings) == ("pyav", ())


@pytest.mark.parametrize("what", ["fail", "break"])
def test_a_frame_that_fails_steps_back_and_is_counted(stubbed, what):
    orders = stubbed(f"pyav-{what}@9-pyav-{what}@29-pyav-{what}@28")
    with DecodePool(DecodeOptions(frames=4, decoder="pyav"), 1, STUB) as pool:
        (out,) = run(pool, orders)
    # Asked for 0, 9, 19 and 29: in place of 9 there is 8, of 29 there is 27.
    assert out.indices == out.numbers == [0, 8, 19, 27]
    assert out.report.status == "ok"
    assert out.report.warnings == (
        "sampled frames that cannot be decoded: 2 of 4, 2 of them replaced by the last decodable one before",
    )


def test_a_frame_is_not_used_twice(stubbed):
    with DecodePool(DecodeOptions(decoder="pyav"), 1, STUB) as pool:
        (out,) = run(pool, stubbed("pyav-fail@9-pyav-fail@10"))
    assert out.indices == [index for index in range(30) if index not in (9, 10)]
    assert "2 of 30, 0 of them replaced" in out.report.warnings[0]


def test_damage_is_told(media):
    with DecodePool(DecodeOptions(frames=60, decoder="pyav"), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("damaged.mp4"))))
        report = drain(pool)[-1].report
    assert report.decoded == 59
    assert "frames that build on damaged data: 11 of 59" in report.warnings


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_a_hang_is_ended_at_the_deadline(stubbed, decoder):
    hangs = "decord-hang@4-pyav-hang@5" if decoder == "auto" else "pyav-hang@4"
    with DecodePool(DecodeOptions(timeout=1.5, decoder=decoder), 2, STUB) as pool:
        start = time.monotonic()
        stuck, fine, after = run(pool, stubbed(hangs), stubbed("fine"), stubbed("after"))
        took = time.monotonic() - start
    assert stuck.report.status == "timeout"
    assert stuck.report.detail == "gave no answer within 1.5 s"
    assert stuck.numbers == list(range(5 if decoder == "auto" else 4))
    assert stuck.report.decoded == len(stuck.numbers)
    assert stuck.report.sha256 is not None
    assert fine.report.status == after.report.status == "ok"
    assert 1.5 <= took < 15, "the deadline, and the start of a process on a busy machine"


def test_decord_hanging_leaves_time_for_pyav(stubbed):
    with DecodePool(DecodeOptions(timeout=6.0), 1, STUB) as pool:
        (out,) = run(pool, stubbed("decord-hang@12"))
    assert out.report.status == "ok"
    assert out.indices == out.numbers == list(range(30))
    assert out.report.decoder == "decord+pyav"
    assert out.report.warnings == ("decord gave no answer in half of the time; pyav took over",)


def test_a_crash_costs_one_video(stubbed):
    with DecodePool(DecodeOptions(), 1, STUB) as pool:
        crash, decord, after = run(
            pool, stubbed("decord-crash@3-pyav-crash@7"), stubbed("decord-crash@3"), stubbed("after")
        )
    assert crash.report.status == "decode_error"
    assert crash.report.detail == "the decoding process was ended by SIGSEGV"
    assert crash.numbers == list(range(7))
    assert decord.report.status == after.report.status == "ok"
    assert decord.numbers == list(range(30))
    assert "SIGSEGV while decord decoded; pyav took over" in decord.report.warnings[0]


def test_a_worker_that_cannot_start(stubbed):
    with DecodePool(DecodeOptions(), 1, [*STUB, "unable"]) as pool:
        outs = run(pool, stubbed("a"), stubbed("b"))
    assert [out.report.status for out in outs] == ["error", "error"]
    assert "could not start: it ended with exit code 7" in outs[0].report.detail


def test_the_clock_stands_still_while_the_caller_holds_all_frames(media):
    with DecodePool(DecodeOptions(timeout=1.5, buffer_bytes=1, decoder="pyav"), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("plain.mp4"))))
        held = collect(pool, FrameReady, 2)
        # Neither waiting in poll nor staying away from it counts.
        assert pool.poll(1.6) == []
        time.sleep(1.6)
        for event in held:
            assert awkward.number_of(event.frame.image) == event.frame.index
            event.release()
            event.release()
        *frames, ended = drain(pool)
    assert [event.frame.index for event in held + frames] == list(range(30))
    assert ended.report.status == "ok"


def test_frames_outlive_their_worker_and_the_pool(stubbed):
    with DecodePool(DecodeOptions(timeout=1.5, decoder="pyav"), 1, STUB) as pool:
        pool.submit(DecodeJob(0, os.fsencode(stubbed("pyav-hang@4"))))
        held = collect(pool, FrameReady, 4)
        (ended,) = collect(pool, Ended)
        assert ended.report.status == "timeout"
        (after,) = run(pool, stubbed("after"))
        assert after.report.status == "ok"
        held[0].release()
    held[1].release()
    assert [awkward.number_of(event.frame.image) for event in held[2:]] == [2, 3]


def test_frames_of_one_file_outlast_the_start_of_the_next(media):
    with DecodePool(DecodeOptions(frames=2), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("plain.mp4"))))
        held = collect(pool, FrameReady, 2)
        pool.poll(0.2) if pool.busy else None
        pool.submit(DecodeJob(1, os.fsencode(media("vfr.mp4"))))
        collect(pool, Opened)
        assert not [event for event in pool.poll(0.3) if isinstance(event, FrameReady)]
        assert [awkward.number_of(event.frame.image) for event in held] == [0, 29]
        for event in held:
            event.release()
        assert [event.frame.index for event in collect(pool, FrameReady, 2)] == [0, 23]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda path: path.open("ab").write(b"more"), "its size went"),
        (lambda path: path.unlink(), "removed"),
    ],
)
def test_a_file_that_changes_while_it_is_read(stubbed, act, words):
    path = stubbed("changing")
    with DecodePool(DecodeOptions(buffer_bytes=1), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(path)))
        held = collect(pool, FrameReady, 2)
        act(path)
        for event in held:
            event.release()
        report = drain(pool)[-1].report
    assert report.status == "changed"
    assert words in report.detail


def test_workers_are_replaced_after_so_many_files(media):
    before = children()
    with DecodePool(DecodeOptions(frames=1, recycle_after=2), 1) as pool:
        seen = set()
        for _ in range(5):
            run(pool, media("plain.mp4"))
            seen |= children() - before
    assert len(seen) == 3, "two files by the first process, two by the second"
    assert children() == before, "none is left, dead or alive"


def test_ctrl_c_is_not_for_workers(media):
    with DecodePool(DecodeOptions(buffer_bytes=1), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(media("plain.mp4"))))
        held = collect(pool, FrameReady, 2)
        for pid in children():
            os.kill(pid, signal.SIGINT)
        for event in held:
            event.release()
        assert drain(pool)[-1].report.status == "ok"


def test_memory_running_short_leads_to_a_file(media, monkeypatch):
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
    assert first.report.warnings == ("memory is short: its frames crossed in a temporary file",)
    assert second.report.warnings == ()


def test_no_room_at_all_is_an_error_of_that_file(media, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with DecodePool(DecodeOptions(), 1) as pool:
        (out,) = run(pool, media("plain.mp4"))
    assert out.report.status == "error"
    assert "No space left on device" in out.report.detail


def test_an_8k_picture_passes_in_bounded_memory(tmp_path):
    path = awkward.png(tmp_path / "8k.png", 7680, 4320)
    with DecodePool(DecodeOptions(), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(path)))
        _, ready, ended = drain(pool)
        assert ready.frame.image.shape == (4320, 7680, 3)
    assert ended.report.status == "ok"


def test_it_takes_no_more_than_it_has_workers(media):
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
