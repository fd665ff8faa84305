"""Find out what a file contains and when its frames are shown, from its packets rather than its header."""

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
    is_known,
    open_container,
    raise_if_out_of_resources,
    reopened_stream,
    stream_key,
    video_streams,
)
from deepscan.media.decoders import Probe, reason
from deepscan.media.defects import BROADCAST, damage, oddities
from deepscan.media.endings import shortfall
from deepscan.media.frames import MediaError, MediaInfo
from deepscan.media.origins import created, declared_duration, device, edit_list, keyframe_gaps, software
from deepscan.media.pictures import BOXED, PictureInfo, beyond_libav, probe_of, read_picture
from deepscan.media.shape import field_order_of, fraction, orientation_of, shape_of, transfer_of
from deepscan.media.source import SourceFile
from deepscan.media.timeline import Timeline, lay_out
from deepscan.media.walk import Walk, walk

MAX_PIXELS = 64_000_000
#: A damaged file with fewer decodable frames is not scored.
FEWEST_OF_DAMAGED = 4
_SNIFFED = 4096
#: In a broadcast, a step of this many seconds between frames means that the clock was reset.
_JUMP = 10


def probe(source: SourceFile, max_pixels: int = MAX_PIXELS) -> Probe:
    """Probe a video or still image.

    Args:
        source: The opened file.
        max_pixels: Largest accepted width times height, both as stored and as displayed.

    Raises:
        MediaError: `decode_error` if nothing can be decoded, or too little of a damaged file; `unsupported`
            if the file is text, has no picture or is too large; `error` if this process is out of memory.
    """
    _refuse_by_head(source, max_pixels)
    picture = read_picture(source)
    if picture is not None:
        _refuse_size(picture.width, picture.height, max_pixels)
        if picture.beyond_libav:
            return probe_of(picture, picture.beyond_libav)
    try:
        with open_container(source.url()) as container:
            if picture is not None and (why := beyond_libav(picture, container)):
                return probe_of(picture, why)
            for stream in filter(is_known, video_streams(container)):
                _refuse_size(stream.codec_context.width, stream.codec_context.height, max_pixels)
            found = walk(container)
            key = stream_key(container, found.moving(container)[0])
        # Open the file again instead of rewinding: not every format can seek.
        with open_container(source.url()) as container:
            stream = reopened_stream(container, key)
            # Above any accepted size, because libav includes its padding.
            stream.codec_context.options = {"max_pixels": str(2 * max_pixels + (1 << 20))}
            made = _conclude(source, container, stream, found, picture)
        _refuse_size(made.info.stored_width, made.info.stored_height, max_pixels)
        _refuse_size(made.info.width, made.info.height, max_pixels)
        return made
    except av.FFmpegError as error:
        raise_if_out_of_resources(error)
        raise MediaError("decode_error", f"nothing can be decoded: {reason(error)}") from None


def _refuse_by_head(source: SourceFile, max_pixels: int) -> None:
    head = source.head(_SNIFFED)
    if not head:
        raise MediaError("decode_error", "the file is empty")
    if _is_text(head):
        raise MediaError("unsupported", "it is text, not a video")
    # libav would find the pictures in it.
    if head.startswith(b"%PDF-"):
        raise MediaError("unsupported", "it is a PDF document, not a video")
    # libav rejects the largest pictures without giving their size.
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
        # Older text encodings are still mostly ASCII; compressed data without control bytes do not occur.
        return sum(byte < 128 for byte in head) > len(head) // 2
    return True


def _refuse_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise MediaError("unsupported", f"{width}x{height} exceeds the limit of {max_pixels} pixels")


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    for frame in decode_packets(container, stream):
        return frame
    raise MediaError("decode_error", "no frame can be decoded")


def _conclude(
    source: SourceFile,
    container: InputContainer,
    stream: VideoStream,
    found: Walk,
    picture: PictureInfo | None,
) -> Probe:
    # Read the container's value before the codec's own header, which may leave it open, replaces it.
    transfer = transfer_of(stream.codec_context)
    first = _first_frame(container, stream)
    key = stream_key(container, stream)
    base = fraction(stream.time_base) or Fraction(1)
    still = _is_still(found, stream, picture)
    missing = shortfall(source, found.format, found.reached)
    line = _timeline(stream, found, base, still=still, cut=missing is not None)
    count = len(line.keys)
    still = still or (count == 1 and found.format in ("gif", "apng"))
    warnings = damage(found, stream.index, stream.frames, line, missing, still=still)
    damaged = bool(warnings)
    if count == 0 or (damaged and count < FEWEST_OF_DAMAGED):
        raise MediaError(
            "decode_error", "; ".join([*warnings, f"too few decodable frames are left: {count}"])
        )
    others = [f"{other.index} ({_brief(other)})" for other in found.others(container, stream)]
    pages = (picture.pages if picture else 1) if still else 0
    warnings += oddities(source, found, stream.index, stream.frames, line, others, pages)
    rate = None if still else _rate(stream, line.ticks)
    seconds, length = _times(line, base, rate, found.last_duration[stream.index])
    # libav applies the boxes that rotate a HEIF or AVIF, but not EXIF mirroring.
    by_exif = picture is not None and picture.kind not in BOXED
    turned = picture.orientation if picture is not None and by_exif else orientation_of(first)
    shape = shape_of(stream, first, turned, still=still)
    info = MediaInfo(
        container=found.format,
        codec=key.codec,
        pixel_format=first.format.name,
        width=shape.width,
        height=shape.height,
        stored_width=first.width,
        stored_height=first.height,
        pixel_aspect=shape.pixel_aspect,
        rotation=turned.rotation,
        mirrored=turned.mirrored,
        transfer=transfer_of(first) or transfer,
        field_order=field_order_of(stream, first),
        start=None if still or line.ticks is None else float(line.ticks[0] * base),
        fps=rate,
        duration=None if still else length,
        frames_stated=stream.frames or None,
        frames_decodable=count,
        keyframes=int(np.count_nonzero(line.keys)),
        other_videos=0 if still else len(others),
        encoder=software(container, stream, found.heads.get(stream.index, b"")),
        created=created(container, stream),
        device=device(container),
        duration_stated=None if still else declared_duration(container),
        keyframe_gaps=None if still else keyframe_gaps(line.keys),
        edits=() if still else edit_list(source, found.format, key.place),
    )
    segments = line.segments if len(line.segments) > 1 else ()
    return Probe(info, key, line.ticks, seconds, line.keys, segments, still, damaged, None, tuple(warnings))


def _is_still(found: Walk, stream: VideoStream, picture: PictureInfo | None) -> bool:
    if picture is not None and picture.kind in BOXED:
        return len(found.packets[stream.index]) == 1
    # Several JPEGs in a row are far more often a photo with its previews than a video without timestamps.
    return found.format == "mjpeg" or (found.format.endswith("_pipe") and found.format != "yuv4mpegpipe")


def _times(
    line: Timeline, base: Fraction, rate: Fraction | None, last_duration: int
) -> tuple[NDArray[np.float64], float]:
    """Return when each frame is shown in seconds from the first, shape (n,), and the total duration."""
    period = 1 / float(rate) if rate else 0.0
    if line.ticks is None:
        seconds, last = np.arange(len(line.keys), dtype=np.float64) * period, period
    else:
        seconds = (line.ticks - line.ticks[0]).astype(np.float64) * float(base)
        last = float(last_duration * base) or period
    return seconds, float(seconds[-1]) + last


def _rate(stream: VideoStream, ticks: NDArray[np.int64] | None) -> Fraction:
    """Return the average frame rate; the header's if the timestamps confirm it."""
    declared = fraction(stream.average_rate) or fraction(stream.guessed_rate) or Fraction(25)
    base = fraction(stream.time_base)
    if ticks is None or len(ticks) < 2 or base is None:
        return declared
    found = (len(ticks) - 1) / (int(ticks[-1] - ticks[0]) * base)
    # Within two percent or one frame the header's rate is the exact one: timestamps are rounded.
    exact = abs(declared / found - 1) < max(0.02, 1 / len(ticks))
    return declared if exact else found.limit_denominator(1001)


def _timeline(stream: VideoStream, found: Walk, base: Fraction, *, still: bool, cut: bool) -> Timeline:
    packets = found.packets[stream.index]
    if cut and found.format == "gif" and packets:
        # libav fills in what is missing of the last frame without reporting it.
        packets = [*packets[:-1], packets[-1]._replace(corrupt=True)]
    if still:
        intact = [number for number, packet in enumerate(packets) if not packet.corrupt]
        key = next((number for number in intact if packets[number].key), intact[0] if intact else 0)
        packets = packets[key : key + 1]
    # AVI has no presentation times: where frames are reordered, a packet carries another frame's timestamp.
    timed = found.format != "avi" or not stream.codec_context.has_b_frames
    gap = int(_JUMP / base) if found.format in BROADCAST else None
    return lay_out(packets, timed=timed, gap=gap)


def _brief(stream: VideoStream) -> str:
    if not is_known(stream):
        return "unknown codec"
    context = stream.codec_context
    return f"{context.codec.canonical_name} {context.width}x{context.height}"
