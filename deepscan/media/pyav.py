"""Decode with libav through PyAV, which can read whatever the probe can."""

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from deepscan.media.decoders import DECODERS, DecoderError, FrameError, Probe, reason
from deepscan.media.frames import Image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


#: Codecs whose packets mark frames that no other frame depends on, which libav then skips when asked to
#: (H.264: nal_ref_idc is 0). HEVC is not among them: a higher temporal layer may depend on such a frame.
_MARKS_DISPOSABLE = ("h264",)


@DECODERS.register("pyav")
class PyavDecoder:
    """Decoder that finds frames by timestamp, seeking to the nearest keyframe unless reading on is shorter.

    After `expect`, it skips frames that were not requested and that no requested frame depends on.

    Args:
        url: The file, as `SourceFile.url` names it.
        probe: What the file holds.

    Raises:
        DecoderError: libav cannot open the file.
    """

    package: ClassVar[str] = "av"
    module: ClassVar[str] = "av"
    takes: ClassVar[str] = ".mp4"
    automatic: ClassVar[bool] = True

    def __init__(self, url: str, probe: Probe) -> None:
        from av.error import FFmpegError

        from deepscan.media.container import raise_if_out_of_resources
        from deepscan.media.conversion import FrameConverter

        self._url = url
        self._probe = probe
        self._converter = FrameConverter(probe.info)
        self._container: InputContainer | None = None
        self._frames: Generator[VideoFrame] | None = None
        self._pending: VideoFrame | None = None
        self._interlaced = probe.info.field_order != "progressive"
        self._recent: dict[int, VideoFrame] = {}
        self._damage = -1
        self._expected: set[int] | None = None
        self.doubtful: set[int] = set()
        if why := self.unfit(probe):
            raise DecoderError(why)
        try:
            self._rewind()
        except FFmpegError as error:
            raise_if_out_of_resources(error)
            raise DecoderError(reason(error)) from None

    @staticmethod
    def unfit(probe: Probe) -> str | None:
        """Return why libav cannot be trusted with such a file, or None if it can."""
        return probe.beyond_libav

    def expect(self, indices: Sequence[int]) -> None:
        """Skip frames other than these, for as long as all of them can be decoded."""
        can_skip = self._probe.info.codec in _MARKS_DISPOSABLE and not self._probe.damaged
        # An interlaced frame needs its neighbours.
        if self._probe.ticks is not None and can_skip and not self._interlaced:
            self._expected = set(self._probe.ticks[list(indices)].tolist())

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, upright.

        Raises:
            FrameError: This frame cannot be decoded.
            MediaError: `error`: this process is out of memory.
        """
        from av.error import FFmpegError

        from deepscan.media.container import raise_if_out_of_resources

        if not 0 <= index < self._probe.count:
            raise FrameError(f"frame {index} does not exist")
        try:
            found, before = self._find(index)
            # A frame that turns out to be interlaced needs its neighbours, too.
            interlaced = found is not None and found.interlaced_frame
            if self._expected is not None and (found is None or interlaced):
                found, before = self._find_among_all(index)
            if found is None:
                raise FrameError("its data cannot be decoded", before)
            if self._damage >= 0 and not self._probe.keys[self._damage + 1 : index + 1].any():
                self.doubtful.add(index)
            if found.interlaced_frame:
                return self._converter.convert(found, self._neighbour(index - 1), self._neighbour(index + 1))
            return self._converter.convert(found)
        except (FFmpegError, MemoryError) as error:
            raise_if_out_of_resources(error)
            raise FrameError(reason(error)) from None

    def close(self) -> None:
        """Release what libav holds, including its threads."""
        self._recent = {}
        self._pending = None
        # The generator refers to this object: otherwise both, and the threads, wait for the garbage
        # collector.
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _neighbour(self, index: int) -> "VideoFrame | None":
        return self._find(index)[0] if 0 <= index < self._probe.count else None

    def _find_among_all(self, index: int) -> "tuple[VideoFrame | None, int | None]":
        """Find a frame without skipping any others, starting again before it."""
        self._expected = None
        self._recent = {}
        self._next = self._probe.count
        return self._find(index)

    def _find(self, index: int) -> "tuple[VideoFrame | None, int | None]":
        """Return the frame, or None and the last frame decoded before it."""
        if index in self._recent:
            return self._recent[index], None
        starts = self._starts(index)
        if self._next <= index and starts[0] <= self._next:
            return self._read_on(index)
        found, before = None, None
        for start in starts:
            self._seek(start)
            found, before = self._read_on(index)
            # A container may seek past the requested keyframe; then try an earlier one.
            if found is not None or before is not None:
                break
        return found, before

    def _starts(self, index: int) -> list[int]:
        """Return where to start reading to reach a frame: the last two keyframes, then the beginning."""
        # A palette may be in the first packet only.
        if self._probe.ticks is None or self._probe.segments or self._probe.info.pixel_format == "pal8":
            return [0]
        # An interlaced frame needs the one before it.
        reach = max(index - 1, 0) if self._interlaced else index
        keys = np.flatnonzero(self._probe.keys[: reach + 1])[::-1][:2]
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
        """Yield intact frames with their positions, from where the decoder is."""
        if self._pending is not None:
            frame, self._pending = self._pending, None
            yield self._next, frame
        ticks = self._probe.ticks
        assert self._frames is not None
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
                # Frames that depend on this one, up to the next keyframe, may show its damage.
                self._damage = position
            else:
                self._keep(position, frame)
                yield position, frame

    def _keep(self, position: int, frame: "VideoFrame") -> None:
        """Keep the last frames if interlaced frames need them."""
        self._interlaced = self._interlaced or frame.interlaced_frame
        if self._interlaced:
            self._recent = {
                at: kept for at, kept in self._recent.items() if at in (position - 1, position - 2)
            }
            self._recent[position] = frame

    def _seek(self, start: int) -> None:
        self._pending = None
        self._recent = {}
        self._damage = -1
        if start == 0 or self._probe.ticks is None:
            # Open the file again, because not every format can seek.
            self._rewind()
            return
        assert self._container is not None
        self._container.seek(int(self._probe.ticks[start]), stream=self._stream, backward=True)
        self._read_from(start)

    def _rewind(self) -> None:
        from deepscan.media.container import open_container, reopened_stream

        self.close()
        self._container = open_container(self._url)
        self._stream = reopened_stream(self._container, self._probe.stream)
        self._stream.codec_context.thread_count = 1
        self._counted = 0
        self._read_from(0)

    def _read_from(self, start: int) -> None:
        from deepscan.media.container import decode_packets

        if self._frames is not None:
            self._frames.close()
        assert self._container is not None
        self._frames = decode_packets(self._container, self._stream, self._probe.segments, self._needed)
        self._next = start

    def _needed(self, packet: "Packet[VideoStream]") -> bool:
        # The second field of a frame may have no timestamp.
        return self._expected is None or packet.pts is None or packet.pts in self._expected
