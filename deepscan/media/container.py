"""Opens a file with libav, confined to the file itself, and reads its packets and frames."""

import contextlib
import errno
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

# libav knows some 350 formats; among the others are scripts that name further files or addresses to open.
_CONTAINERS = (
    "3g2,3gp,aac,apng,asf,av1,avi,bmp_pipe,dv,flac,flv,gif,h261,h263,h264,hevc,ivf,jpeg_pipe,m4a,m4v,matroska,mj2,mjpeg,"
    "mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,tiff_pipe,vc1,wav,webm,webp_pipe,wtv,yuv4mpegpipe"
)
# Not what a player shows: cover art, and pictures of a moment each.
_ASIDE = Disposition.attached_pic | Disposition.timed_thumbnails
_OURS = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
#: How often in a row a file may have no packet "just now".
_PATIENCE = 1000
# Metadata are in any encoding, or in none. From 19 on PyAV takes them as they are and knows no such option.
_LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


def open_container(url: str) -> InputContainer:
    """Open a file with libav from its beginning, confined to the file itself and to known containers.

    Args:
        url: The file, as `SourceFile.url` names it.

    Raises:
        av.FFmpegError: It cannot be opened.
        MediaError: `unsupported`: the container is none of those known.
    """
    # Where /dev/fd duplicates instead of reopening (macOS), the position is shared with whoever read before.
    os.lseek(int(url.removeprefix("/dev/fd/")), 0, os.SEEK_SET)
    confined = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    try:
        container: InputContainer = av.open(url, "r", container_options=confined, **_LENIENT)
    except av.FFmpegError as error:
        # PyAV's class for it has changed its name.
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
    """Yield the frames of a stream in presentation order, passing over packets that cannot be decoded.

    Args:
        container: The file, where reading is to go on.
        stream: One of its streams.
        segments: How to shift its time stamps, ascending; where there are several, reading is to begin at the
            first packet.
        needed: Which packets' frames must be decoded; of the others, those that no frame is built on are not.
    """
    packets = packets_of(container, stream)
    coming, shift, number = list(reversed(segments)), 0, 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            # Where reading breaks off, the decoder still holds the last frames.
            with contextlib.suppress(av.FFmpegError):
                yield from stream.codec_context.decode(None)
            return
        if packet.size:
            while coming and coming[-1].first <= number:
                shift = coming.pop().shift
            number += 1
            if coming and coming[-1].first - number < BLAMED:
                packet.is_corrupt = False
        # A cut-off packet is no frame of the probe's, and its error can cost the frames before it.
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
            raise_if_ours(error)


def packets_of(container: InputContainer, *streams: VideoStream) -> "Iterator[Packet[Any]]":
    """Yield the packets of a file, those without data too.

    Args:
        container: The file, where reading is to go on.
        streams: Only of these streams, of all where there are none.

    Raises:
        av.FFmpegError: Reading breaks off.
        MediaError: `error`: this process lacks memory.
    """
    vain = 0
    while vain < _PATIENCE:
        try:
            for packet in container.demux(*streams):
                vain = 0
                yield packet
            return
        except av.BlockingIOError:
            # In a stretch of zeros libav has no packet just now, and PyAV's generator ends with that.
            vain += 1
        except av.FFmpegError as error:
            raise_if_ours(error)
            raise


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the moving pictures of a file, best first, cover art and the like left aside.

    Raises:
        MediaError: `unsupported`: it has none.
    """
    moving = [stream for stream in container.streams.video if not stream.disposition & _ASIDE]
    if not moving:
        what = "audio only: it has no video stream" if container.streams.audio else "it has no video stream"
        raise MediaError("unsupported", what)
    best = container.streams.best("video")
    return sorted(moving, key=lambda stream: (not is_known(stream), stream is not best))


def in_tiles(container: InputContainer) -> bool:
    """Return whether all videos of a file are parts of one picture, as in HEIF and AVIF."""
    streams = container.streams.video
    return bool(streams) and all(stream.disposition & Disposition.dependent for stream in streams)


def is_known(stream: VideoStream) -> bool:
    """Return whether libav knows a stream's codec."""
    # It has no context for the others, whatever PyAV's annotations say.
    return getattr(stream, "codec_context", None) is not None


def stream_key(container: InputContainer, stream: VideoStream) -> StreamKey:
    """Return what a video stream is known by when the file is opened again.

    Raises:
        MediaError: `decode_error`: libav does not know its codec.
    """
    if not is_known(stream):
        raise MediaError("decode_error", "its video codec is unknown")
    context, place = stream.codec_context, container.streams.video.index(stream)
    return StreamKey(place, context.codec.canonical_name, context.width, context.height)


def reopened_stream(container: InputContainer, key: StreamKey) -> VideoStream:
    """Return the stream that an earlier opening of the file found.

    Raises:
        MediaError: `decode_error`: the file shows other streams now.
    """
    streams = container.streams.video
    # A damaged file can show other streams each time it is opened.
    if key.place >= len(streams) or stream_key(container, streams[key.place]) != key:
        raise MediaError("decode_error", "it shows other streams each time it is opened")
    return streams[key.place]


def raise_if_ours(error: BaseException) -> None:
    """Raise what is no fault of the file: this process has no memory, no room for a thread, or no descriptor.

    Args:
        error: What a library raised.

    Raises:
        MediaError: `error`.
    """
    code = errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None)
    if code in _OURS:
        raise MediaError("error", f"the decoding process is short of resources: {os.strerror(code)}")
