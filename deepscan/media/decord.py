"""Decodes with decord, which must be watched: it can hang, hide damage and miscount frames."""

import importlib
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from deepscan.media.decoders import DECODERS, DecoderError, FrameError, Probe, reason
from deepscan.media.frames import HDR, Image

# 0 and 1 behave as -1, which silently replaces damaged frames by copies of others; only a fraction complains.
_FAULT_TOLERANCE = 1e-9
# Elsewhere its seeking is inexact: in MPEG-TS it gave frames a whole group of pictures off.
_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_UNKNOWN_CODECS = ("av1", "vvc")


@DECODERS.register("decord")
class DecordDecoder:
    """Reads single frames by index: fetching several at once is what hangs.

    It conceals damage inside a frame without telling, so `doubtful` stays empty.

    Args:
        url: The file, as `SourceFile.url` names it.
        probe: What the file holds.

    Raises:
        DecoderError: decord cannot be loaded, cannot open the file, or counts other frames than the probe.
    """

    package: ClassVar[str] = "decord"
    module: ClassVar[str] = "decord"
    takes: ClassVar[str] = ".mp4"
    # It can hang, conceals damage, and took longer than libav itself for each of seven codecs.
    automatic: ClassVar[bool] = False

    def __init__(self, url: str, probe: Probe) -> None:
        self._shape = (probe.info.height, probe.info.width, 3)
        self._count = probe.count
        self.doubtful: set[int] = set()
        if why := self.unfit(probe):
            raise DecoderError(why)
        try:
            decord: Any = importlib.import_module("decord")
        except (ImportError, OSError) as error:
            raise DecoderError(f"decord cannot be loaded: {reason(error)}") from None
        decord.logging.set_level(decord.logging.QUIET)
        try:
            self._reader: Any = decord.VideoReader(url, num_threads=1, fault_tol=_FAULT_TOLERANCE)
        except Exception as error:
            raise DecoderError(_brief(error)) from None
        self._agree(probe)

    @staticmethod
    def unfit(probe: Probe) -> str | None:
        """Return why decord is not to be trusted with such a file, or None."""
        info = probe.info
        reasons = {
            f"decord is not used for {info.container}": info.container not in _CONTAINERS,
            f"decord cannot decode {info.codec}": info.codec in _UNKNOWN_CODECS,
            "decord needs time stamps": probe.ticks is None,
            "decord needs time stamps that do not jump": bool(probe.segments),
            "decord chooses among several video streams by itself": info.other_videos > 0,
            "decord loses palettes": info.pixel_format == "pal8",
            "decord does not mirror": info.mirrored,
            f"decord does not turn {info.container}": info.rotation != 0 and "mp4" not in info.container,
            f"decord does not make pixels of {info.pixel_aspect} square": not info.stored_as_shown,
            f"decord does not convert {info.transfer}": info.transfer in HDR,
            "decord does not deinterlace": info.field_order != "progressive",
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def expect(self, indices: Sequence[int]) -> None:
        """Do nothing: no frame can be left out."""

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, upright.

        Raises:
            FrameError: This frame cannot be decoded.
        """
        if not 0 <= index < self._count:
            raise FrameError(f"there is no frame {index}")
        try:
            image: Image = self._reader[index].asnumpy()
        except StopIteration:
            raise FrameError("decord found the end of the file") from None
        except Exception as error:
            raise FrameError(_brief(error)) from None
        if image.shape != self._shape:
            raise FrameError(f"decord gave a picture of shape {image.shape}, not {self._shape}")
        return image

    def close(self) -> None:
        """Free what decord holds."""
        self._reader = None

    def _agree(self, probe: Probe) -> None:
        """Compare decord's table of frames with the probe's: an index must mean the same picture to both."""
        if len(self._reader) != probe.count:
            raise DecoderError(f"decord counts {len(self._reader)} frames, {probe.count} are there")
        if probe.count < 2:
            return
        times = np.asarray(self._reader.get_frame_timestamp(range(probe.count)), dtype=np.float64)[:, 0]
        # A frame taken for its neighbour is off by a whole gap; decord's float32 times are good to 1 ms.
        worst = float(np.max(np.abs(times - times[0] - probe.seconds)))
        if worst >= max(0.5 * float(np.min(np.diff(probe.seconds))), 0.001):
            raise DecoderError(f"decord's frame times are off by {worst:.3f} s")
        # It takes positions in the file for positions in time. Where frames stored behind a keyframe are
        # shown before it (open groups of pictures), they differ, and it gives wrong frames after a seek.
        if self._reader.get_key_indices() != np.flatnonzero(probe.keys).tolist():
            raise DecoderError("decord takes other frames for keyframes")


def _brief(error: BaseException) -> str:
    """Return what decord said, less times, places in its source and values, which differ between runs."""
    said = str(error).strip().split("\n")[0]
    for noise in (r"\[[\d:]+\] \S+:\d+: ", r"\[/dev/fd/\d+\] ?", r"Check failed: .*? \(\S+ vs\. \S+\) ?"):
        said = re.sub(noise, "", said)
    return reason(RuntimeError(said.strip(" .") or type(error).__name__))
