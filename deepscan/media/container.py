"""Open files with libav, confined to the file itself, and read their packets and frames."""

import contextlib
import errno
import mmap
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepscan.media.decoders import StreamKey
from deepscan.media.frames import MediaError
from deepscan.media.timeline import BLAMED, Segment

# libav supports some 350 formats. Some of the others are playlists that make it open further files or
# addresses.
_CONTAINERS = (
    "3g2,3gp,aac,apng,asf,av1,avi,bmp_pipe,dv,flac,flv,gif,h261,h263,h264,hevc,ivf,jpeg_pipe,m4a,m4v,matroska,mj2,mjpeg,"
    "mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,tiff_pipe,vc1,wav,webm,webp_pipe,wtv,yuv4mpegpipe"
)
# Not part of what a player shows: cover art, and thumbnails of single moments.
_NOT_PLAYED = Disposition.attached_pic | Disposition.timed_thumbnails
_RESOURCE_ERRORS = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
#: Bytes that a process with enough memory can reserve.
_AMPLE = 1 << 30
#: How many times in a row the demuxer may answer "no packet yet" before reading ends.
_MAX_RETRIES = 1000
# Metadata can be in any encoding. PyAV 19 and later accept that and no longer have this option.
_LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


def open_container(url: str) -> InputContainer:
    """Open a file with libav at its beginning, allowing only the file itself and known containers.

    Args:
        url: The file, as `SourceFile.url` names it.

    Raises:
        av.FFmpegError: It cannot be opened.
        MediaError: `unsupported`: the container is unknown.
    """
    # Where /dev/fd duplicates instead of reopening (macOS), all readers share one file position.
    os.lseek(int(url.removeprefix("/dev/fd/")), 0, os.SEEK_SET)
    confined = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    try:
        container: InputContainer = av.open(url, "r", container_options=confined, **_LENIENT)
    except av.FFmpegError as error:
        # PyAV has renamed its class for this error, so the code is compared.
        if error.errno != errno.EINVAL:
            raise
        raise MediaError("unsupported", "unknown video or image container") from None
    return container


def decode_packets(
    container: InputContainer,
    stream: VideoStream,
    segments: Sequence[Segment] = (),
    needed: "Callable[[Packet[VideoStream]], bool] | None" = None,
) -> Generator[VideoFrame]:
    """Yield the frames of a stream in presentation order, skipping packets that cannot be decoded.

    Args:
        container: The file, positioned where reading is to continue.
        stream: One of its streams.
        segments: How to shift its timestamps, ascending. If there is more than one, reading must start at the
            first packet.
        needed: Says for which packets the frame must be decoded. Of the rest, frames that no other frame
            depends on are skipped.
    """
    packets = packets_of(container, stream)
    upcoming, shift, number = list(reversed(segments)), 0, 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            # When reading fails, the decoder still has the last frames buffered.
            with contextlib.suppress(av.FFmpegError):
                yield from stream.codec_context.decode(None)
            return
        if packet.size:
            while upcoming and upcoming[-1].first <= number:
                shift = upcoming.pop().shift
            number += 1
            if upcoming and upcoming[-1].first - number < BLAMED:
                packet.is_corrupt = False
        # The probe does not count a truncated packet as a frame, and its error can lose the frames before it.
        if packet.is_corrupt:
            continue
        if shift:
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        if needed is not None:
            stream.codec_context.skip_frame = "DEFAULT" if needed(packet) else "NONREF"
        try:
            yield from (frame for frame in packet.decode() if isinstance(frame, VideoFrame))
        except av.FFmpegError as error:
            raise_if_out_of_resources(error)


def packets_of(container: InputContainer, *streams: VideoStream) -> "Iterator[Packet[Any]]":
    """Yield the packets of a file, including those without data.

    Args:
        container: The file, positioned where reading is to continue.
        streams: Yield packets of these streams only; by default of all.

    Raises:
        av.FFmpegError: Reading failed.
        MediaError: `error`: this process is out of memory.
    """
    retries = 0
    while retries < _MAX_RETRIES:
        try:
            for packet in container.demux(*streams):
                retries = 0
                yield packet
            return
        except av.BlockingIOError:
            # In a run of zeros libav reports EAGAIN, which ends PyAV's generator: start it again.
            retries += 1
        except av.FFmpegError as error:
            raise_if_out_of_resources(error)
            raise
        except IndexError:
            # At the end of a file PyAV also flushes streams that began within it, which it does not know.
            return


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams of a file, best first, without cover art and thumbnails.

    Raises:
        MediaError: `unsupported`: it has none.
    """
    moving = [stream for stream in container.streams.video if not stream.disposition & _NOT_PLAYED]
    if not moving:
        detail = "audio only: it has no video stream" if container.streams.audio else "it has no video stream"
        raise MediaError("unsupported", detail)
    best = container.streams.best("video")
    return sorted(moving, key=lambda stream: (not is_known(stream), stream is not best))


def in_tiles(container: InputContainer) -> bool:
    """Return whether all video streams of a file are tiles of one picture, as in HEIF and AVIF."""
    streams = container.streams.video
    return bool(streams) and all(stream.disposition & Disposition.dependent for stream in streams)


def is_known(stream: VideoStream) -> bool:
    """Return whether libav knows a stream's codec."""
    # For unknown codecs PyAV has no context, whatever its annotations say.
    return getattr(stream, "codec_context", None) is not None


def stream_key(container: InputContainer, stream: VideoStream) -> StreamKey:
    """Return a key that identifies a video stream when the file is opened again.

    Raises:
        MediaError: `decode_error`: libav does not know its codec.
    """
    if not is_known(stream):
        raise MediaError("decode_error", "its video codec is unknown")
    context, place = stream.codec_context, container.streams.video.index(stream)
    return StreamKey(place, context.codec.canonical_name, context.width, context.height)


def reopened_stream(container: InputContainer, key: StreamKey) -> VideoStream:
    """Return the stream that was found when the file was opened before.

    Raises:
        MediaError: `decode_error`: the file now has different streams.
    """
    streams = container.streams.video
    # A damaged file can yield different streams each time it is opened.
    if key.place >= len(streams) or stream_key(container, streams[key.place]) != key:
        raise MediaError("decode_error", "its streams differ each time it is opened")
    return streams[key.place]


def raise_if_out_of_resources(error: BaseException) -> None:
    """Raise a `MediaError` if the failure is this process's own: out of memory, threads or descriptors.

    libav also reports a lack of memory if a damaged file requests more than it may have.

    Args:
        error: What a library raised.

    Raises:
        MediaError: `error`.
    """
    code = errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None)
    if code in _RESOURCE_ERRORS and not (code == errno.ENOMEM and _has_memory()):
        raise MediaError("error", f"the decoding process is short of resources: {os.strerror(code)}")


def _has_memory() -> bool:
    """Return whether this process can still reserve far more memory than a frame needs."""
    try:
        with mmap.mmap(-1, _AMPLE):
            return True
    except OSError:
        return False
