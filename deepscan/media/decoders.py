"""The decoders on offer, and what each of them must do alike."""

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
    """What one video stream of a file is known by when the file is opened again.

    Attributes:
        place: Its place among the file's video streams, from 0; streams of other kinds do not count.
        codec: Its codec's canonical name, such as `h264`.
        width: Its width in pixels, as the container states it.
        height: Its height in pixels, as the container states it.
    """

    place: int
    codec: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What a decoder must know about a file; arrays have one entry a decodable frame, as they are presented.

    Attributes:
        info: The facts for the record.
        stream: The stream that was looked at.
        ticks: Presentation time stamps in units of the stream's time base, ascending; None where the packets
            carry none to rely on, so that frames can only be counted.
        seconds: Presentation times in seconds from the first frame, shape (n,), float64.
        keys: Whether decoding can start at the frame, shape (n,), bool.
        segments: The pieces between which time stamps jump, none where they do not. `ticks` are shifted as
            they say, and the file is to be read from its beginning.
        still: Whether it is a still image.
        damaged: Whether data are missing or corrupt.
        beyond_libav: Why libav cannot read it, None where it can.
        warnings: What a reader of the record must know, one line each.
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
            raise ValueError(f"{count} frames need as many times and key flags")
        if self.ticks is not None and (self.ticks.shape != (count,) or np.any(np.diff(self.ticks) <= 0)):
            raise ValueError("time stamps must ascend, one a frame")

    @property
    def count(self) -> int:
        """Number of decodable frames."""
        return self.info.frames_decodable


class DecoderError(Exception):
    """A decoder cannot work on this file at all; the message says why, in one line."""


class FrameError(Exception):
    """One frame cannot be decoded, others may.

    Args:
        message: Why, in one line.
        before: The last frame that was decoded on the way to the one asked for, None if that is not known.
    """

    def __init__(self, message: str, before: int | None = None) -> None:
        super().__init__(message)
        self.before = before


class Decoder(Protocol):
    """Gives single frames of one file by their position in presentation order.

    All decoders give the same picture for the same index, turned upright once, in the first frame's size, and
    of a damaged file the same in every run: hence one thread, for several pass damage on in any order.
    They run in a process of their own, because they may crash, leak, or never return. Its parent reads what a
    class states about itself, so a decoder's module imports no library before a file is opened.

    Args:
        url: The file, as `SourceFile.url` names it.
        probe: What the file holds.

    Attributes:
        package: The distribution that brings the library.
        module: The library's name when it is imported.
        takes: Suffix of a file that it takes, by which to try whether it works.
        automatic: Whether it is chosen without being asked for by name.
        doubtful: Frames that were given although they build on damaged data, as far as the decoder can tell.

    Raises:
        DecoderError: The decoder cannot work on this file.
    """

    package: ClassVar[str]
    module: ClassVar[str]
    takes: ClassVar[str]
    automatic: ClassVar[bool]
    doubtful: set[int]

    def __init__(self, url: str, probe: Probe) -> None: ...

    @staticmethod
    def unfit(probe: Probe) -> str | None:
        """Return why it is not to be trusted with such a file, or None."""
        ...

    def expect(self, indices: Sequence[int]) -> None:
        """Take note of the frames that will be read, ascending; the others may be left out.

        Frames that were not named, and those in front of one that was read, can be asked for all the same.
        """
        ...

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, as large as the probe's info says.

        Raises:
            FrameError: This frame cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Free what the decoder holds."""
        ...


AUTO = "auto"
#: `auto` takes the first of these that is automatic and suits the file.
DECODERS: Registry[type[Decoder]] = Registry(
    "decoder",
    {
        "decord": "deepscan.media.decord",
        "pyav": "deepscan.media.pyav",
        "pillow": "deepscan.media.pillow",
    },
)


def installed(decoder: type[Decoder]) -> bool:
    """Return whether a decoder's library is there, without importing it."""
    return find_spec(decoder.module) is not None


def reason(error: BaseException) -> str:
    """Return what went wrong as one line, without the stand-in for the file's name."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(words).split())[:200]
