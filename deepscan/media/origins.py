"""What a file says of how it was made: encoder, time, device, edit list. Anybody can write all of it."""

import os
import re
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deepscan.media.source import SourceFile

#: Longest text that is taken over from a file, and most entries of an edit list.
LONGEST, MOST_EDITS = 200, 32
# What encoders write into the stream itself: x264 and x265 as a message for people, libavcodec as user data.
_MARKS = re.compile(
    rb"x264 - core [0-9]+[ -~]{0,60}?(?= - )|x265 \(build [0-9]+\)[ -9;-~]{0,60}|Lavc[0-9.]{3,20}"
)
_CREATED = ("com.apple.quicktime.creationdate", "creation_time", "date")
_MAKERS = (
    ("com.apple.quicktime.make", "make", "com.android.manufacturer"),
    ("com.apple.quicktime.model", "model", "com.android.model"),
)
_SOFTWARE = ("encoder", "com.apple.quicktime.software", "software", "encoded_by", "writing_application")
#: Boxes that hold boxes on the way to an edit list (ISO/IEC 14496-12), and most boxes that are looked at.
_HOLDERS, _MOST_BOXES, _DEEPEST = (b"moov", b"trak", b"edts", b"mdia"), 4096, 4


class Edit(NamedTuple):
    """A part of an edit list.

    Attributes:
        seconds: How long it is shown.
        start: Where in the stored stream it begins, in seconds; None where nothing is shown.
        rate: How quickly it is played.
    """

    seconds: float
    start: float | None
    rate: float


def software(container: InputContainer, stream: VideoStream, head: bytes) -> str | None:
    """Return which software a file says it was made by, None where it does not.

    Args:
        container: The file.
        stream: Its video stream.
        head: The first bytes of the stream's first packet.
    """
    stated = [
        text
        for data in (container.metadata, stream.metadata)
        for key in _SOFTWARE
        if (text := _find(data, key))
    ]
    stated += [found.group().decode("ascii").strip() for found in [_MARKS.search(head)] if found]
    return "; ".join(dict.fromkeys(stated)) or None


def created(container: InputContainer, stream: VideoStream) -> str | None:
    """Return when a file says it was made, as it stands there; None where it does not."""
    found = (_find(data, key) for key in _CREATED for data in (container.metadata, stream.metadata))
    return next(filter(None, found), None)


def device(container: InputContainer) -> str | None:
    """Return with which camera or phone a file says it was made, None where it does not."""
    words = [next(filter(None, (_find(container.metadata, key) for key in keys)), "") for keys in _MAKERS]
    return " ".join(filter(None, words)) or None


def stated_duration(container: InputContainer) -> float | None:
    """Return how long the header says the file is, in seconds, None where it does not."""
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def keyframe_gaps(keys: NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """Return least, middle and greatest number of frames from one keyframe to the next; None of one alone.

    Args:
        keys: Whether each frame is one, shape (n,).
    """
    gaps = np.diff(np.flatnonzero(keys))
    return (int(gaps.min()), int(np.median(gaps)), int(gaps.max())) if len(gaps) else None


def edit_list(source: SourceFile, container: str, place: int) -> tuple[Edit, ...]:
    """Return the edit list of a video track; none where the file has no such list, or none that can be read.

    Args:
        source: The opened file.
        container: Its format, as libav names it.
        place: Of the track among the file's video tracks, from 0.
    """
    if "mp4" not in container:
        return ()
    try:
        with open(source.url(), "rb") as file:
            return _edits(file, source.size, place)
    except (OSError, struct.error, IndexError, ZeroDivisionError):
        return ()


def _find(data: Mapping[str, str], key: str) -> str:
    """Return a text of a file's metadata, printable and in bounds; empty where there is none."""
    text = next((value for name, value in data.items() if name.lower() == key), "")
    return "".join(c if c.isprintable() else " " for c in text).strip()[:LONGEST]


def _edits(file: BinaryIO, size: int, place: int) -> tuple[Edit, ...]:
    whole = 0
    # Of each track, where such a box begins and what is in it.
    tracks: list[dict[bytes, tuple[int, bytes]]] = []
    for kind, body, end in _boxes(file, 0, size, [_MOST_BOXES]):
        if kind == b"mvhd":
            whole = _timescale(file, body)
        elif kind == b"trak":
            tracks.append({})
        elif kind in (b"mdhd", b"hdlr", b"elst") and tracks:
            file.seek(body)
            tracks[-1][kind] = (body, file.read(min(end - body, 16 + 20 * MOST_EDITS)))
    films = [track for track in tracks if track.get(b"hdlr", (0, b""))[1][8:12] == b"vide"]
    if not whole or place >= len(films) or b"elst" not in films[place] or b"mdhd" not in films[place]:
        return ()
    own = _timescale(file, films[place][b"mdhd"][0])
    listed = films[place][b"elst"][1]
    wide = listed[0] == 1
    count = min(struct.unpack_from(">I", listed, 4)[0], MOST_EDITS)
    form = struct.Struct(">QqI" if wide else ">IiI")
    edits = []
    for at in range(count):
        length, start, rate = form.unpack_from(listed, 8 + at * form.size)
        edits.append(
            Edit(
                round(length / whole, 6), None if start < 0 else round(start / own, 6), round(rate / 65536, 4)
            )
        )
    return tuple(edits)


def _timescale(file: BinaryIO, body: int) -> int:
    """Return the ticks a second of a film's or a track's header, whose first byte is its version."""
    file.seek(body)
    head = file.read(24)
    return int(struct.unpack_from(">I", head, 20 if head[0] == 1 else 12)[0])


def _boxes(
    file: BinaryIO, start: int, end: int, left: list[int], depth: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box between two places, where its body begins and ends; then those in it.

    Args:
        file: The file.
        start: Where the first begins.
        end: Where the last ends.
        left: How many may still be looked at.
        depth: In how many boxes these are.
    """
    while start + 8 <= end and left[0] > 0:
        left[0] -= 1
        file.seek(start, os.SEEK_SET)
        length, kind = struct.unpack(">I4s", file.read(8))
        body = start + 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            body += 8
        stop = end if length == 0 else min(start + length, end)
        if stop < body:
            return
        yield kind, body, stop
        if kind in _HOLDERS and depth < _DEEPEST:
            yield from _boxes(file, body, stop, left, depth + 1)
        start = stop
