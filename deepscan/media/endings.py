"""Whether a file is cut short, by what its own structure says of its end."""

import os
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from deepscan.media.source import SourceFile

#: Share of a stream's bytes behind its last packet from which on they are something that was not read.
_UNREAD = 0.25
#: Lengths of a transport stream's packets, and where in the first one its sync byte stands.
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_TS_SYNC = 0x47
_JPEG_SCAN, _JPEG_END, _JPEG_ALONE = 0xDA, 0xD9, {0x01, *range(0xD0, 0xD9)}
_MARKER, _IN_SCAN = re.compile(rb"\xff[^\x00\xff]"), re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BLOCK = 188 << 12
#: Formats of one frame after another, all of one size.
_FRAMES_ALONE = ("yuv4mpegpipe",)
_FLV_TAGS = (8, 9, 18)
#: A size above this was not written as one.
_FLV_LARGEST = 2.0**53
#: Of an FLV file's metadata: the key's length and name, then the type of a number.
_FLV_SIZE, _FLV_METADATA = b"\x00\x08filesize\x00", 1 << 16
_MXF_HEADER = bytes.fromhex("060e2b34020501010d0102010102")
_OGG_LAST = 4
_RIFF_PLACEHOLDER = 0xFFFFFFF0
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255


def shortfall(source: SourceFile, container: str, reached: int = 0) -> str | None:
    """Return in words what is missing at the end of a file, None where nothing says so.

    Args:
        source: The opened file.
        container: Its format, as libav names it.
        reached: How far into the file whole packets lie, in bytes, 0 where that is not known.
    """
    if container in _FRAMES_ALONE and 0 < reached < source.size:
        return "it ends within a frame"
    check = next((check for names, check in _CHECKS.items() if container in names), None)
    if check is None:
        return None
    with open(source.url(), "rb") as file:
        file.seek(0)
        try:
            return check(file, source.size)
        except (struct.error, IndexError):
            return "it ends in the middle of a block"


def unread_tail(source: SourceFile, reached: int) -> str | None:
    """Return in words what lies behind the last packet of a stream, None where that is little.

    Args:
        source: The opened file.
        reached: How far into the file its packets lie, in bytes, 0 where that is not known.
    """
    if not reached or source.size - reached <= _UNREAD * source.size:
        return None
    # Broadcasts fill up with packets of nothing (ISO/IEC 13818-1, 2.4.3.3: PID 0x1FFF).
    rest = source.size - reached
    with open(source.url(), "rb") as file:
        file.seek(reached)
        blocks = iter(lambda: file.read(_BLOCK), b"")
        filling = sum(block.count(b"\x47\x1f\xff") for block in blocks) * _TS_PACKETS[0][0]
    if rest - filling <= _UNREAD * source.size:
        return None
    return f"the last {rest} of {source.size} bytes were not read; they may be another recording"


def _gif(file: BinaryIO, size: int) -> str | None:
    """GIF89a, sections 15 to 27: blocks up to a trailer."""
    del size
    flags = file.read(13)[10]
    file.seek(_colours(flags), os.SEEK_CUR)
    while (kind := file.read(1)) != b"\x3b":
        if kind == b"\0":
            continue
        if kind == b"\x21":
            file.seek(1, os.SEEK_CUR)
        elif kind == b"\x2c":
            file.seek(_colours(file.read(9)[8]) + 1, os.SEEK_CUR)
        else:
            return "it ends without the GIF trailer"
        while count := file.read(1)[0]:
            file.seek(count, os.SEEK_CUR)
    return None


def _colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _jpeg(file: BinaryIO, size: int) -> str | None:
    """ITU-T T.81, annex B: segments up to the marker EOI."""
    at, within = 2, False
    while at < size:
        file.seek(at)
        block = file.read(_BLOCK)
        # Within a scan a marker is what is neither stuffed nor a restart; between segments any byte may fill.
        found = (_IN_SCAN if within else _MARKER).search(block)
        if found is None:
            # The last byte may be the first of a marker.
            at += max(1, len(block) - 1)
            continue
        marker, at = block[found.end() - 1], at + found.end()
        if marker == _JPEG_END:
            return None
        within = within and marker in _JPEG_ALONE
        if marker not in _JPEG_ALONE:
            file.seek(at)
            at += struct.unpack(">H", file.read(2))[0]
            within = marker == _JPEG_SCAN
    return "it ends without the JPEG marker EOI"


def _matroska(file: BinaryIO, size: int) -> str | None:
    """RFC 8794 and RFC 9559: one Segment behind the EBML header, which states its size unless it was live."""
    for _ in range(2):
        identifier = _vint(file, marker=True)
        length = _vint(file)
        if identifier == 0x18538067:
            end = None if length is None else file.tell() + length
            return None if end is None else _stated(end, size)
        if length is None or length > size:
            return None
        file.seek(length, os.SEEK_CUR)
    return None


def _vint(file: BinaryIO, *, marker: bool = False) -> int | None:
    """Return a number of EBML, with its length marker or without; None for one that says 'unknown'."""
    first = file.read(1)[0]
    more = 8 - first.bit_length()
    value = int.from_bytes(bytes([first if marker else first ^ (0x80 >> more)]) + file.read(more))
    return None if not marker and value == 2 ** (7 * (more + 1)) - 1 else value


def _flv(file: BinaryIO, size: int) -> str | None:
    """Adobe Flash Video 10.1, annexes E.3 and E.5: the last four bytes are the length of the last tag.

    A file cut between two tags looks whole, but for the size that most writers state; streams state 0.
    """
    _, found, rest = file.read(_FLV_METADATA).partition(_FLV_SIZE)
    if found and len(rest) >= 8 and size + 4 < (states := struct.unpack(">d", rest[:8])[0]) < _FLV_LARGEST:
        return f"it has {size:,} of the {states:,.0f} bytes that its header states"
    file.seek(max(0, size - 4))
    (length,) = struct.unpack(">I", file.read(4))
    if (start := size - 4 - length) >= 13:
        file.seek(start + 1)
        if int.from_bytes(file.read(3)) + 11 == length:
            return None
    # Some writers leave the lengths out: then from tag to tag, as far as there are some.
    at = 13
    while at < size:
        file.seek(at)
        head = file.read(4)
        if head[0] & 0x1F not in _FLV_TAGS:
            return None
        if len(head) < 4 or size - at < 11:
            return "it ends within an FLV tag"
        at += 11 + int.from_bytes(head[1:]) + 4
    return "it ends within an FLV tag" if at - 4 > size else None


def _mpegts(file: BinaryIO, size: int) -> str | None:
    head = file.read(3 * max(length for length, _ in _TS_PACKETS))
    for length, sync in _TS_PACKETS:
        if all(head[at] == _TS_SYNC for at in range(sync, len(head), length)):
            rest = size % length
            file.seek(size - rest + sync)
            # Zeros at the end are the file system's.
            begun = file.read(1) == bytes([_TS_SYNC])
            return f"it ends within a packet: {rest} of {length} bytes" if begun else None
    return None


def _mxf(file: BinaryIO, size: int) -> str | None:
    """SMPTE ST 377-1, section 7.1: the header states where the footer lies, once the file is complete."""
    head = file.read(16 + 9 + 32)
    # A run-in may stand in front of it.
    if not head.startswith(_MXF_HEADER):
        return None
    at = 17 + (head[16] & 0x7F if head[16] & 0x80 else 0)
    (footer,) = struct.unpack_from(">Q", head, at + 24)
    return f"its footer at byte {footer} is missing" if footer >= size else None


def _ogg(file: BinaryIO, size: int) -> str | None:
    """RFC 3533, section 6: the last page is whole, and is marked as the last of its stream."""
    file.seek(max(0, size - _LARGEST_OGG_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return "it ends within an Ogg page"
    table = tail[at + 27 : at + 27 + tail[at + 26]]
    if at + 27 + tail[at + 26] + sum(table) > len(tail):
        return "it ends within an Ogg page"
    return None if tail[at + 5] & _OGG_LAST else "it ends without the last Ogg page"


def _riff(file: BinaryIO, size: int) -> str | None:
    file.seek(4)
    (length,) = struct.unpack("<I", file.read(4))
    # A writer that could not seek back left a placeholder.
    # Some count their own header in.
    return None if length >= _RIFF_PLACEHOLDER or length <= size else _stated(8 + length, size)


def _stated(end: int, size: int) -> str | None:
    return f"the header says {end} bytes, the file has {size}" if end > size else None


_CHECKS: dict[tuple[str, ...], Callable[[BinaryIO, int], str | None]] = {
    ("gif",): _gif,
    ("jpeg_pipe", "mjpeg"): _jpeg,
    ("matroska,webm",): _matroska,
    ("flv",): _flv,
    ("mpegts",): _mpegts,
    ("mxf",): _mxf,
    ("ogg",): _ogg,
    ("avi", "webp_pipe"): _riff,
}
