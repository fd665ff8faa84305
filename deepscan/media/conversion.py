"""Convert decoded frames to what a viewer sees: progressive, BT.709, square pixels, upright."""

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, Interpolation, VideoReformatter

from deepscan.media.frames import HDR, Image, MediaInfo
from deepscan.media.orientation import Orientation
from deepscan.media.shape import transfer_of

# H.273 code for "unspecified". PyAV has no name for it among the matrices.
_UNSPECIFIED = 2
_TO_BT709 = "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=pc"
# Output one picture per frame; leave frames that are not marked as interlaced alone.
_DEINTERLACE = "mode=send_frame:parity=auto:deint=interlaced"


class FrameConverter:
    """Converter of one file's frames to RGB pictures of one size.

    Args:
        info: The file's facts.
    """

    def __init__(self, info: MediaInfo) -> None:
        self._orientation = Orientation(info.rotation, info.mirrored)
        turned = self._orientation.swaps_sides
        self._size = (info.height, info.width) if turned else (info.width, info.height)
        # A thread pool would outlive the file, and speeds up nothing for a single frame.
        self._reformatter = VideoReformatter()
        self._transfer = info.transfer
        self._tone_mapping: tuple[tuple[object, ...], Graph] | None = None

    def convert(
        self, frame: VideoFrame, before: VideoFrame | None = None, after: VideoFrame | None = None
    ) -> Image:
        """Return a frame as RGB, shape (height, width, 3), uint8, in the size given by the file's facts.

        Args:
            frame: The frame.
            before: The frame shown before it, used to reconstruct the missing lines of an interlaced frame.
            after: The frame shown after it, used likewise.
        """
        if frame.interlaced_frame:
            frame = _progressive(frame, before, after)
        if (transfer_of(frame) or self._transfer) in HDR:
            frame = self._standard_range(frame)
        width, height = self._size
        # Bilinear blurs pictures that are widened.
        method = None if (frame.width, frame.height) == self._size else Interpolation.BICUBIC
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=method, threads=1)
        return self._orientation.apply(rgb.to_ndarray().astype(np.uint8, copy=False))

    def _standard_range(self, frame: VideoFrame) -> VideoFrame:
        """Return a PQ or HLG frame (ITU-R BT.2100) converted to BT.709, with its 203-nit white as white."""
        if frame.color_trc == ColorTrc.UNSPECIFIED:
            frame.color_trc = ColorTrc.SMPTE2084 if self._transfer == "smpte2084" else ColorTrc.ARIB_STD_B67
        if frame.color_primaries == ColorPrimaries.UNSPECIFIED:
            frame.color_primaries = ColorPrimaries.BT2020
        if frame.colorspace == _UNSPECIFIED:
            frame.colorspace = Colorspace.BT2020
        # libav takes seconds to build the lookup table of such a conversion, and milliseconds to use it.
        kind = (frame.width, frame.height, frame.format.name, frame.color_trc, frame.color_primaries)
        if self._tone_mapping is None or self._tone_mapping[0] != kind:
            self._tone_mapping = kind, _graph(frame, ("scale", _TO_BT709), ("format", "rgb24"))
        graph = self._tone_mapping[1]
        graph.vpush(frame)
        return graph.vpull()


def _progressive(frame: VideoFrame, before: VideoFrame | None, after: VideoFrame | None) -> VideoFrame:
    """Deinterlace a frame: rebuild the lines of its second field from the first and from its neighbours."""
    layout = (frame.width, frame.height, frame.format.name)
    usable = [
        neighbour
        for neighbour in (before, frame, after)
        if neighbour is not None and (neighbour.width, neighbour.height, neighbour.format.name) == layout
    ]
    graph = _graph(frame, ("bwdif", _DEINTERLACE))
    for neighbour in usable:
        graph.vpush(neighbour)
    graph.vpush(None)
    outputs = []
    while True:
        try:
            outputs.append(graph.vpull())
        except (av.EOFError, BlockingIOError):
            break
    return outputs[usable.index(frame)]


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
