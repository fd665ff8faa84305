"""The decoders on offer, and what each of them must do alike."""

from typing import Protocol

from deepscan.media.frames import Image
from deepscan.media.probe import Probe
from deepscan.registry import Registry


class DecoderError(Exception):
    """A decoder cannot work on this file at all; the message says why, in one line."""


class NotInstalledError(DecoderError):
    """The decoder's package is not there."""


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

    All decoders give the same picture for the same index, turned upright once, in the first frame's size.
    They run in a process of their own, because they may crash, leak, or never return.

    Args:
        url: The file, as `Source.url` names it.
        probe: What the file holds.
        threads: How many threads the decoder may use.

    Attributes:
        doubtful: Frames that were given although they build on damaged data, as far as the decoder can tell.

    Raises:
        DecoderError: The decoder cannot work on this file.
    """

    doubtful: set[int]

    def __init__(self, url: str, probe: Probe, threads: int) -> None: ...

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, as large as the probe's info says.

        Raises:
            FrameError: This frame cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Free what the decoder holds."""
        ...


#: `auto` tries them in this order.
DECODERS: Registry[type[Decoder]] = Registry(
    "decoder", {"decord": "deepscan.media.decord", "pyav": "deepscan.media.pyav"}
)
