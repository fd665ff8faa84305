"""What a decoded frame must become before it is a picture as a viewer sees it."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.sidedata.sidedata import SideData
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from deepscan.media.orientation import Orientation

#: A pixel that is more times as wide as it is high, or as high as it is wide, is a slip of the header.
_ODDEST_PIXEL = 8
#: How far from 1 the aspect of pixels that pass for square may lie. Encoders that round sizes to whole blocks
#: state 63/64 or 1280/1281; resampling by as little moved the scores of four clips by 0.2 to 0.34.
_NEARLY_SQUARE = Fraction(1, 20)
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How stored frames lie in the picture that is shown.

    Attributes:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        pixel_aspect: Width of a stored pixel divided by its height, as the file states it.
    """

    width: int
    height: int
    pixel_aspect: Fraction


def shape_of(stream: VideoStream, frame: VideoFrame, orientation: Orientation, *, still: bool) -> Shape:
    """Return how the frames of a stream are shown.

    The height of stored frames is kept, and their width changed where pixels are not nearly square. A still
    picture's density is left alone, as viewers do: it is one of print.

    Args:
        stream: The stream.
        frame: Its first frame.
        orientation: How they are to be turned.
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
    """Return how a video's frame is to be turned, as its display matrix says."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV knows not all kinds of side data, and then gives none of them.
        return Orientation(-90 * round(frame.rotation / 90) % 360)
    return Orientation.from_matrix(bytes(matrix)) if isinstance(matrix, SideData) else Orientation()


def transfer_of(frame: VideoFrame | VideoCodecContext) -> str | None:
    """Return the name of a frame's or a stream's transfer characteristics, None where none are stated."""
    try:
        transfer = ColorTrc(frame.color_trc)
    except ValueError:
        return None
    return None if transfer is ColorTrc.UNSPECIFIED else transfer.name.lower().replace("_", "-")


def field_order_of(stream: VideoStream, frame: VideoFrame) -> str:
    """Return how the fields of a stream's frames are stored, as `MediaInfo.field_order` has it."""
    stated = _FIELD_ORDERS.get(int(stream.codec_context.field_order), "progressive")
    # Matroska's header may call progressive what the frames themselves call interlaced.
    return "interlaced" if frame.interlaced_frame and stated == "progressive" else stated


def fraction(value: Any) -> Fraction | None:
    """Return a rational number of PyAV's as Python's, None for one that is not set."""
    # Up to 18 PyAV gives a Fraction or None, from 19 on a type of its own, which knows 1/0, too.
    return Fraction(value.numerator, value.denominator) if value else None
