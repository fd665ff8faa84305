"""Puts the frames of a stream in order, also where its time stamps begin again or jump."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: So few packets between others that fit each other are a slip of the stamps, not a recording of their own.
_SLIP = 2
#: A gap in a transport stream's count is laid to the last packet, or by way of the parser to the one before.
BLAMED = 2
#: A camera that takes a frame every minute makes no jumps of a minute.
_MANY_STEPS = 50


class PacketTimes(NamedTuple):
    """What a packet of the video stream states, in ticks of the stream's time base.

    Attributes:
        decoding: When it is to be decoded, None where that is not stated.
        presentation: When its frame is to be shown, None where that is not stated.
        key: Whether decoding can start at it.
        corrupt: Whether the container misses data next to it or in it.
        discarded: Whether its frame is to be decoded but not shown.
    """

    decoding: int | None
    presentation: int | None
    key: bool
    corrupt: bool = False
    discarded: bool = False


class Segment(NamedTuple):
    """A stretch of packets that were written in one go.

    Attributes:
        first: Its first packet's number among the stream's, in file order. The packets before it are intact,
            even if libav misses data between the two pieces and calls one of the last `BLAMED` corrupt.
        shift: Ticks to add to its time stamps, so that it follows the segment before it.
    """

    first: int
    shift: int


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The decodable frames of a stream, as they are presented.

    Attributes:
        ticks: Their presentation time stamps, shifted as the segments say, ascending, shape (n,), int64; None
            where packets carry none to rely on, so that frames can only be counted.
        keys: Whether decoding can start at the frame, shape (n,), bool.
        segments: At least one; more where pieces were joined.
        corrupt: How many packets hold corrupt data.
        jumps: How often time stamps jump.
    """

    ticks: NDArray[np.int64] | None
    keys: NDArray[np.bool_]
    segments: tuple[Segment, ...]
    corrupt: int
    jumps: int


def lay_out(packets: Sequence[PacketTimes], *, timed: bool, gap: int | None) -> Timeline:
    """Return the frames of a stream in presentation order.

    Frames in front of the first keyframe have nothing to start from and are left out, in each piece of a
    stream that was joined from several.

    Args:
        packets: All packets of the stream, in file order.
        timed: Whether presentation time stamps can be relied on.
        gap: Step forward in ticks that is taken for a jump in a container of pieces joined anyhow, None for a
            container that is written in one go.
    """
    step = _usual_step(packets)
    jumps = list(_jumps(packets, gap and max(gap, _MANY_STEPS * step)))
    joints = set() if gap is None else set(_joints(packets))
    ends = {first - back for first in joints.union(jumps) for back in range(1, BLAMED + 1)}
    packets = [each._replace(corrupt=False) if n in ends else each for n, each in enumerate(packets)]
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
        piece = _presented(packets[first:stop], whole=_goes_on(packets, pieces, number))
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

    A piece that is joined to another does not go on with its count, and then the last packet before it passes
    for corrupt; pieces that are made to be joined begin with a keyframe.
    """
    for number, packet in enumerate(packets):
        if packet.key and any(each.corrupt for each in packets[max(0, number - BLAMED) : number]):
            yield number


def _jumps(packets: Sequence[PacketTimes], gap: int | None) -> Iterator[int]:
    """Yield the numbers of packets whose stamps do not go on from those before."""
    # Decoding stamps never step back within one recording. Without them keyframes tell: each is shown after
    # all frames that were decoded before it.
    decoding = any(packet.decoding is not None for packet in packets)
    last: int | None = None
    wild = False
    for number, packet in enumerate(packets):
        newest = packet.decoding if decoding else packet.presentation
        mark = newest if decoding or packet.key else None
        back = mark is not None and last is not None and (mark < last or (mark == last and packet.key))
        # A stamp that is lacking in front of a jump is guessed from what follows it.
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


def _goes_on(packets: Sequence[PacketTimes], pieces: Sequence[tuple[int, int]], number: int) -> bool:
    """Return whether a piece is no recording of its own: it is a slip, or goes on where one interrupted."""
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
    """Return tick -> whether it is a keyframe's, of the frames that can be shown.

    Args:
        packets: Those of one piece.
        whole: Whether decoding goes on from the piece before, so that all of its frames can be shown.
    """
    # Where an edit list begins within a group of pictures, decoding starts in front of what is shown.
    intact = [packet for packet in packets if not packet.corrupt]
    start = 0 if whole else next((n for n, packet in enumerate(intact) if packet.key), 0)
    presented: dict[int, bool] = {}
    for packet in intact[start:]:
        if packet.presentation is not None and not packet.discarded:
            presented.setdefault(packet.presentation, packet.key)
    first = intact[start].presentation if intact and intact[start].key else None
    if whole or first is None:
        return presented
    # Frames stored behind the first keyframe and shown before it build on what is not there.
    return {tick: key for tick, key in presented.items() if tick >= first}
