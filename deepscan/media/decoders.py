"""Define the interface of decoders and their registry."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from deepscan.media.frames import Image, MediaInfo
from deepscan.media.timeline import Segment
from deepscan.registry import Registry


class StreamKey(NamedTuple):
    """Key that identifies a video stream when the file is opened again.

    Attributes:
        place: Its position among the file's video streams, from 0; other kinds of streams do not count.
        codec: Its codec's canonical name, such as `h264`.
        width: Its width in pixels according to the container.
        height: Its height in pixels according to the container.
    """

    place: int
    codec: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Facts about a file for decoders. Arrays have one entry per decodable frame, in presentation order.

    Attributes:
        info: The facts for the record.
        stream: The video stream that was probed.
        ticks: Presentation timestamps in units of the stream's time base, ascending; None if the packets have
            no reliable ones, so that frames can only be counted.
        seconds: Presentation times in seconds from the first frame, shape (n,), float64.
        keys: Whether decoding can start at the frame, shape (n,), bool.
        segments: The pieces between which timestamps jump, empty if they do not. `ticks` include the
            segments' shifts, and the file must then be read from its beginning.
        still: Whether it is a still image.
        damaged: Whether data are missing or corrupt.
        beyond_libav: Why libav cannot read the file, None if it can.
        warnings: What readers of the record must know, one line each.
    """

    info: MediaInfo
    stream: StreamKey
    ticks: NDArray[np.int64] | None
    seconds: NDArray[np.float64]
    keys: NDArray[np.bool_]
    segments: tuple[Segment, ...]
    still: bool
    damaged: bool
    beyond_libav: str | None
    warnings: tuple[str, ...]

    def __post_init__(self) -> None:
        count = self.info.frames_decodable
        if self.seconds.shape != (count,) or self.keys.shape != (count,):
            raise ValueError(f"{count} frames need {count} times and key flags")
        if self.ticks is not None and (self.ticks.shape != (count,) or np.any(np.diff(self.ticks) <= 0)):
            raise ValueError("timestamps must ascend strictly, one per frame")

    @property
    def count(self) -> int:
        """Number of decodable frames."""
        return self.info.frames_decodable


class DecoderError(Exception):
    """The decoder cannot handle this file at all. The message says why, in one line."""


class FrameError(Exception):
    """One frame cannot be decoded; others may be.

    Args:
        message: Why, in one line.
        before: The last frame decoded on the way to the requested one, None if unknown.
    """

    def __init__(self, message: str, before: int | None = None) -> None:
        super().__init__(message)
        self.before = before


class Decoder(Protocol):
    """Decoder of single frames of one file by their index in presentation order.

    All decoders return the same picture for the same index: upright, in the size of the first frame, and the
    same in every run even for a damaged file. So they use one thread, because several threads propagate
    damage in varying order. They run in a separate process, because they may crash, leak memory or hang. The
    parent reads the class attributes, so a decoder's module must not import its library before a file is
    opened.

    Args:
        url: The file, as `SourceFile.url` names it.
        probe: What the file holds.

    Attributes:
        package: The distribution that provides the library.
        module: The name under which the library is imported.
        takes: Suffix of a kind of file that it can decode, for trying whether it works.
        automatic: Whether `auto` may choose it.
        doubtful: Frames that were returned although they depend on damaged data, as far as the decoder can
            tell.

    Raises:
        DecoderError: The decoder cannot handle this file.
    """

    package: ClassVar[str]
    module: ClassVar[str]
    takes: ClassVar[str]
    automatic: ClassVar[bool]
    doubtful: set[int]

    def __init__(self, url: str, probe: Probe) -> None: ...

    @staticmethod
    def unfit(probe: Probe) -> str | None:
        """Return why the decoder cannot be trusted with such a file, or None if it can."""
        ...

    def expect(self, indices: Sequence[int]) -> None:
        """Announce the frames that will be read, ascending, so that others can be skipped.

        Reading another frame, or one before the last that was read, must still work.
        """
        ...

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, in the size given by the probe.

        Raises:
            FrameError: This frame cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Release what the decoder holds."""
        ...


AUTO = "auto"
#: `auto` uses the first of these that is automatic and suits the file.
DECODERS: Registry[type[Decoder]] = Registry(
    "decoder",
    {
        "decord": "deepscan.media.decord",
        "pyav": "deepscan.media.pyav",
        "pillow": "deepscan.media.pillow",
    },
)


def installed(decoder: type[Decoder]) -> bool:
    """Return whether a decoder's library is installed, without importing it."""
    return find_spec(decoder.module) is not None


def reason(error: BaseException) -> str:
    """Return the error's message as one line, without the `/dev/fd` name of the file."""
    message = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(message).split())[:200]
