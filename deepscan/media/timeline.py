"""Put the frames of a stream in presentation order, even where its timestamps restart or jump."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: A jump that lasts this few packets, between others that fit together, is a timestamp error and not a
#: separate recording.
_SLIP = 2
#: A gap in a transport stream's counter is reported on the last packet or, through the parser, the one
#: before.
BLAMED = 2
#: A step counts as a jump only if it is this many times the usual one, so that time lapses have no jumps.
_MANY_STEPS = 50


class PacketTimes(NamedTuple):
    """Times of a video packet, in ticks of the stream's time base.

    Attributes:
        decoding: When it is to be decoded, None if unknown.
        presentation: When its frame is to be shown, None if unknown.
        key: Whether decoding can start at it.
        corrupt: Whether the container reports missing data in it or next to it.
        discarded: Whether its frame is to be decoded but not shown.
    """

    decoding: int | None
    presentation: int | None
    key: bool
    corrupt: bool = False
    discarded: bool = False


class Segment(NamedTuple):
    """A run of packets that were written in one recording.

    Attributes:
        first: Number of its first packet within the stream, in file order. The packets before it are intact,
            even if libav reports missing data between the two pieces and marks one of the last `BLAMED` as
            corrupt.
        shift: Ticks to add to its timestamps, so that it follows the segment before it.
    """

    first: int
    shift: int


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The decodable frames of a stream, in presentation order.

    Attributes:
        ticks: Their presentation timestamps including the segments' shifts, ascending, shape (n,), int64;
            None if the packets have no reliable ones, so that frames can only be counted.
        keys: Whether decoding can start at the frame, shape (n,), bool.
        segments: At least one; more if pieces were joined.
        corrupt: Number of packets with corrupt data.
        jumps: How often timestamps jump.
    """

    ticks: NDArray[np.int64] | None
    keys: NDArray[np.bool_]
    segments: tuple[Segment, ...]
    corrupt: int
    jumps: int


def lay_out(packets: Sequence[PacketTimes], *, timed: bool, gap: int | None) -> Timeline:
    """Return the frames of a stream in presentation order.

    Frames before the first keyframe cannot be decoded and are left out, in each piece of a stream that was
    joined from several.

    Args:
        packets: All packets of the stream, in file order.
        timed: Whether presentation timestamps are reliable.
        gap: Forward step in ticks that counts as a jump, for containers in which recordings are joined. None
            for containers that are written in one recording.
    """
    step = _usual_step(packets)
    jumps = list(_jumps(packets, gap and max(gap, _MANY_STEPS * step)))
    joints = set() if gap is None else set(_joints(packets))
    ends = {first - back for first in joints.union(jumps) for back in range(1, BLAMED + 1)}
    packets = [packet._replace(corrupt=False) if n in ends else packet for n, packet in enumerate(packets)]
    corrupt = sum(packet.corrupt for packet in packets)
    intact = _intact(packets)
    if not timed or any(packet.presentation is None for packet in intact):
        start = next((n for n, packet in enumerate(intact) if packet.key), 0)
        keys = np.array([packet.key for packet in intact[start:]], np.bool_)
        segments = [Segment(first, 0) for first in sorted({0, *joints, *jumps})]
        return Timeline(None, keys, tuple(segments), corrupt, len(jumps))
    pieces = list(pairwise([0, *jumps, len(packets)]))
    shifts: dict[int, int] = {}
    shown: dict[int, bool] = {}
    newest: int | None = None
    for number, (first, stop) in enumerate(pieces):
        piece = _presented(packets[first:stop], whole=_continues(packets, pieces, number))
        shift = 0 if newest is None or not piece else newest + step - min(piece)
        shifts[first] = shift
        if piece:
            newest = max(piece) + shift
        for tick, key in piece.items():
            shown.setdefault(tick + shift, key)
    segments, shift = [], 0
    for first in sorted({*shifts, *joints}):
        shift = shifts.get(first, shift)
        segments.append(Segment(first, shift))
    order = sorted(shown)
    ticks, keys = np.array(order, np.int64), np.array([shown[tick] for tick in order], np.bool_)
    return Timeline(ticks if order else None, keys, tuple(segments), corrupt, len(jumps))


def _intact(packets: Sequence[PacketTimes]) -> list[PacketTimes]:
    return [packet for packet in packets if not (packet.corrupt or packet.discarded)]


def _joints(packets: Sequence[PacketTimes]) -> Iterator[int]:
    """Yield the numbers of keyframes before which data seem to be missing.

    A piece that is joined to another does not continue its counter, so the last packet before it is reported
    as corrupt. Pieces that are made to be joined begin with a keyframe.
    """
    for number, packet in enumerate(packets):
        if packet.key and any(earlier.corrupt for earlier in packets[max(0, number - BLAMED) : number]):
            yield number


def _jumps(packets: Sequence[PacketTimes], gap: int | None) -> Iterator[int]:
    """Yield the numbers of packets whose timestamps do not continue those before."""
    # Decoding timestamps never step back within one recording. Without them, use keyframes: each is shown
    # after all frames decoded before it.
    decoding = any(packet.decoding is not None for packet in packets)
    last: int | None = None
    wild = False
    for number, packet in enumerate(packets):
        newest = packet.decoding if decoding else packet.presentation
        mark = newest if decoding or packet.key else None
        back = mark is not None and last is not None and (mark < last or (mark == last and packet.key))
        # If the timestamp before a jump is missing, libav guesses it from what follows.
        before, wild = wild, gap is not None and _delay(packet) > gap
        ahead = gap is not None and mark is not None and last is not None and mark - last > gap
        if (back or ahead or wild != before) and number:
            yield number
        if newest is not None:
            last = newest if last is None or back or ahead else max(last, newest)


def _delay(packet: PacketTimes) -> int:
    if packet.decoding is None or packet.presentation is None:
        return 0
    return abs(packet.presentation - packet.decoding)


def _usual_step(packets: Sequence[PacketTimes]) -> int:
    stamps = [packet.presentation for packet in packets if packet.presentation is not None]
    return max(1, int(np.median(np.diff(np.unique(stamps))))) if len(set(stamps)) > 1 else 1


def _continues(packets: Sequence[PacketTimes], pieces: Sequence[tuple[int, int]], number: int) -> bool:
    """Return whether a piece belongs to an earlier one: a timestamp error, or the continuation after one."""
    first, stop = pieces[number]
    if number == 0:
        return False
    if stop - first <= _SLIP:
        return stop < len(packets)
    interrupted, resumed = pieces[number - 1]
    if interrupted == 0 or resumed - interrupted > _SLIP:
        return False
    earlier, now = packets[interrupted - 1].decoding, packets[first].decoding
    return earlier is not None and now is not None and now > earlier


def _presented(packets: Sequence[PacketTimes], *, whole: bool) -> dict[int, bool]:
    """Return the frames that can be shown, as tick -> whether it is a keyframe.

    Args:
        packets: The packets of one piece.
        whole: Whether decoding continues from the piece before, so that all frames can be shown.
    """
    # If an edit list begins within a group of pictures, decoding starts before the first frame shown.
    intact = [packet for packet in packets if not packet.corrupt]
    start = 0 if whole else next((n for n, packet in enumerate(intact) if packet.key), 0)
    presented: dict[int, bool] = {}
    for packet in intact[start:]:
        if packet.presentation is not None and not packet.discarded:
            presented.setdefault(packet.presentation, packet.key)
    first = intact[start].presentation if intact and intact[start].key else None
    if whole or first is None:
        return presented
    # Frames that are stored after the first keyframe but shown before it depend on missing data.
    return {tick: key for tick, key in presented.items() if tick >= first}
