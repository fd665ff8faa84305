"""Test the shared memory that frames are passed in."""

import gc

import numpy as np
import pytest

from deepscan.media.ipc import FrameBuffer, SharedSlots, slot_count


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_both_ends_see_the_same_pictures(kind):
    ours = FrameBuffer(kind)
    ours.lay_out(3, 60)
    theirs = SharedSlots(ours.fd)
    theirs.attach(3, 60)
    for slot in range(3):
        theirs.view(slot, (4, 5, 3))[:] = slot + 1
    assert [int(ours.view(slot, (4, 5, 3)).mean()) for slot in range(3)] == [1, 2, 3]
    assert ours.kind == kind


@pytest.mark.slow
def test_views_outlive_growth_and_closing():
    buffer = FrameBuffer()
    buffer.lay_out(2, 12)
    view = buffer.view(0, (2, 2, 3))
    view[:] = 7
    buffer.lay_out(2, 12_000_000)
    buffer.close()
    gc.collect()
    assert np.all(view == 7)


def test_a_picture_must_fit_into_its_slot():
    buffer = FrameBuffer()
    with pytest.raises(ValueError, match="does not fit"):
        buffer.view(0, (2, 2, 3))
    buffer.lay_out(2, 12)
    with pytest.raises(ValueError, match="does not fit"):
        buffer.view(0, (2, 3, 3))
    with pytest.raises(ValueError, match="buffer"):
        buffer.view(2, (2, 2, 3))


@pytest.mark.parametrize(
    ("frame", "frames", "slots"),
    # Even above the budget there are two, so that one can be decoded while the other is used.
    [(7680 * 4320 * 3, 32, 2), (1920 * 1080 * 3, 32, 10), (160 * 96 * 3, 32, 32), (160 * 96 * 3, 1, 2)],
)
def test_slots_stay_within_the_budget(frame, frames, slots):
    assert slot_count(frame, frames, 64 << 20) == slots
