"""Detect files that are cut short, from what their own structure says about their end."""

import os
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from deepscan.media.source import SourceFile

#: If more than this share of a file's bytes lies after its last packet, something was left unread.
_UNREAD = 0.25
#: Packet lengths of transport streams, and the offset of the sync byte within a packet.
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_TS_SYNC = 0x47
_JPEG_SCAN, _JPEG_END, _JPEG_STANDALONE = 0xDA, 0xD9, {0x01, *range(0xD0, 0xD9)}
_MARKER, _IN_SCAN = re.compile(rb"\xff[^\x00\xff]"), re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BLOCK = 188 << 12
#: Formats that are a plain sequence of frames, all of one size.
_RAW_FORMATS = ("yuv4mpegpipe",)
_FLV_TAGS = (8, 9, 18)
#: Larger file sizes in a header are garbage.
_FLV_LARGEST = 2.0**53
#: In FLV metadata: the length and name of the key, then the type byte of a number. And how far to look for
#: it.
_FLV_SIZE, _FLV_METADATA = b"\x00\x08filesize\x00", 1 << 16
_MXF_HEADER = bytes.fromhex("060e2b34020501010d0102010102")
_OGG_LAST = 4
_RIFF_PLACEHOLDER = 0xFFFFFFF0
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255


def shortfall(source: SourceFile, container: str, reached: int = 0) -> str | None:
    """Describe what is missing at the end of a file, or return None if nothing appears to be.

    Args:
        source: The opened file.
        container: Its format, in libav's terms.
        reached: Offset in bytes up to which the file holds complete packets, 0 if unknown.
    """
    if container in _RAW_FORMATS and 0 < reached < source.size:
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
    """Describe what lies after the last packet of a stream, or return None if it is little.

    Args:
        source: The opened file.
        reached: Offset in bytes at which the last packet ends, 0 if unknown.
    """
    if not reached or source.size - reached <= _UNREAD * source.size:
        return None
    # Broadcasts are padded with null packets (ISO/IEC 13818-1, 2.4.3.3: PID 0x1FFF).
    rest = source.size - reached
    with open(source.url(), "rb") as file:
        file.seek(reached)
        blocks = iter(lambda: file.read(_BLOCK), b"")
        padding = sum(block.count(b"\x47\x1f\xff") for block in blocks) * _TS_PACKETS[0][0]
    if rest - padding <= _UNREAD * source.size:
        return None
    return f"the last {rest} of {source.size} bytes were not read; they may be another recording"


def _gif(file: BinaryIO, size: int) -> str | None:
    """Check a GIF: blocks up to a trailer (GIF89a, sections 15 to 27)."""
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
    """Check a JPEG: segments up to the EOI marker (ITU-T T.81, annex B)."""
    at, in_scan = 2, False
    while at < size:
        file.seek(at)
        block = file.read(_BLOCK)
        # In a scan, 0xFF begins a marker unless it is stuffed or a restart. Between segments, fill bytes may
        # occur.
        found = (_IN_SCAN if in_scan else _MARKER).search(block)
        if found is None:
            # The last byte may be the first byte of a marker.
            at += max(1, len(block) - 1)
            continue
        marker, at = block[found.end() - 1], at + found.end()
        if marker == _JPEG_END:
            return None
        in_scan = in_scan and marker in _JPEG_STANDALONE
        if marker not in _JPEG_STANDALONE:
            file.seek(at)
            at += struct.unpack(">H", file.read(2))[0]
            in_scan = marker == _JPEG_SCAN
    return "it ends without the JPEG EOI marker"


def _matroska(file: BinaryIO, size: int) -> str | None:
    """Check a Matroska file (RFC 8794, RFC 9559): a Segment after the EBML header, sized unless live."""
    for _ in range(2):
        identifier = _vint(file, marker=True)
        length = _vint(file)
        if identifier == 0x18538067:
            end = None if length is None else file.tell() + length
            return None if end is None else _size_mismatch(end, size)
        if length is None or length > size:
            return None
        file.seek(length, os.SEEK_CUR)
    return None


def _vint(file: BinaryIO, *, marker: bool = False) -> int | None:
    """Read an EBML variable-length integer, with or without its length marker; None if it means 'unknown'."""
    first = file.read(1)[0]
    extra = 8 - first.bit_length()
    value = int.from_bytes(bytes([first if marker else first ^ (0x80 >> extra)]) + file.read(extra))
    return None if not marker and value == 2 ** (7 * (extra + 1)) - 1 else value


def _flv(file: BinaryIO, size: int) -> str | None:
    """Check an FLV file: its last four bytes are the length of the last tag (Flash Video 10.1, E.3 and E.5).

    A file cut between two tags looks complete except for its size, which most writers declare; streams
    declare 0.
    """
    _, found, rest = file.read(_FLV_METADATA).partition(_FLV_SIZE)
    if found and len(rest) >= 8 and size + 4 < (declared := struct.unpack(">d", rest[:8])[0]) < _FLV_LARGEST:
        return f"it has {size:,} of the {declared:,.0f} bytes that its header declares"
    file.seek(max(0, size - 4))
    (length,) = struct.unpack(">I", file.read(4))
    if (start := size - 4 - length) >= 13:
        file.seek(start + 1)
        if int.from_bytes(file.read(3)) + 11 == length:
            return None
    # Some writers omit the lengths: step from tag to tag for as long as there are any.
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
            # Zeros at the end come from the file system.
            started = file.read(1) == bytes([_TS_SYNC])
            return f"it ends within a packet: {rest} of {length} bytes" if started else None
    return None


def _mxf(file: BinaryIO, size: int) -> str | None:
    """Check an MXF file: once complete, its header says where the footer is (SMPTE ST 377-1, section 7.1)."""
    head = file.read(16 + 9 + 32)
    # A run-in may precede the header.
    if not head.startswith(_MXF_HEADER):
        return None
    at = 17 + (head[16] & 0x7F if head[16] & 0x80 else 0)
    (footer,) = struct.unpack_from(">Q", head, at + 24)
    return f"its footer at byte {footer} is missing" if footer >= size else None


def _ogg(file: BinaryIO, size: int) -> str | None:
    """Check an Ogg file: the last page is complete and marked as its stream's last (RFC 3533, section 6)."""
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
    # A writer that could not seek back left a placeholder. Some writers include their own header in the
    # length.
    return None if length >= _RIFF_PLACEHOLDER or length <= size else _size_mismatch(8 + length, size)


def _size_mismatch(end: int, size: int) -> str | None:
    return f"its header declares {end} bytes, the file has {size}" if end > size else None


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
