"""Read what a file says about its origin: encoder, time, device, edit list. All of it is easy to forge."""

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

#: Length at which texts from a file are cut, and most entries read from an edit list.
LONGEST, MOST_EDITS = 200, 32
# What encoders write into the stream itself: x264 and x265 as a text message, libavcodec as user data.
_MARKS = re.compile(
    rb"x264 - core [0-9]+[ -~]{0,60}?(?= - )|x265 \(build [0-9]+\)[ -9;-~]{0,60}|Lavc[0-9.]{3,20}"
)
_CREATED = ("com.apple.quicktime.creationdate", "creation_time", "date")
_MAKERS = (
    ("com.apple.quicktime.make", "make", "com.android.manufacturer"),
    ("com.apple.quicktime.model", "model", "com.android.model"),
)
_SOFTWARE = ("encoder", "com.apple.quicktime.software", "software", "encoded_by", "writing_application")
#: Boxes that contain boxes on the way to an edit list (ISO/IEC 14496-12), and limits on their number and
#: depth.
_PARENT_BOXES, _MAX_BOXES, _MAX_DEPTH = (b"moov", b"trak", b"edts", b"mdia"), 4096, 4


class Edit(NamedTuple):
    """An entry of an edit list.

    Attributes:
        seconds: How long it is shown.
        start: Where in the stored stream it begins, in seconds; None if nothing is shown.
        rate: Playback rate.
    """

    seconds: float
    start: float | None
    rate: float


def software(container: InputContainer, stream: VideoStream, head: bytes) -> str | None:
    """Return the software that the file names as its maker, None if it names none.

    Args:
        container: The file.
        stream: Its video stream.
        head: The first bytes of the stream's first packet.
    """
    names = [
        text
        for data in (container.metadata, stream.metadata)
        for key in _SOFTWARE
        if (text := _find(data, key))
    ]
    names += [found.group().decode("ascii").strip() for found in [_MARKS.search(head)] if found]
    return "; ".join(dict.fromkeys(names)) or None


def created(container: InputContainer, stream: VideoStream) -> str | None:
    """Return the creation time given in the file, unparsed, or None."""
    found = (_find(data, key) for key in _CREATED for data in (container.metadata, stream.metadata))
    return next(filter(None, found), None)


def device(container: InputContainer) -> str | None:
    """Return the camera or phone given in the file, or None."""
    parts = [next(filter(None, (_find(container.metadata, key) for key in keys)), "") for keys in _MAKERS]
    return " ".join(filter(None, parts)) or None


def declared_duration(container: InputContainer) -> float | None:
    """Return the duration in the header in seconds, None if it gives none."""
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def keyframe_gaps(keys: NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """Return the least, median and greatest distance between keyframes in frames, None if there is only one.

    Args:
        keys: Whether each frame is a keyframe, shape (n,).
    """
    gaps = np.diff(np.flatnonzero(keys))
    return (int(gaps.min()), int(np.median(gaps)), int(gaps.max())) if len(gaps) else None


def edit_list(source: SourceFile, container: str, place: int) -> tuple[Edit, ...]:
    """Return the edit list of a video track, empty if it has none or it cannot be read.

    Args:
        source: The opened file.
        container: Its format, in libav's terms.
        place: The track's position among the file's video tracks, from 0.
    """
    if "mp4" not in container:
        return ()
    try:
        with open(source.url(), "rb") as file:
            return _edits(file, source.size, place)
    except (OSError, struct.error, IndexError, ZeroDivisionError):
        return ()


def _find(data: Mapping[str, str], key: str) -> str:
    """Return a value of the metadata, printable and shortened; empty if it is missing."""
    text = next((value for name, value in data.items() if name.lower() == key), "")
    return "".join(c if c.isprintable() else " " for c in text).strip()[:LONGEST]


def _edits(file: BinaryIO, size: int, place: int) -> tuple[Edit, ...]:
    movie_scale = 0
    # Per track, kind of box -> where its body begins, and its content.
    tracks: list[dict[bytes, tuple[int, bytes]]] = []
    for kind, body, end in _boxes(file, 0, size, [_MAX_BOXES]):
        if kind == b"mvhd":
            movie_scale = _timescale(file, body)
        elif kind == b"trak":
            tracks.append({})
        elif kind in (b"mdhd", b"hdlr", b"elst") and tracks:
            file.seek(body)
            tracks[-1][kind] = (body, file.read(min(end - body, 16 + 20 * MOST_EDITS)))
    videos = [track for track in tracks if track.get(b"hdlr", (0, b""))[1][8:12] == b"vide"]
    if (
        not movie_scale
        or place >= len(videos)
        or b"elst" not in videos[place]
        or b"mdhd" not in videos[place]
    ):
        return ()
    track_scale = _timescale(file, videos[place][b"mdhd"][0])
    table = videos[place][b"elst"][1]
    wide = table[0] == 1
    count = min(struct.unpack_from(">I", table, 4)[0], MOST_EDITS)
    form = struct.Struct(">QqI" if wide else ">IiI")
    edits = []
    for at in range(count):
        length, start, rate = form.unpack_from(table, 8 + at * form.size)
        edits.append(
            Edit(
                round(length / movie_scale, 6),
                None if start < 0 else round(start / track_scale, 6),
                round(rate / 65536, 4),
            )
        )
    return tuple(edits)


def _timescale(file: BinaryIO, body: int) -> int:
    """Return the ticks per second from a movie or track header whose body begins at `body`."""
    file.seek(body)
    head = file.read(24)
    return int(struct.unpack_from(">I", head, 20 if head[0] == 1 else 12)[0])


def _boxes(
    file: BinaryIO, start: int, end: int, left: list[int], depth: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, body start and body end of each box in a range of the file, and of the boxes in it.

    Args:
        file: The file.
        start: Offset of the first box.
        end: Offset at which the last box ends.
        left: One number: how many more boxes may be read.
        depth: How many boxes enclose these.
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
        if kind in _PARENT_BOXES and depth < _MAX_DEPTH:
            yield from _boxes(file, body, stop, left, depth + 1)
        start = stop
