"""Decodes with libav through PyAV: whatever the probe can read, this can."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from deepscan.media.decoders import DECODERS, DecoderError, FrameError, Probe, reason
from deepscan.media.frames import Image

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


#: Codecs whose packets say by their standard that no other frame is built on theirs, and of which libav then
#: passes over such a frame (H.264: nal_ref_idc is 0). In HEVC a higher temporal layer may build on it.
_SAYS_WHAT_IS_NEEDED = ("h264",)


@DECODERS.register("pyav")
class PyavDecoder:
    """Finds frames by their time stamps, seeking to the nearest keyframe unless reading on is shorter.

    Where it has been told which frames will be asked for, it passes over those that are neither among them
    nor needed for one of them.

    Args:
        url: The file, as `Source.url` names it.
        probe: What the file holds.
        threads: How many threads libav may use.

    Raises:
        DecoderError: libav cannot open the file.
    """

    package: ClassVar[str] = "av"
    module: ClassVar[str] = "av"
    may_hang: ClassVar[bool] = False
    most_pixels: ClassVar[float] = math.inf

    def __init__(self, url: str, probe: Probe, threads: int) -> None:
        from av.error import FFmpegError

        self._url = url
        self._probe = probe
        self._threads = threads
        self._pending: VideoFrame | None = None
        self._damage = -1
        self._expected: set[int] | None = None
        self.doubtful: set[int] = set()
        try:
            self._rewind()
        except FFmpegError as error:
            raise DecoderError(reason(error)) from None

    @staticmethod
    def unfit(probe: Probe) -> str | None:
        """Return None: libav has read the file already."""
        return None

    @staticmethod
    def leaves_out(probe: Probe) -> bool:
        """Return whether the packets say which frames the others need."""
        return probe.info.codec in _SAYS_WHAT_IS_NEEDED and probe.ticks is not None and not probe.damaged

    def expect(self, indices: Sequence[int]) -> None:
        """Take note of the only frames that will be asked for, as long as all can be decoded."""
        if self._probe.ticks is not None and self.leaves_out(self._probe):
            self._expected = set(self._probe.ticks[list(indices)].tolist())

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, upright.

        Raises:
            FrameError: This frame cannot be decoded.
        """
        from av.error import FFmpegError

        if not 0 <= index < self._probe.count:
            raise FrameError(f"there is no frame {index}")
        try:
            found, before = self._find(index)
            if found is None and self._expected is not None:
                found, before = self._find_among_all(index)
        except FFmpegError as error:
            raise FrameError(reason(error)) from None
        if found is None:
            raise FrameError("its data cannot be decoded", before)
        if self._damage >= 0 and not self._probe.keys[self._damage + 1 : index + 1].any():
            self.doubtful.add(index)
        return self._upright(found)

    def close(self) -> None:
        """Free what libav holds."""
        self._pending = None
        self._container.close()

    def _find_among_all(self, index: int) -> "tuple[VideoFrame | None, int | None]":
        """Leave nothing out any more, and start again in front of the frame."""
        self._expected = None
        self._next = self._probe.count
        return self._find(index)

    def _find(self, index: int) -> "tuple[VideoFrame | None, int | None]":
        """Return the frame, or None and the last one that was decoded before it."""
        starts = self._starts(index)
        if self._next <= index and starts[0] <= self._next:
            return self._read_on(index)
        found, before = None, None
        for start in starts:
            self._seek(start)
            found, before = self._read_on(index)
            # A container may seek to a place behind the keyframe asked for; then an earlier one is due.
            if found is not None or before is not None:
                break
        return found, before

    def _starts(self, index: int) -> list[int]:
        """Return where to start in order to reach a frame: the last two keyframes or the beginning."""
        if self._probe.ticks is None:
            return [0]
        keys = np.flatnonzero(self._probe.keys[: index + 1])[::-1][:2]
        return [*(int(key) for key in keys if key > 0), 0]

    def _read_on(self, index: int) -> "tuple[VideoFrame | None, int | None]":
        before: int | None = None
        for position, frame in self._positions():
            if position > index:
                self._pending = frame
                self._next = position
                return None, before
            self._next = position + 1
            if position == index:
                return frame, before
            before = position
        self._next = self._probe.count
        return None, before

    def _positions(self) -> "Iterator[tuple[int, VideoFrame]]":
        """Yield intact frames from where the decoder stands, with their positions."""
        if self._pending is not None:
            frame, self._pending = self._pending, None
            yield self._next, frame
        ticks = self._probe.ticks
        for frame in self._frames:
            if ticks is None:
                position = self._counted
                self._counted += 1
            elif frame.pts is None:
                continue
            else:
                position = int(np.searchsorted(ticks, frame.pts))
                if position == len(ticks) or ticks[position] != frame.pts:
                    continue
            if frame.is_corrupt:
                # What is built upon this frame, up to the next keyframe, may show its damage.
                self._damage = position
            else:
                yield position, frame

    def _seek(self, start: int) -> None:
        from deepscan.media.container import decode_packets

        self._pending = None
        self._damage = -1
        if start == 0 or self._probe.ticks is None:
            # Opened anew, since not every format can seek.
            self._container.close()
            self._rewind()
            return
        self._container.seek(int(self._probe.ticks[start]), stream=self._stream, backward=True)
        self._frames = decode_packets(self._container, self._stream, self._needed)
        self._next = start

    def _rewind(self) -> None:
        from deepscan.media.container import decode_packets, open_container

        self._container = open_container(self._url)
        self._stream = self._container.streams.video[self._probe.stream]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._threads
        self._frames = decode_packets(self._container, self._stream, self._needed)
        self._next = self._counted = 0

    def _needed(self, packet: "Packet[VideoStream]") -> bool:
        # The second field of a frame may come without a time of its own.
        return self._expected is None or packet.pts is None or packet.pts in self._expected

    def _upright(self, frame: "VideoFrame") -> Image:
        info = self._probe.info
        turned = info.rotation in (90, 270)
        width, height = (info.height, info.width) if turned else (info.width, info.height)
        image = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        return np.rot90(image, -info.rotation // 90).astype(np.uint8, copy=False)
