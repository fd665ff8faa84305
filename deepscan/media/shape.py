"""Determine what must be done to a decoded frame so that it looks as in a player."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.sidedata.sidedata import SideData
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from deepscan.media.orientation import Orientation

#: Pixel aspect ratios above this, or below its inverse, are errors in the header.
_ODDEST_PIXEL = 8
#: Pixels count as square if their aspect differs from 1 by less than this. Encoders that round sizes to whole
#: blocks write 63/64 or 1280/1281; resampling by so little moved the scores of four clips by 0.2 to 0.34.
_NEARLY_SQUARE = Fraction(1, 20)
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the displayed picture, and the shape of the stored pixels.

    Attributes:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        pixel_aspect: Width of a stored pixel divided by its height, as declared by the file.
    """

    width: int
    height: int
    pixel_aspect: Fraction


def shape_of(stream: VideoStream, frame: VideoFrame, orientation: Orientation, *, still: bool) -> Shape:
    """Return how the frames of a stream are shown.

    The height of the stored frames is kept; the width is scaled where pixels are not nearly square. The pixel
    density of a still picture is ignored, as viewers do, because it is meant for print.

    Args:
        stream: The stream.
        frame: Its first frame.
        orientation: How to rotate it.
        still: Whether it is a still picture.
    """
    aspect = Fraction(1) if still else fraction(stream.sample_aspect_ratio) or Fraction(1)
    if not Fraction(1, _ODDEST_PIXEL) <= aspect <= _ODDEST_PIXEL:
        aspect = Fraction(1)
    shown = Fraction(1) if abs(aspect - 1) < _NEARLY_SQUARE else aspect
    width, height = max(1, round(frame.width * shown)), frame.height
    if orientation.swaps_sides:
        width, height = height, width
    return Shape(width, height, aspect)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return how to rotate and mirror a video's frame, from its display matrix."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV does not know all kinds of side data, and raises for the whole frame if one is unknown.
        return Orientation(-90 * round(frame.rotation / 90) % 360)
    return Orientation.from_matrix(bytes(matrix)) if isinstance(matrix, SideData) else Orientation()


def transfer_of(frame: VideoFrame | VideoCodecContext) -> str | None:
    """Return the name of the transfer characteristics of a frame or stream, None if unspecified."""
    try:
        transfer = ColorTrc(frame.color_trc)
    except ValueError:
        return None
    return None if transfer is ColorTrc.UNSPECIFIED else transfer.name.lower().replace("_", "-")


def field_order_of(stream: VideoStream, frame: VideoFrame) -> str:
    """Return how the fields of a stream's frames are stored, in the terms of `MediaInfo.field_order`."""
    declared = _FIELD_ORDERS.get(int(stream.codec_context.field_order), "progressive")
    # Matroska's header may say progressive where the frames themselves are marked as interlaced.
    return "interlaced" if frame.interlaced_frame and declared == "progressive" else declared


def fraction(value: Any) -> Fraction | None:
    """Convert PyAV's rational number to a `Fraction`, None if it is not set."""
    # PyAV up to 18 gives a Fraction or None, later versions their own type, which includes 1/0.
    return Fraction(value.numerator, value.denominator) if value else None
