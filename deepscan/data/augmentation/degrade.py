"""Augmentation steps that imitate cameras, editors and file formats."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.random import Generator

from deepscan.media.frames import Image

#: Thresholds of ordered dithering (Bayer matrix).
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Compress and decompress at a random quality in [low, high]."""

    low: int = 40
    high: int = 100

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return the image after compression."""
        quality = int(rng.integers(self.low, self.high + 1))
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
        return np.ascontiguousarray(decoded[..., ::-1])


@dataclass(frozen=True, slots=True)
class Codec:
    """Compress and decompress as a single video frame, with H.264, HEVC or VP9 at a random quality.

    Video codecs predict blocks of many sizes from their neighbours, which leaves other traces than JPEG.

    Attributes:
        low: Minimum constant rate factor (CRF) of H.264 and HEVC, 0 to 51; scaled by 1.2 for VP9.
        high: Maximum.
    """

    low: int = 18
    high: int = 38

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return the image after compression.

        The last row or column of an odd side is unchanged, and so is an image that is too small to encode.
        """
        encoder, decoder, stretch = (
            ("libx264", "h264", 1.0),
            ("libx265", "hevc", 1.0),
            ("libvpx-vp9", "vp9", 1.2),
        )[int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
        rate = round(float(rng.uniform(self.low, self.high)) * stretch)
        if min(image.shape[:2]) < _MIN_FRAME_SIDE:
            return image
        return _as_frame(image, encoder, decoder, rate)


#: Encoder options for an immediate frame from a single thread, so that equal pictures give equal bytes.
_ENCODER_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "threads": "1"},
    "libx265": {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none:pools=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "0", "lag-in-frames": "0"},
}


#: Minimum side of the HEVC encoder.
_MIN_FRAME_SIDE = 16


def _as_frame(image: Image, encoder: str, decoder: str, rate: int) -> Image:
    import av

    height, width = (side // 2 * 2 for side in image.shape[:2])
    writer = av.CodecContext.create(encoder, "w")
    assert isinstance(writer, av.VideoCodecContext)
    writer.width, writer.height, writer.pix_fmt = width, height, "yuv420p"
    writer.time_base, writer.options = Fraction(1, 25), {**_ENCODER_OPTIONS[encoder], "crf": str(rate)}
    reader = av.CodecContext.create(decoder, "r")
    assert isinstance(reader, av.VideoCodecContext)
    reader.thread_count = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), "rgb24")
    packets = [*writer.encode(frame), *writer.encode(None)]
    frames = [frame for packet in [*packets, None] for frame in reader.decode(packet)]
    decoded = image.copy()
    decoded[:height, :width] = frames[-1].to_ndarray(format="rgb24")
    return decoded


@dataclass(frozen=True, slots=True)
class Shrink:
    """Downscale by a random factor in [smallest, 1] and upscale again, like a face that is small in a frame.

    Attributes:
        smallest: Minimum factor.
        codec: Probability of video compression of the small image.
    """

    smallest: float = 0.4
    codec: float = 0.0

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return the image without its fine detail."""
        height, width = image.shape[:2]
        factor = rng.uniform(self.smallest, 1)
        small = np.asarray(
            cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
        if self.codec and rng.random() < self.codec:
            small = Codec(18, 34)(small, rng)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def coarsened(image: Image, face_px: int, min_px: int) -> Image:
    """Return a crop as if the face had been smaller in its video.

    Args:
        image: RGB crop, shape (S, S, 3), uint8.
        face_px: Side of the face in its video, in pixels; 0 if unknown.
        min_px: Side to imitate, in pixels; 0 if unknown. The image is returned unchanged if either is
            unknown, or if the face was at most this large.
    """
    side = image.shape[0]
    small_side = round(side * min_px / min(face_px, side)) if face_px else side
    if not min_px or small_side >= side:
        return image
    small = cv2.resize(image, (small_side, small_side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def dither(image: Image, rng: Generator) -> Image:
    """Reduce each channel to 5 to 20 levels with ordered dithering, as in a GIF."""
    steps = int(rng.integers(4, 20))
    height, width = image.shape[:2]
    thresholds = np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    levels = np.floor(image * np.float32(steps / 255) + thresholds)
    return np.asarray(np.clip(levels * np.float32(255 / steps), 0, 255), dtype=np.uint8)


def sharpen(image: Image, rng: Generator) -> Image:
    """Increase the contrast of edges, as cameras and editors do."""
    return unsharp(image, rng.uniform(0.7, 2), rng.uniform(0.3, 1.5))


def unsharp(image: Image, sigma: float, amount: float) -> Image:
    """Apply an unsharp mask: add `amount` times the difference to a Gaussian blur of `sigma` pixels."""
    soft = cv2.GaussianBlur(image, (0, 0), sigma)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)


def retouch(image: Image, rng: Generator) -> Image:
    """Smooth the skin but keep the edges, as studios, phones and video calls do."""
    spread = float(rng.uniform(15, 50))
    smooth = cv2.bilateralFilter(image, 7, spread, 4.0)
    amount = rng.uniform(0.5, 1)
    return np.asarray(cv2.addWeighted(smooth, amount, image, 1 - amount, 0), dtype=np.uint8)


def expose(image: Image, rng: Generator) -> Image:
    """Under- or overexpose: a gain of 0.6 to 1.6 after an exponent of 0.6 to 1.6."""
    power, gain = np.exp(rng.uniform(-0.5, 0.5, 2))
    values = np.clip(255 * gain * (np.arange(256) / 255) ** power, 0, 255)
    return np.asarray(cv2.LUT(image, np.rint(values).astype(np.uint8)), dtype=np.uint8)


def fade(image: Image, rng: Generator) -> Image:
    """Reduce the colour saturation, down to grey."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    kept = max(0.0, rng.uniform(-0.3, 1))
    return np.asarray(cv2.addWeighted(image, kept, grey, 1 - kept, 0), dtype=np.uint8)
