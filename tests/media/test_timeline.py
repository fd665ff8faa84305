"""Test the presentation order of frames, also where timestamps jump."""

import numpy as np
import pytest

from deepscan.media.timeline import PacketTimes, Segment, lay_out

STEP = 40


def reordered(count, begin=0, group=10):
    """Return packets in decoding order, in which every second frame is a B-frame between its neighbours."""
    order = [0]
    for number in range(2, count, 2):
        order += [number, number - 1]
    order += [count - 1]
    return [
        PacketTimes(begin + STEP * n, begin + STEP * (shown + 1), shown % group == 0)
        for n, shown in enumerate(order)
    ]


def even(count, begin=0, group=10):
    return [PacketTimes(begin + STEP * n, begin + STEP * n, n % group == 0) for n in range(count)]


def test_one_recording_is_unchanged():
    packets = even(30, begin=700)
    line = lay_out(packets, timed=True, gap=10_000)
    assert line.ticks.tolist() == [packet.presentation for packet in packets]
    assert np.flatnonzero(line.keys).tolist() == [0, 10, 20]
    assert (line.segments, line.jumps, line.corrupt) == ((Segment(0, 0),), 0, 0)


@pytest.mark.parametrize("begin", [0, 600, 1160, 90_000], ids=["equal", "overlap", "last", "hours"])
def test_a_second_recording_follows_the_first(begin):
    line = lay_out([*even(30), *even(20, begin=begin)], timed=True, gap=10_000)
    assert line.ticks.tolist() == [STEP * n for n in range(50)]
    assert line.segments == (Segment(0, 0), Segment(30, 30 * STEP - begin))
    assert line.jumps == 1


def test_a_pause_in_a_container_of_one_recording_is_intended():
    line = lay_out([*even(10), *even(10, begin=90_000)], timed=True, gap=None)
    assert line.ticks[10] == 90_000
    assert line.jumps == 0


def test_a_slow_camera_makes_no_jumps():
    packets = [PacketTimes(60_000 * n, 60_000 * n, True) for n in range(20)]
    assert lay_out(packets, timed=True, gap=10_000).jumps == 0


def test_reordered_frames_are_shown_in_order_across_a_joint():
    line = lay_out([*reordered(20), *reordered(20)], timed=True, gap=10_000)
    assert line.ticks.tolist() == [STEP * (n + 1) for n in range(40)]


def test_a_piece_that_begins_within_a_group_loses_what_cannot_be_decoded():
    packets = [*even(20), *even(25)[5:]]
    line = lay_out(packets, timed=True, gap=10_000)
    # Five frames before the second piece's first keyframe cannot be decoded.
    assert len(line.ticks) == 20 + 15
    assert line.keys[20]


def test_a_single_wrong_timestamp_loses_no_frame():
    packets = even(30)
    packets[15] = packets[15]._replace(decoding=5_000_000, presentation=5_000_000)
    line = lay_out(packets, timed=True, gap=10_000)
    assert line.ticks.tolist() == [STEP * n for n in range(30)]


def test_a_timestamp_guessed_from_after_a_jump_does_not_stretch_the_piece():
    """Libav gives the last frame before a jump the time of the first one after it."""
    first = even(30)
    first[29] = first[29]._replace(presentation=9_000_000)
    line = lay_out([*first, *even(10, begin=9_000_000)], timed=True, gap=10_000)
    assert line.ticks.tolist() == [STEP * n for n in range(40)]


def test_without_decoding_timestamps_keyframes_reveal_a_joint():
    packets = [packet._replace(decoding=None) for packet in [*reordered(20), *reordered(20)]]
    line = lay_out(packets, timed=True, gap=None)
    assert (len(line.ticks), line.jumps) == (40, 1)
    assert line.segments[1].first == 20


@pytest.mark.parametrize("blamed", [1, 2])
def test_a_counter_gap_at_a_joint_loses_no_frame(blamed):
    packets = even(30)
    packets[20 - blamed] = packets[20 - blamed]._replace(corrupt=True)
    line = lay_out(packets, timed=True, gap=10_000)
    assert (len(line.ticks), line.corrupt, line.jumps) == (30, 0, 0)
    assert [segment.first for segment in line.segments] == [0, 20]


def test_a_corrupt_packet_within_a_group_stays_corrupt():
    packets = even(30)
    packets[15] = packets[15]._replace(corrupt=True)
    line = lay_out(packets, timed=True, gap=10_000)
    assert (len(line.ticks), line.corrupt) == (29, 1)


def test_an_edit_list_that_begins_within_a_group_shows_the_rest_of_it():
    packets = [packet._replace(discarded=n < 14) for n, packet in enumerate(even(30))]
    line = lay_out(packets, timed=True, gap=None)
    assert line.ticks.tolist() == [STEP * n for n in range(14, 30)]
    assert np.flatnonzero(line.keys).tolist() == [6]


def test_frames_are_counted_if_timestamps_are_missing():
    packets = even(30)
    packets[3] = packets[3]._replace(presentation=None)
    line = lay_out([*packets, *even(5)], timed=True, gap=10_000)
    assert line.ticks is None
    assert (len(line.keys), line.jumps) == (35, 1)


def test_nothing_intact():
    line = lay_out([PacketTimes(0, 0, True, corrupt=True)], timed=True, gap=None)
    assert (line.ticks, len(line.keys), line.corrupt) == (None, 0, 1)
