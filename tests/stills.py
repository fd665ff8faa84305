"""Create small still pictures with PyAV, each showing a number like the frames of `awkward`."""

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from tests.awkward import Image, picture, stored_as


def png(path: Path, width: int, height: int, rows: Callable[[int], bytes] | None = None) -> Path:
    """Write a grey 8-bit PNG row by row, so that 20000 x 20000 pixels need little memory.

    Args:
        path: The file to write.
        width: Width in pixels.
        height: Height in pixels.
        rows: Row number -> `width` bytes; black by default.
    """
    compressor = zlib.compressobj(1)
    black = bytes(width)
    chunks: list[bytes] = []
    for number in range(height):
        chunks.append(compressor.compress(b"\0" + (rows(number) if rows else black)))
    chunks.append(compressor.flush())
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", b"".join(chunks)), (b"IEND", b""))
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in parts:
            file.write(struct.pack(">I", len(body)) + name + body)
            file.write(struct.pack(">I", zlib.crc32(name + body)))
    return path


def still(path: Path, number: int = 5) -> Path:
    """Write a `picture` as JPEG, PNG, BMP, TIFF or WebP, depending on the suffix."""
    codec, pixel_format = {
        ".jpg": ("mjpeg", "yuvj420p"),
        ".png": ("png", "rgb24"),
        ".bmp": ("bmp", "bgr24"),
        ".tiff": ("tiff", "rgb24"),
        ".webp": ("libwebp", "yuv420p"),
    }[path.suffix]
    path.write_bytes(_encoded(picture(number), codec, pixel_format))
    return path


def exif_jpeg(path: Path, orientation: int = 6, number: int = 5) -> Path:
    """Write a JPEG that an EXIF orientation (1 to 8) turns into a `picture`."""
    data = _encoded(stored_as(picture(number), orientation), "mjpeg", "yuvj420p")
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    body = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
    return path


def _encoded(image: Image, codec: str, pixel_format: str) -> bytes:
    """Encode a picture with an encoder of libav."""
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = image.shape[:2]
    context.pix_fmt, context.time_base = pixel_format, Fraction(1, 25)
    frame: Any = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
