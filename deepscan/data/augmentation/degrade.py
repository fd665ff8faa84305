"""What cameras, editors and file formats do to a face, as steps of an augmentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.random import Generator

from deepscan.media.frames import Image

#: Thresholds of ordered dithering, each once (Bayer's matrix).
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Compress and decompress at a random quality in [low, high]."""

    low: int = 40
    high: int = 100

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return what is left after compression."""
        quality = int(rng.integers(self.low, self.high + 1))
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
        return np.ascontiguousarray(decoded[..., ::-1])


@dataclass(frozen=True, slots=True)
class Codec:
    """Compress and decompress as one frame of a video, by H.264, HEVC or VP9 at a random rate.

    It works in blocks of many sizes, each predicted from its neighbours: traces that JPEG does not leave.

    Attributes:
        low: Least constant rate factor of H.264 and HEVC, 0 to 51; VP9's scale is longer by a fifth.
        high: Largest.
    """

    low: int = 18
    high: int = 38

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return what is left after compression; the last row or column of an odd side stays as it is.

        An image that is too small for a frame stays as it is, too.
        """
        encoder, decoder, stretch = (
            ("libx264", "h264", 1.0),
            ("libx265", "hevc", 1.0),
            ("libvpx-vp9", "vp9", 1.2),
        )[int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
        rate = round(float(rng.uniform(self.low, self.high)) * stretch)
        if min(image.shape[:2]) < _LEAST_FRAME:
            return image
        return _as_frame(image, encoder, decoder, rate)


#: What makes each encoder give a frame at once, by one thread: the same bytes for the same picture.
_AT_ONCE: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "threads": "1"},
    "libx265": {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none:pools=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "0", "lag-in-frames": "0"},
}


#: HEVC's encoder takes no smaller side.
_LEAST_FRAME = 16


def _as_frame(image: Image, encoder: str, decoder: str, rate: int) -> Image:
    import av

    height, width = (side // 2 * 2 for side in image.shape[:2])
    writer = av.CodecContext.create(encoder, "w")
    assert isinstance(writer, av.VideoCodecContext)
    writer.width, writer.height, writer.pix_fmt = width, height, "yuv420p"
    writer.time_base, writer.options = Fraction(1, 25), {**_AT_ONCE[encoder], "crf": str(rate)}
    reader = av.CodecContext.create(decoder, "r")
    assert isinstance(reader, av.VideoCodecContext)
    reader.thread_count = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), "rgb24")
    packets = [*writer.encode(frame), *writer.encode(None)]
    frames = [seen for packet in [*packets, None] for seen in reader.decode(packet)]
    left = image.copy()
    left[:height, :width] = frames[-1].to_ndarray(format="rgb24")
    return left


@dataclass(frozen=True, slots=True)
class Shrink:
    """Average down by a random factor in [smallest, 1] and resize back: a face small in its frame.

    Attributes:
        smallest: Least factor.
        codec: How often it is compressed as a frame of a video while it is small.
    """

    smallest: float = 0.4
    codec: float = 0.0

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return the image with its fine detail lost."""
        height, width = image.shape[:2]
        factor = rng.uniform(self.smallest, 1)
        small = np.asarray(
            cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
        if self.codec and rng.random() < self.codec:
            small = Codec(18, 34)(small, rng)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def coarsened(image: Image, own: int, least: int) -> Image:
    """Return a face as if the video had shown it smaller, at the size of the image.

    Args:
        image: RGB crop, shape (S, S, 3), uint8.
        own: Side of the face in its video, in pixels; 0 for not known.
        least: Side that it should have had. The image stays as it is if its face was no larger, or if either
            is not known.
    """
    side = image.shape[0]
    wanted = round(side * least / min(own, side)) if own else side
    if not least or wanted >= side:
        return image
    small = cv2.resize(image, (wanted, wanted), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def dither(image: Image, rng: Generator) -> Image:
    """Reduce each channel to 5 to 20 levels in an ordered pattern, as in a GIF."""
    steps = int(rng.integers(4, 20))
    height, width = image.shape[:2]
    thresholds = np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    levels = np.floor(image * np.float32(steps / 255) + thresholds)
    return np.asarray(np.clip(levels * np.float32(255 / steps), 0, 255), dtype=np.uint8)


def sharpen(image: Image, rng: Generator) -> Image:
    """Raise the contrast of edges, as cameras and editors do."""
    return unsharp(image, rng.uniform(0.7, 2), rng.uniform(0.3, 1.5))


def unsharp(image: Image, reach: float, amount: float) -> Image:
    """Sharpen by an unsharp mask: add `amount` times what a Gaussian of `reach` pixels takes away."""
    soft = cv2.GaussianBlur(image, (0, 0), reach)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)


def retouch(image: Image, rng: Generator) -> Image:
    """Smooth the skin and leave the edges, as studios, phones and video calls do."""
    spread = float(rng.uniform(15, 50))
    smooth = cv2.bilateralFilter(image, 7, spread, 4.0)
    amount = rng.uniform(0.5, 1)
    return np.asarray(cv2.addWeighted(smooth, amount, image, 1 - amount, 0), dtype=np.uint8)


def expose(image: Image, rng: Generator) -> Image:
    """Show it too dark or too light: a gain of 0.6 to 1.6 after a power of 0.6 to 1.6."""
    power, gain = np.exp(rng.uniform(-0.5, 0.5, 2))
    values = np.clip(255 * gain * (np.arange(256) / 255) ** power, 0, 255)
    return np.asarray(cv2.LUT(image, np.rint(values).astype(np.uint8)), dtype=np.uint8)


def fade(image: Image, rng: Generator) -> Image:
    """Take away a part of the colours, or all of them."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    kept = max(0.0, rng.uniform(-0.3, 1))
    return np.asarray(cv2.addWeighted(image, kept, grey, 1 - kept, 0), dtype=np.uint8)
