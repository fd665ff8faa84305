"""Makes of decoded frames the pictures that a viewer sees: progressive, BT.709, square pixels, upright."""

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, Interpolation, VideoReformatter

from deepscan.media.frames import HDR, Image, MediaInfo
from deepscan.media.orientation import Orientation
from deepscan.media.shape import transfer_of

# libav's H.273 number of "not stated", for which PyAV has no name among the matrices.
_UNSTATED = 2
_TO_BT709 = "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=pc"
# One picture a frame; fields of frames that are not marked as interlaced stay together.
_DEINTERLACE = "mode=send_frame:parity=auto:deint=interlaced"


class FrameConverter:
    """Turns the frames of one file into RGB pictures of one size.

    Args:
        info: The file's facts.
    """

    def __init__(self, info: MediaInfo) -> None:
        self._orientation = Orientation(info.rotation, info.mirrored)
        turned = self._orientation.swaps_sides
        self._size = (info.height, info.width) if turned else (info.width, info.height)
        # Threads of its own would outlive the file, and gain nothing on a frame.
        self._reformatter = VideoReformatter()
        self._transfer = info.transfer
        self._toned: tuple[tuple[object, ...], Graph] | None = None

    def convert(
        self, frame: VideoFrame, before: VideoFrame | None = None, after: VideoFrame | None = None
    ) -> Image:
        """Return a frame as RGB, shape (height, width, 3), uint8, as large as the file's facts say.

        Args:
            frame: The frame.
            before: The one shown before it, of which an interlaced frame's missing lines are made, too.
            after: The one shown after it.
        """
        if frame.interlaced_frame:
            frame = _progressive(frame, before, after)
        if (transfer_of(frame) or self._transfer) in HDR:
            frame = self._standard_range(frame)
        width, height = self._size
        # Bilinear blurs what is made wider.
        how = None if (frame.width, frame.height) == self._size else Interpolation.BICUBIC
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=how, threads=1)
        return self._orientation.apply(rgb.to_ndarray().astype(np.uint8, copy=False))

    def _standard_range(self, frame: VideoFrame) -> VideoFrame:
        """Return a PQ or HLG frame (ITU-R BT.2100) in BT.709: its white at 203 nits becomes white."""
        if frame.color_trc == ColorTrc.UNSPECIFIED:
            frame.color_trc = ColorTrc.SMPTE2084 if self._transfer == "smpte2084" else ColorTrc.ARIB_STD_B67
        if frame.color_primaries == ColorPrimaries.UNSPECIFIED:
            frame.color_primaries = ColorPrimaries.BT2020
        if frame.colorspace == _UNSTATED:
            frame.colorspace = Colorspace.BT2020
        # libav takes seconds to make the table of such a conversion, and milliseconds to use it.
        kind = (frame.width, frame.height, frame.format.name, frame.color_trc, frame.color_primaries)
        if self._toned is None or self._toned[0] != kind:
            self._toned = kind, _graph(frame, ("scale", _TO_BT709), ("format", "rgb24"))
        graph = self._toned[1]
        graph.vpush(frame)
        return graph.vpull()


def _progressive(frame: VideoFrame, before: VideoFrame | None, after: VideoFrame | None) -> VideoFrame:
    """Return a frame whose second field's lines are made anew from its first and from its neighbours."""
    like = (frame.width, frame.height, frame.format.name)
    shown = [
        each
        for each in (before, frame, after)
        if each is not None and (each.width, each.height, each.format.name) == like
    ]
    graph = _graph(frame, ("bwdif", _DEINTERLACE))
    for each in shown:
        graph.vpush(each)
    graph.vpush(None)
    made = []
    while True:
        try:
            made.append(graph.vpull())
        except (av.EOFError, BlockingIOError):
            break
    return made[shown.index(frame)]


def _graph(frame: VideoFrame, *filters: tuple[str, str]) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
    )
    last = source
    for name, arguments in filters:
        following = graph.add(name, arguments)
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
