"""Decode with Pillow what libav cannot: tiled pictures, TIFF in any compression, animated WebP."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

import numpy as np

from deepscan.media.decoders import DECODERS, DecoderError, FrameError, Probe, reason
from deepscan.media.frames import Image
from deepscan.media.orientation import Orientation
from deepscan.media.pictures import ORIENTATION, kind_of, opened


@DECODERS.register("pillow")
class PillowDecoder:
    """Decoder for a picture, or for an animation frame by frame.

    Args:
        url: The file, as `SourceFile.url` names it.
        probe: What the file holds.

    Raises:
        DecoderError: libav can read the file, or Pillow cannot.
    """

    package: ClassVar[str] = "pillow"
    module: ClassVar[str] = "PIL"
    takes: ClassVar[str] = ".tiff"
    automatic: ClassVar[bool] = True

    def __init__(self, url: str, probe: Probe) -> None:
        self.doubtful: set[int] = set()
        if why := self.unfit(probe):
            raise DecoderError(why)
        self._probe = probe
        self._orientation = Orientation(probe.info.rotation, probe.info.mirrored)
        with open(url, "rb") as file:
            kind = kind_of(file.read(32)) or ""
        self._open = ExitStack()
        try:
            self._image = self._open.enter_context(opened(url, kind))
        except MemoryError:
            raise
        except Exception as error:
            raise DecoderError(reason(error)) from None

    @staticmethod
    def unfit(probe: Probe) -> str | None:
        """Return why Pillow is not used for such a file, or None if it is."""
        return None if probe.beyond_libav else "Pillow is only used for what libav cannot read"

    def expect(self, indices: Sequence[int]) -> None:
        """Do nothing: Pillow cannot skip frames."""

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, upright.

        Raises:
            FrameError: This frame cannot be decoded.
        """
        if not 0 <= index < self._probe.count:
            raise FrameError(f"frame {index} does not exist")
        try:
            self._image.seek(index)
            self._image.load()
            image = np.asarray(self._image.convert("RGB"))
        except MemoryError:
            raise
        except Exception as error:
            raise FrameError(reason(error)) from None
        # Pillow applies the orientation of a TIFF itself, and never that of other formats.
        turned = self._image.format == "TIFF" and self._image.getexif().get(ORIENTATION, 1) == 1
        return image if turned else self._orientation.apply(image)

    def close(self) -> None:
        """Release what Pillow holds."""
        self._open.close()
