"""Opens a file with libav, confined to the file itself, and reads its packets and frames."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepscan.media.frames import MediaError

# libav knows some 350 formats; among the others are scripts that name further files or addresses to open.
_CONTAINERS = (
    "3g2,3gp,aac,apng,asf,av1,avi,bmp_pipe,dv,flac,flv,gif,h261,h263,h264,hevc,ivf,jpeg_pipe,m4a,m4v,matroska,mj2,mjpeg,"
    "mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,tiff_pipe,vc1,wav,webm,webp_pipe,wtv,yuv4mpegpipe"
)
# Metadata are in any encoding, or in none. From 19 on PyAV takes them as they are and knows no such option.
_LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


def open_container(url: str) -> InputContainer:
    """Open a file with libav from its beginning, confined to the file itself and to known containers.

    Args:
        url: The file, as `Source.url` names it.

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
        raise MediaError("unsupported", "it is no video or image container that is known here") from None
    return container


def decode_packets(
    container: InputContainer,
    stream: VideoStream,
    needed: "Callable[[Packet[VideoStream]], bool] | None" = None,
) -> Iterator[VideoFrame]:
    """Yield the frames of a stream in presentation order, passing over packets that cannot be decoded.

    Args:
        container: The file, where reading is to go on.
        stream: One of its streams.
        needed: Which packets' frames must be decoded; of the others, those that no frame is built on are not.
    """
    packets = container.demux(stream)
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
        # A cut-off packet is no frame of the probe's, and its error can cost the frames before it.
        if packet.is_corrupt:
            continue
        if needed is not None:
            stream.codec_context.skip_frame = "DEFAULT" if needed(packet) else "NONREF"
        with contextlib.suppress(av.FFmpegError):
            yield from (frame for frame in packet.decode() if isinstance(frame, VideoFrame))


def video_stream(container: InputContainer) -> VideoStream:
    """Return the moving picture of a file: the one that libav takes for the best, cover art left aside.

    Raises:
        MediaError: `unsupported`: it has none.
    """
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if moving:
        best = container.streams.best("video")
        return best if isinstance(best, VideoStream) and best in moving else moving[0]
    if container.streams.audio:
        raise MediaError("unsupported", "audio only: it has no video stream")
    raise MediaError("unsupported", "it has no video stream")
