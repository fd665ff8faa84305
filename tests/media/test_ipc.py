"""The memory that frames cross in."""

import gc
import os

import numpy as np
import pytest

from deepscan.media.ipc import FrameBuffer, SharedSlots, slot_count


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_two_ends_see_the_same_pictures(kind):
    ours = FrameBuffer(kind)
    ours.lay_out(3, 60)
    theirs = SharedSlots(ours.fd)
    theirs.attach(3, 60)
    for slot in range(3):
        theirs.view(slot, (4, 5, 3))[:] = slot + 1
    assert [int(ours.view(slot, (4, 5, 3)).mean()) for slot in range(3)] == [1, 2, 3]
    assert ours.kind == kind


def test_it_has_no_name_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(os.listdir("/dev/shm"))
    buffers = [FrameBuffer("memory"), FrameBuffer("file")]
    for buffer in buffers:
        buffer.lay_out(2, 1 << 20)
    assert not list(tmp_path.iterdir())
    assert set(os.listdir("/dev/shm")) <= before


def test_views_outlive_growth_and_closing():
    buffer = FrameBuffer()
    buffer.lay_out(2, 12)
    view = buffer.view(0, (2, 2, 3))
    view[:] = 7
    buffer.lay_out(2, 12_000_000)
    buffer.close()
    gc.collect()
    assert np.all(view == 7)


def test_a_picture_must_fit_its_slot():
    buffer = FrameBuffer()
    with pytest.raises(ValueError, match="does not fit"):
        buffer.view(0, (2, 2, 3))
    buffer.lay_out(2, 12)
    with pytest.raises(ValueError, match="does not fit"):
        buffer.view(0, (2, 3, 3))
    with pytest.raises(ValueError, match="buffer"):
        buffer.view(2, (2, 2, 3))


def test_memory_is_demanded_before_it_is_touched(monkeypatch):
    buffer = FrameBuffer("file")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        buffer.lay_out(2, 4096)


def test_without_anonymous_memory_it_is_a_file(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert FrameBuffer("memory").kind == "file"


@pytest.mark.parametrize(
    ("frame", "frames", "slots"),
    [
        (
            7680 * 4320 * 3,
            32,
            2,
        ),  # over the budget; two, so that one is decoded as one is used
        (1920 * 1080 * 3, 32, 10),
        (160 * 96 * 3, 32, 32),
        (160 * 96 * 3, 1, 2),
    ],
)
def test_slots_stay_within_the_budget(frame, frames, slots):
    assert slot_count(frame, frames, 64 << 20) == slots
