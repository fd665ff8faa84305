"""Reads what a file is and when its frames are shown, by walking its packets, not by trusting its header."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deepscan.media.container import decode_packets, open_container, video_stream
from deepscan.media.decoders import Probe, reason
from deepscan.media.frames import MediaError, MediaInfo
from deepscan.media.source import Source

MAX_PIXELS = 64_000_000
#: A damaged file that gives fewer frames than this is not scored.
FEWEST_OF_DAMAGED = 4
_SNIFFED = 4096


@dataclass(frozen=True, slots=True)
class _Walk:
    """What walking all packets of a video stream found; ticks and keys in the order of the file."""

    ticks: list[int | None]
    keys: list[bool]
    discarded: int
    corrupt: int
    last_duration: int
    end: float
    error: str | None


def probe(source: Source, max_pixels: int = MAX_PIXELS) -> Probe:
    """Read the facts about a video or still image.

    Args:
        source: The opened file.
        max_pixels: Largest width times height that is accepted.

    Raises:
        MediaError: `decode_error` if nothing (or too little of a damaged file) can be decoded, `unsupported`
            if it is text, has no picture, or is too large.
    """
    _refuse_by_head(source, max_pixels)
    try:
        with open_container(source.url()) as container:
            stream = video_stream(container)
            # libav has none for a codec that it does not know, whatever PyAV's annotations say.
            if (context := getattr(stream, "codec_context", None)) is None:
                raise MediaError("decode_error", "its video codec is unknown")
            _refuse_size(context.width, context.height, max_pixels)
            index = container.streams.video.index(stream)
            walk = _walk(container, stream)
        # Opened anew instead of rewound: not every format can seek.
        with open_container(source.url()) as container:
            first = _first_frame(container, container.streams.video[index], max_pixels)
            return _conclude(container, container.streams.video[index], walk, first)
    except av.FFmpegError as error:
        raise MediaError("decode_error", f"nothing can be decoded: {reason(error)}") from None


def _refuse_by_head(source: Source, max_pixels: int) -> None:
    head = source.head(_SNIFFED)
    if not head:
        raise MediaError("decode_error", "the file is empty")
    if _is_text(head):
        raise MediaError("unsupported", "it is text, not a video")
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


def _walk(container: InputContainer, stream: VideoStream) -> _Walk:
    ticks: list[int | None] = []
    keys: list[bool] = []
    discarded = corrupt = last_duration = 0
    end, error = 0.0, None
    # All streams, since only together do they tell whether the file goes on for as long as it states.
    packets: Iterator[Any] = container.demux()
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as failure:
            error = reason(failure)
            break
        if not packet.size:
            continue
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and packet.time_base:
            end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != stream.index:
            continue
        if packet.is_corrupt:
            corrupt += 1
        elif packet.is_discard:
            discarded += 1
        else:
            ticks.append(packet.pts)
            keys.append(packet.is_keyframe)
            last_duration = packet.duration or last_duration
    return _Walk(ticks, keys, discarded, corrupt, last_duration, end, error)


def _first_frame(container: InputContainer, stream: VideoStream, max_pixels: int) -> VideoFrame:
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = 2
    # Larger than any picture that passes, because libav counts its padding, too.
    stream.codec_context.options = {"max_pixels": str(2 * max_pixels + (1 << 20))}
    for frame in decode_packets(container, stream):
        _refuse_size(frame.width, frame.height, max_pixels)
        return frame
    raise MediaError("decode_error", "not one frame can be decoded")


def _conclude(container: InputContainer, stream: VideoStream, walk: _Walk, first: VideoFrame) -> Probe:
    still = container.format.name.endswith("_pipe") and container.format.name != "yuv4mpegpipe"
    # Several JPEGs in a row are a photograph with its previews far more often than a film without times.
    still = still or container.format.name == "mjpeg"
    # AVI has no presentation times: where frames are reordered, its packets' time stamps are those of others.
    timed = container.format.name != "avi" or not stream.codec_context.has_b_frames
    ticks, keys = _present(walk, still, timed)
    count = len(keys)
    still = still or (count == 1 and container.format.name in ("gif", "apng"))
    warnings = _warnings(container, stream, walk, still)
    damaged = bool(warnings)
    if count == 0 or (damaged and count < FEWEST_OF_DAMAGED):
        raise MediaError("decode_error", "; ".join([*warnings, f"only {count} frames are left of it"]))
    if not still and (stated := stream.frames or 0) and stated < count:
        warnings.append(f"the header states {stated} frames, {count} are there")
    if still and len(walk.keys) > 1:
        warnings.append(f"pictures behind the first one left out: {len(walk.keys) - 1}")
    rate = None if still else _rate(stream, ticks)
    base = _fraction(stream.time_base) or Fraction(1)
    period = 1 / float(rate) if rate else 0.0
    if ticks is None:
        seconds, last = np.arange(count, dtype=np.float64) * period, period
    else:
        seconds = (ticks - ticks[0]).astype(np.float64) * float(base)
        last = float(walk.last_duration * base) or period
    rotation = -90 * round(first.rotation / 90) % 360
    turned = rotation in (90, 270)
    info = MediaInfo(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=first.format.name,
        width=first.height if turned else first.width,
        height=first.width if turned else first.height,
        rotation=rotation,
        fps=rate,
        duration=None if still else float(seconds[-1]) + last,
        frames_stated=stream.frames or None,
        frames_decodable=count,
        keyframes=int(np.count_nonzero(keys)),
    )
    return Probe(info, stream.index, ticks, seconds, keys, still, damaged, tuple(warnings))


def _rate(stream: VideoStream, ticks: NDArray[np.int64] | None) -> Fraction:
    """Return the average frame rate, from the header only where the time stamps bear it out."""
    stated = _fraction(stream.average_rate) or _fraction(stream.guessed_rate) or Fraction(25)
    base = _fraction(stream.time_base)
    if ticks is None or len(ticks) < 2 or base is None:
        return stated
    found = (len(ticks) - 1) / (int(ticks[-1] - ticks[0]) * base)
    # Within two percent or one frame the header's is the exact one: it has no rounded time stamps in it.
    return stated if abs(stated / found - 1) < max(0.02, 1 / len(ticks)) else found.limit_denominator(1001)


def _fraction(value: Any) -> Fraction | None:
    """Return a rational number of PyAV's as Python's, None for one that is not set."""
    # Up to 18 PyAV gives a Fraction or None, from 19 on a type of its own, which knows 1/0, too.
    return Fraction(value.numerator, value.denominator) if value else None


def _present(walk: _Walk, still: bool, timed: bool) -> tuple[NDArray[np.int64] | None, NDArray[np.bool_]]:
    """Return time stamps and key flags in presentation order, less what no decoder can show."""
    # Frames before the first keyframe have nothing to start from. A photograph may carry more pictures
    # (a preview, a clip of the moment) behind its own.
    start = walk.keys.index(True) if True in walk.keys else 0
    end = start + 1 if still else len(walk.keys)
    keys = np.array(walk.keys[start:end], dtype=np.bool_)
    stamps = [tick for tick in walk.ticks[start:end] if tick is not None]
    if len(stamps) < len(keys) or not stamps or not timed:
        return None, keys
    ticks, where = np.unique(np.array(stamps, dtype=np.int64), return_index=True)
    shown = ticks >= stamps[0] if keys[0] else np.ones(len(ticks), dtype=np.bool_)
    return ticks[shown], keys[where][shown]


def _warnings(container: InputContainer, stream: VideoStream, walk: _Walk, still: bool) -> list[str]:
    """Return what shows that data are missing; nothing here may be said of a healthy file."""
    found = len(walk.keys) + walk.discarded
    lines = []
    if not still and stream.frames > found:
        lines.append(f"the header states {stream.frames} frames, {found} are there")
    if walk.corrupt:
        lines.append(f"corrupt packets left out: {walk.corrupt}")
    if walk.error:
        lines.append(f"reading stopped early: {walk.error}")
    # Matroska states no frame count; its length is exact, unlike that of formats where libav must guess.
    stated = (container.duration or 0) / av.time_base
    start = (container.start_time or 0) / av.time_base
    if "matroska" in container.format.name and stated - (walk.end - start) > max(0.5, 0.02 * stated):
        lines.append(f"the header states {stated:.2f} s, the data end after {walk.end - start:.2f} s")
    return lines
