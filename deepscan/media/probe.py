"""Reads what a file is and when its frames are shown, by walking its packets, not by trusting its header."""

import codecs
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deepscan.media.container import (
    decode_packets,
    in_tiles,
    is_known,
    key_of,
    open_container,
    raise_if_ours,
    reopened_stream,
    video_streams,
)
from deepscan.media.decoders import Probe, StreamKey, reason
from deepscan.media.frames import HDR, MediaError, MediaInfo
from deepscan.media.pictures import BOXED, Picture, look
from deepscan.media.shape import field_order_of, fraction, orientation_of, shape_of, transfer_of
from deepscan.media.source import Source
from deepscan.media.timeline import Timeline, lay_out
from deepscan.media.walk import Walk, walk

MAX_PIXELS = 64_000_000
#: A damaged file that gives fewer frames than this is not scored.
FEWEST_OF_DAMAGED = 4
_SNIFFED = 4096
#: Containers of broadcasts and live streams, whose clocks are set again and again.
_BROADCAST = ("mpegts", "mpeg", "flv")
#: Seconds from one frame to the next from which on such a clock was set rather than nothing shown.
_JUMP = 10


def probe(source: Source, max_pixels: int = MAX_PIXELS) -> Probe:
    """Read the facts about a video or still image.

    Args:
        source: The opened file.
        max_pixels: Largest width times height that is accepted, as stored and as displayed.

    Raises:
        MediaError: `decode_error` if nothing (or too little of a damaged file) can be decoded, `unsupported`
            if it is text, has no picture, or is too large, `error` if this process lacks memory.
    """
    _refuse_by_head(source, max_pixels)
    picture = look(source)
    if picture is not None and picture.beyond_libav:
        return _of_picture(picture, picture.beyond_libav, max_pixels)
    try:
        with open_container(source.url()) as container:
            if picture is not None and (why := _beyond_libav(container, picture)):
                return _of_picture(picture, why, max_pixels)
            for stream in filter(is_known, video_streams(container)):
                _refuse_size(stream.codec_context.width, stream.codec_context.height, max_pixels)
            found = walk(container)
            key = key_of(container, found.moving(container)[0])
        # Opened anew instead of rewound: not every format can seek.
        with open_container(source.url()) as container:
            stream = reopened_stream(container, key)
            first = _first_frame(container, stream, max_pixels)
            return _conclude(container, stream, found, first, picture, max_pixels)
    except av.FFmpegError as error:
        raise_if_ours(error)
        raise MediaError("decode_error", f"nothing can be decoded: {reason(error)}") from None


def _refuse_by_head(source: Source, max_pixels: int) -> None:
    head = source.head(_SNIFFED)
    if not head:
        raise MediaError("decode_error", "the file is empty")
    if _is_text(head):
        raise MediaError("unsupported", "it is text, not a video")
    # libav finds the pictures in it.
    if head.startswith(b"%PDF-"):
        raise MediaError("unsupported", "it is a PDF document, not a video")
    # libav refuses the largest pictures by itself, and then does not tell their size.
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        _refuse_size(int.from_bytes(head[16:20]), int.from_bytes(head[20:24]), max_pixels)


def _is_text(head: bytes) -> bool:
    if head.startswith(b"YUV4MPEG2 "):
        return False
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    controls = set(range(32)) - set(b"\t\n\r\f\b\x1b")
    if controls.intersection(head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        # Older encodings of text are still mostly ASCII; compressed data without a control byte do not occur.
        return sum(byte < 128 for byte in head) > len(head) // 2
    return True


def _refuse_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise MediaError("unsupported", f"{width}x{height} is over the limit of {max_pixels} pixels")


def _first_frame(container: InputContainer, stream: VideoStream, max_pixels: int) -> VideoFrame:
    # Larger than any picture that passes, because libav counts its padding, too.
    stream.codec_context.options = {"max_pixels": str(2 * max_pixels + (1 << 20))}
    for frame in decode_packets(container, stream):
        _refuse_size(frame.width, frame.height, max_pixels)
        return frame
    raise MediaError("decode_error", "not one frame can be decoded")


def _conclude(
    container: InputContainer,
    stream: VideoStream,
    found: Walk,
    first: VideoFrame,
    picture: Picture | None,
    max_pixels: int,
) -> Probe:
    still = container.format.name.endswith("_pipe") and container.format.name != "yuv4mpegpipe"
    # Several JPEGs in a row are a photograph with its previews far more often than a film without times.
    still = still or container.format.name == "mjpeg"
    boxed = picture is not None and picture.kind in BOXED
    still = still or boxed
    key = key_of(container, stream)
    base = fraction(stream.time_base) or Fraction(1)
    line = _timeline(container, stream, found, base, still=still)
    count = len(line.keys)
    still = still or (count == 1 and container.format.name in ("gif", "apng"))
    warnings = _damage(container, stream, found, line, still)
    damaged = bool(warnings)
    if count == 0 or (damaged and count < FEWEST_OF_DAMAGED):
        raise MediaError("decode_error", "; ".join([*warnings, f"only {count} frames are left of it"]))
    pages = picture.pages if picture and still else 1
    warnings += _oddities(container, stream, found, line, pages, still=still)
    rate = None if still else _rate(stream, line.ticks)
    period = 1 / float(rate) if rate else 0.0
    if line.ticks is None:
        seconds, last = np.arange(count, dtype=np.float64) * period, period
    else:
        seconds = (line.ticks - line.ticks[0]).astype(np.float64) * float(base)
        last = float(found.last_duration[stream.index] * base) or period
    # libav applies the boxes that turn a HEIF or AVIF, and passes on no mirroring of the other formats.
    turned = (
        picture.orientation if picture and picture.kind not in ("AVIF", "HEIF") else orientation_of(first)
    )
    shape = shape_of(stream, first, turned, still=still)
    _refuse_size(shape.width, shape.height, max_pixels)
    info = MediaInfo(
        container=container.format.name,
        codec=key.codec,
        pixel_format=first.format.name,
        width=shape.width,
        height=shape.height,
        stored_width=first.width,
        stored_height=first.height,
        pixel_aspect=shape.pixel_aspect,
        rotation=shape.orientation.rotation,
        mirrored=shape.orientation.mirrored,
        transfer=transfer_of(first),
        field_order=field_order_of(stream, first),
        start=None if still or line.ticks is None else float(line.ticks[0] * base),
        fps=rate,
        duration=None if still else float(seconds[-1]) + last,
        frames_stated=stream.frames or None,
        frames_decodable=count,
        keyframes=int(np.count_nonzero(line.keys)),
        other_videos=0 if still else len(found.others(container, stream)),
    )
    segments = line.segments if len(line.segments) > 1 else ()
    return Probe(info, key, line.ticks, seconds, line.keys, segments, still, damaged, None, tuple(warnings))


def _beyond_libav(container: InputContainer, picture: Picture) -> str | None:
    """Return why an HEIF or AVIF is not left to libav, or None."""
    if picture.kind not in BOXED:
        return None
    first = video_streams(container)[0].codec_context
    if in_tiles(container):
        why = "libav gives each tile of a picture by itself"
    elif picture.misleading:
        why = "libav turns a HEIF by its EXIF data"
    elif sorted((first.width, first.height)) != sorted((picture.width, picture.height)):
        why = "libav does not crop a HEIF"
    else:
        return None
    if transfer_of(first) in HDR:
        raise MediaError("unsupported", f"it is a picture of high dynamic range, and {why}")
    return why


def _of_picture(picture: Picture, why: str, max_pixels: int) -> Probe:
    """Return the facts of what Pillow reads in libav's place."""
    _refuse_size(picture.width, picture.height, max_pixels)
    width, height = picture.width, picture.height
    if picture.orientation.swaps_sides:
        width, height = height, width
    still = not picture.begins
    begins = np.array(picture.begins or (0,), np.int64)
    seconds = picture.length / 1000
    info = MediaInfo(
        container=picture.kind.lower(),
        codec=picture.kind.lower(),
        pixel_format=picture.mode.lower(),
        width=width,
        height=height,
        stored_width=picture.width,
        stored_height=picture.height,
        pixel_aspect=Fraction(1),
        rotation=picture.orientation.rotation,
        mirrored=picture.orientation.mirrored,
        transfer=None,
        field_order="progressive",
        start=None,
        fps=None if still else Fraction(1000 * len(begins), picture.length).limit_denominator(1001),
        duration=None if still else seconds,
        frames_stated=None if still else picture.pages,
        frames_decodable=len(begins),
        keyframes=1,
        other_videos=0,
    )
    key = StreamKey(0, info.codec, picture.width, picture.height)
    keys = np.arange(len(begins)) == 0
    pages = f"pictures behind the first one left out: {picture.pages - 1}"
    warnings = (pages,) if still and picture.pages > 1 else ()
    return Probe(info, key, begins, begins / 1000, keys, (), still, False, why, warnings)


def _rate(stream: VideoStream, ticks: NDArray[np.int64] | None) -> Fraction:
    """Return the average frame rate, from the header only where the time stamps bear it out."""
    stated = fraction(stream.average_rate) or fraction(stream.guessed_rate) or Fraction(25)
    base = fraction(stream.time_base)
    if ticks is None or len(ticks) < 2 or base is None:
        return stated
    found = (len(ticks) - 1) / (int(ticks[-1] - ticks[0]) * base)
    # Within two percent or one frame the header's is the exact one: it has no rounded time stamps in it.
    return stated if abs(stated / found - 1) < max(0.02, 1 / len(ticks)) else found.limit_denominator(1001)


def _timeline(
    container: InputContainer, stream: VideoStream, found: Walk, base: Fraction, *, still: bool
) -> Timeline:
    packets = found.packets[stream.index]
    if still:
        intact = [number for number, packet in enumerate(packets) if not packet.corrupt]
        key = next((number for number in intact if packets[number].key), intact[0] if intact else 0)
        packets = packets[key : key + 1]
    # AVI has no presentation times: where frames are reordered, its packets' time stamps are those of others.
    timed = container.format.name != "avi" or not stream.codec_context.has_b_frames
    gap = int(_JUMP / base) if container.format.name in _BROADCAST else None
    return lay_out(packets, timed=timed, gap=gap)


def _damage(
    container: InputContainer, stream: VideoStream, found: Walk, line: Timeline, still: bool
) -> list[str]:
    """Return what shows that data are missing; nothing here may be said of a healthy file."""
    intact = len(found.packets[stream.index]) - line.corrupt
    lines = []
    if not still and stream.frames > intact:
        lines.append(f"the header states {stream.frames} frames, {intact} are there")
    if line.corrupt:
        lines.append(f"corrupt packets left out: {line.corrupt}")
    if found.error:
        lines.append(f"reading stopped early: {found.error}")
    # Matroska states no frame count; its length is exact, unlike that of formats where libav must guess.
    stated = (container.duration or 0) / av.time_base
    start = (container.start_time or 0) / av.time_base
    if "matroska" in container.format.name and stated - (found.end - start) > max(0.5, 0.02 * stated):
        lines.append(f"the header states {stated:.2f} s, the data end after {found.end - start:.2f} s")
    return lines


def _oddities(
    container: InputContainer, stream: VideoStream, found: Walk, line: Timeline, pages: int, *, still: bool
) -> list[str]:
    """Return what a reader must know of a file although no data are missing."""
    lines = []
    if not still and 0 < stream.frames < len(line.keys):
        lines.append(f"the header states {stream.frames} frames, {len(line.keys)} are there")
    # A photograph may carry more pictures (a preview, a clip of the moment) behind its own.
    if still and (behind := max(len(found.packets[stream.index]), pages) - 1) > 0:
        lines.append(f"pictures behind the first one left out: {behind}")
    if line.jumps:
        how = "the frames are counted" if line.ticks is None else "the pieces are put one after another"
        lines.append(f"time stamps that jump: {line.jumps}; {how}")
    if not still and (others := found.others(container, stream)):
        named = ", ".join(f"{each.index} ({_brief(each)})" for each in others)
        lines.append(f"further video streams, not looked at: {named}")
    return lines


def _brief(stream: VideoStream) -> str:
    if not is_known(stream):
        return "unknown codec"
    context = stream.codec_context
    return f"{context.codec.canonical_name} {context.width}x{context.height}"
