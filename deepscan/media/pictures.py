"""Read with Pillow the facts about still pictures and animations that libav cannot read completely."""

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from deepscan.media.decoders import Probe, StreamKey
from deepscan.media.frames import HDR, MediaError, MediaInfo
from deepscan.media.orientation import Orientation
from deepscan.media.source import SourceFile

# Most files are videos: a process that decodes only those never imports Pillow.
if TYPE_CHECKING:
    from av.container import InputContainer
    from PIL import Image

#: EXIF tag of the orientation.
ORIENTATION = 0x0112
_WIDTH, _HEIGHT = 0x0100, 0x0101
#: Modes that `Image.convert` turns into 8-bit RGB without losing levels; libav reads the others (16 bits,
#: floats).
_PLAIN = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
#: Formats that rotate, crop and tile a picture by boxes around it (ISO/IEC 23008-12).
BOXED = frozenset({"AVIF", "HEIF"})
_BRANDS = {
    b"avif": "AVIF",
    b"heic": "HEIF",
    b"heix": "HEIF",
    b"heim": "HEIF",
    b"heis": "HEIF",
    b"mif1": "HEIF",
}


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What Pillow reports about a picture.

    Attributes:
        kind: Its format in Pillow's terms, such as `JPEG`.
        mode: Its pixel mode in Pillow's terms, such as `RGB`.
        width: Width in pixels as stored; as displayed for HEIF.
        height: Height in pixels as stored; as displayed for HEIF.
        orientation: How a viewer rotates and mirrors it.
        pages: How many pictures the file holds.
        begins: Start of each frame of an animation in milliseconds; empty for a still picture.
        length: Duration of an animation in milliseconds.
        misleading: Whether its EXIF data give an orientation that its format ignores but libav applies.
    """

    kind: str
    mode: str
    width: int
    height: int
    orientation: Orientation
    pages: int
    begins: tuple[int, ...] = ()
    length: int = 0
    misleading: bool = False

    @property
    def beyond_libav(self) -> str | None:
        """Why libav cannot be used, None if it can."""
        if self.kind == "TIFF" and self.mode in _PLAIN:
            return "libav does not read every kind of TIFF"
        if self.begins:
            return "libav does not read animated WebP"
        return None


def read_picture(source: SourceFile) -> PictureInfo | None:
    """Return what a picture file contains, None if it is not a picture that Pillow knows.

    Args:
        source: The opened file.
    """
    kind = kind_of(source.head(32))
    if kind is None:
        return None
    from deepscan.media.container import raise_if_out_of_resources

    try:
        if kind == "HEIF":
            return _of_heif(source)
        with opened(source.url(), kind) as image:
            pages = getattr(image, "n_frames", 1)
            begins, length = _times(source) if kind == "WEBP" and pages > 1 else ((), 0)
            turned = _orientation(image, kind, source)
            width, height = _stored_size(image)
            return PictureInfo(kind, image.mode, width, height, turned, pages, begins, length)
    except Exception as error:
        # Pillow's plugins raise any kind of error on a damaged header.
        raise_if_out_of_resources(error)
        return None


def _of_heif(source: SourceFile) -> PictureInfo:
    import pi_heif
    from PIL import Image

    with open(source.url(), "rb") as file:
        heif = pi_heif.open_heif(file)
        exif = Image.Exif()
        exif.load(heif.info.get("exif") or b"")
        misleading = exif.get(ORIENTATION, 1) != 1
        # libheif has already applied the rotation.
        width, height = heif.size
        return PictureInfo("HEIF", heif.mode, width, height, Orientation(), len(heif), misleading=misleading)


def kind_of(head: bytes) -> str | None:
    """Return the picture format of a file from its first 32 bytes, in Pillow's terms, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    return _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None


@contextmanager
def opened(url: str, kind: str) -> "Iterator[Image.Image]":
    """Open a picture of a known format.

    Args:
        url: The file, as `SourceFile.url` names it.
        kind: Its format, as `kind_of` names it.

    Raises:
        OSError: Pillow cannot read it. For damaged files it also raises other kinds of errors.
    """
    from PIL import Image

    with open(url, "rb") as file, warnings.catch_warnings():
        # The limit on pixels is enforced elsewhere, and damage becomes an error or a warning in the record.
        warnings.simplefilter("ignore")
        if kind == "HEIF":
            import pi_heif

            yield pi_heif.open_heif(file).to_pillow()
        else:
            with Image.open(file, formats=[kind]) as image:
                yield image


def _times(source: SourceFile) -> tuple[tuple[int, ...], int]:
    """Return the start of each frame of an animated WebP and its total duration, in milliseconds.

    They are read from the frames' chunks (ANMF), because Pillow would have to decode all frames.
    """
    begins, now, at = [], 0, 12
    end = 8 + int.from_bytes(os.pread(source.fd, 4, 4), "little")
    while at < end and len(chunk := os.pread(source.fd, 23, at)) == 23:
        name, size = struct.unpack_from("<4sI", chunk)
        if name == b"ANMF":
            begins.append(now)
            now += max(1, int.from_bytes(chunk[20:23], "little"))
        at += 8 + size + size % 2
    return tuple(begins), now


def _orientation(image: "Image.Image", kind: str, source: SourceFile) -> Orientation:
    # AVIF rotates by its own boxes and ignores EXIF (ISO/IEC 23008-12, 6.5.10). Pillow reports the boxes as
    # an EXIF orientation, but without such boxes it reports the EXIF value.
    if kind == "AVIF" and not _has_turning_box(source):
        return Orientation()
    return Orientation.from_exif(image.getexif().get(ORIENTATION, 1))


def _stored_size(image: "Image.Image") -> tuple[int, int]:
    # For a TIFF, Pillow reports the size after rotation.
    tags = getattr(image, "tag_v2", None)
    return (tags[_WIDTH], tags[_HEIGHT]) if tags else image.size


def _has_turning_box(source: SourceFile) -> bool:
    head = source.head(1 << 16)
    at = 0
    while at + 8 <= len(head):
        size, name = struct.unpack_from(">I4s", head, at)
        if name == b"meta":
            return b"irot" in head[at : at + size] or b"imir" in head[at : at + size]
        at += max(size, 8)
    return False


def beyond_libav(picture: PictureInfo, container: "InputContainer") -> str | None:
    """Return why libav is not used for a HEIF or AVIF file that it can open, or None if it is.

    Raises:
        MediaError: `unsupported`: Pillow cannot read it properly either.
    """
    from deepscan.media.container import in_tiles, is_known, video_streams
    from deepscan.media.shape import transfer_of

    if picture.kind not in BOXED:
        return None
    stream = video_streams(container)[0]
    if not is_known(stream):
        return None
    first = stream.codec_context
    if in_tiles(container):
        why = "libav returns each tile as a picture"
    elif picture.misleading:
        why = "libav applies the EXIF orientation of a HEIF"
    elif sorted((first.width, first.height)) != sorted((picture.width, picture.height)):
        why = "libav does not crop a HEIF"
    else:
        return None
    if transfer_of(first) in HDR:
        raise MediaError("unsupported", f"it is an HDR picture, and {why}")
    return why


def probe_of(picture: PictureInfo, why: str) -> Probe:
    """Return the probe of a file that Pillow reads instead of libav.

    Args:
        picture: What Pillow reports about it.
        why: Why libav cannot read it.
    """
    width, height = picture.width, picture.height
    if picture.orientation.swaps_sides:
        width, height = height, width
    still = not picture.begins
    begins = np.array(picture.begins or (0,), np.int64)
    seconds = picture.length / 1000
    info = MediaInfo(
        container=picture.kind.lower(),
        codec=picture.kind.lower(),
        pixel_format=picture.mode.lower(),
        width=width,
        height=height,
        stored_width=picture.width,
        stored_height=picture.height,
        pixel_aspect=Fraction(1),
        rotation=picture.orientation.rotation,
        mirrored=picture.orientation.mirrored,
        transfer=None,
        field_order="progressive",
        start=None,
        fps=None if still else Fraction(1000 * len(begins), picture.length).limit_denominator(1001),
        duration=None if still else seconds,
        frames_stated=None if still else picture.pages,
        frames_decodable=len(begins),
        keyframes=1,
        other_videos=0,
    )
    key = StreamKey(0, info.codec, picture.width, picture.height)
    keys = np.arange(len(begins)) == 0
    pages = f"further pictures in the file, ignored: {picture.pages - 1}"
    warnings = (pages,) if still and picture.pages > 1 else ()
    return Probe(info, key, begins, begins / 1000, keys, (), still, False, why, warnings)
