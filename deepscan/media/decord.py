"""Decode with decord, which must be supervised: it can hang, hide damage and miscount frames."""

import importlib
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from deepscan.media.decoders import DECODERS, DecoderError, FrameError, Probe, reason
from deepscan.media.frames import HDR, Image

# 0 and 1 act like -1, which silently replaces damaged frames with copies of others; only a fraction raises.
_FAULT_TOLERANCE = 1e-9
# In other containers its seeking is inexact: in MPEG-TS it was off by a whole group of pictures.
_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_UNKNOWN_CODECS = ("av1", "vvc")


@DECODERS.register("decord")
class DecordDecoder:
    """Decoder that reads single frames by index: fetching several at once is what hangs.

    It conceals damage within a frame silently, so `doubtful` stays empty.

    Args:
        url: The file, as `SourceFile.url` names it.
        probe: What the file holds.

    Raises:
        DecoderError: decord cannot be loaded, cannot open the file, or disagrees with the probe on its
            frames.
    """

    package: ClassVar[str] = "decord"
    module: ClassVar[str] = "decord"
    takes: ClassVar[str] = ".mp4"
    # It can hang, conceals damage, and was slower than libav for each of seven codecs.
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
        self._check_frame_table(probe)

    @staticmethod
    def unfit(probe: Probe) -> str | None:
        """Return why decord cannot be trusted with such a file, or None if it can."""
        info = probe.info
        reasons = {
            f"decord is not used for {info.container}": info.container not in _CONTAINERS,
            f"decord cannot decode {info.codec}": info.codec in _UNKNOWN_CODECS,
            "decord needs timestamps": probe.ticks is None,
            "decord needs timestamps that do not jump": bool(probe.segments),
            "decord chooses among several video streams by itself": info.other_videos > 0,
            "decord loses palettes": info.pixel_format == "pal8",
            "decord does not mirror": info.mirrored,
            f"decord does not rotate {info.container}": info.rotation != 0 and "mp4" not in info.container,
            f"decord does not make pixels of aspect {info.pixel_aspect} square": not info.stored_as_shown,
            f"decord does not convert {info.transfer}": info.transfer in HDR,
            "decord does not deinterlace": info.field_order != "progressive",
        }
        return next((reason for reason, applies in reasons.items() if applies), None)

    def expect(self, indices: Sequence[int]) -> None:
        """Do nothing: decord cannot skip frames."""

    def read(self, index: int) -> Image:
        """Return frame `index` as RGB, shape (height, width, 3), uint8, upright.

        Raises:
            FrameError: This frame cannot be decoded.
        """
        if not 0 <= index < self._count:
            raise FrameError(f"frame {index} does not exist")
        try:
            image: Image = self._reader[index].asnumpy()
        except StopIteration:
            raise FrameError("decord found the end of the file") from None
        except Exception as error:
            raise FrameError(_brief(error)) from None
        if image.shape != self._shape:
            raise FrameError(f"decord returned a picture of shape {image.shape}, not {self._shape}")
        return image

    def close(self) -> None:
        """Release what decord holds."""
        self._reader = None

    def _check_frame_table(self, probe: Probe) -> None:
        """Check decord's table of frames against the probe's: an index must mean the same frame in both."""
        if len(self._reader) != probe.count:
            raise DecoderError(f"decord counts {len(self._reader)} frames, the file has {probe.count}")
        if probe.count < 2:
            return
        times = np.asarray(self._reader.get_frame_timestamp(range(probe.count)), dtype=np.float64)[:, 0]
        # A frame mistaken for its neighbour is off by a whole gap; decord's float32 times are accurate to 1
        # ms.
        worst = float(np.max(np.abs(times - times[0] - probe.seconds)))
        if worst >= max(0.5 * float(np.min(np.diff(probe.seconds))), 0.001):
            raise DecoderError(f"decord's frame times are off by {worst:.3f} s")
        # decord confuses positions in the file with positions in time. Where frames stored after a keyframe
        # are shown before it (open groups of pictures), the two differ, and it returns wrong frames after a
        # seek.
        if self._reader.get_key_indices() != np.flatnonzero(probe.keys).tolist():
            raise DecoderError("decord disagrees about the keyframes")


def _brief(error: BaseException) -> str:
    """Return decord's message without times, source locations and values, which differ between runs."""
    message = str(error).strip().split("\n")[0]
    for noise in (r"\[[\d:]+\] \S+:\d+: ", r"\[/dev/fd/\d+\] ?", r"Check failed: .*? \(\S+ vs\. \S+\) ?"):
        message = re.sub(noise, "", message)
    return reason(RuntimeError(message.strip(" .") or type(error).__name__))
