"""Makes small and awkward media files with PyAV and numpy alone, each frame carrying its own number."""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

WIDTH, HEIGHT = 160, 96
_BITS = 9
_BLOCK = 16
_MATRICES = {
    0: (1, 0, 0, 0, 1, 0),
    90: (0, 1, 0, -1, 0, 0),
    180: (-1, 0, 0, 0, -1, 0),
    270: (0, -1, 0, 1, 0, 0),
}


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """Return an upright RGB frame that shows `number` (0..511) in its top row of blocks, red block first.

    Args:
        number: What `number_of` reads back.
        width: Width in pixels, at least 160.
        height: Height in pixels, at least 48.
    """
    image = np.full((height, width, 3), 90, np.uint8)
    image[height // 2 :, :, 1] = np.linspace(40, 210, width).astype(np.uint8)
    image[: 2 * _BLOCK, :_BLOCK] = (220, 30, 30)
    for bit in range(_BITS):
        left = (bit + 1) * _BLOCK
        image[: 2 * _BLOCK, left : left + _BLOCK] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: Image) -> int:
    """Return the number that an upright `picture` shows.

    Raises:
        AssertionError: The red block is not at the top left, so the frame is turned, mirrored or miscoloured.
    """
    red, green, blue = (int(value) for value in image[_BLOCK - 4, _BLOCK // 2])
    assert red > 150 and green < 100 and blue < 100, f"no red block at the top left: {red, green, blue}"
    levels = [int(image[_BLOCK - 4, (bit + 1) * _BLOCK + _BLOCK // 2].mean()) for bit in range(_BITS)]
    return sum(1 << bit for bit, level in enumerate(levels) if level > 128)


def video(
    path: Path,
    count: int = 30,
    *,
    fps: int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    gop: int = 10,
    ticks: Sequence[int] | None = None,
    turn: int = 0,
    faststart: bool = False,
    container: str | None = None,
    audio: bool = False,
    title: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """Write `count` numbered frames and return `path`.

    Args:
        path: Where to; the suffix chooses the container unless `container` names one.
        count: Number of frames.
        fps: Frames a second, when `ticks` is None.
        codec: Encoder.
        pixel_format: Pixel format to encode.
        size: Width and height of the upright picture.
        gop: Largest distance between keyframes.
        ticks: Presentation times in milliseconds, one a frame, for a variable frame rate.
        turn: Quarter turns counter-clockwise in which frames are stored (a player must turn them back).
        faststart: Put the index of an MP4 in front.
        container: Container format.
        audio: Add a track of silence.
        title: What to call the file and its track.
        options: More encoder options.
    """
    settings = {"threads": "1", **(options or {})}
    muxing = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", format=container, container_options=muxing) as output:
        stream: Any = output.add_stream(codec, rate=1000 if ticks is not None else fps, options=settings)
        stored = np.rot90(picture(0, *size), turn)
        stream.width, stream.height, stream.pix_fmt = stored.shape[1], stored.shape[0], pixel_format
        stream.gop_size = gop
        step = Fraction(1, 1000) if ticks is not None else Fraction(1, fps)
        stream.time_base = stream.codec_context.time_base = step
        if title:
            output.metadata["title"] = stream.metadata["title"] = stream.metadata["handler_name"] = title
        sound: Any = output.add_stream("aac", rate=16000) if audio else None
        for number in range(count):
            image = np.ascontiguousarray(np.rot90(picture(number, *size), turn))
            frame: Any = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if ticks is None else ticks[number]
            frame.time_base = step
            output.mux(stream.encode(frame.reformat(format=pixel_format)))
        output.mux(stream.encode(None))
        if sound is not None:
            _silence(output, sound)
    return path


def _silence(output: Any, stream: Any, blocks: int = 20) -> None:
    for number in range(blocks):
        frame: Any = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, number * 1024
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def rotated(path: Path, rotation: int, count: int = 12) -> Path:
    """Write an MP4 to be turned clockwise by `rotation` degrees, after which it shows a `picture`."""
    video(path, count, turn=rotation // 90)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, u, c, d, v = _MATRICES[rotation]
    data[start : start + 36] = struct.pack(">9i", a << 16, b << 16, u, c << 16, d << 16, v, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def vfr(path: Path, count: int = 24) -> Path:
    """Write a video whose frames last 20, 50 and 90 ms in turn; `vfr_times` says when each is shown."""
    return video(path, count, ticks=[round(1000 * time) for time in vfr_times(count)])


def vfr_times(count: int = 24) -> list[float]:
    """Return the presentation times in seconds of the frames of `vfr`."""
    lengths = [0.02, 0.05, 0.09]
    return [sum(lengths[i % 3] for i in range(number)) for number in range(count)]


def cut(path: Path, share: float) -> Path:
    """Cut a file down to `share` of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def truncated(path: Path, share: float = 0.6, count: int = 60) -> Path:
    """Write an MP4 with its index in front, then cut it: the index promises frames that are not there."""
    return cut(video(path, count, faststart=True), share)


def stump(path: Path, left: int = 3) -> Path:
    """Write such an MP4 cut right behind its first packets, as many as are left."""
    with av.open(str(video(path, faststart=True))) as file:
        ends = sorted(packet.pos + packet.size for packet in file.demux(video=0) if packet.size)
    path.write_bytes(path.read_bytes()[: ends[left - 1]])
    return path


def indexless(path: Path, count: int = 60) -> Path:
    """Write an MP4 with its index at the end, then cut that off: nothing can be decoded."""
    return cut(video(path, count), 0.6)


def lying(path: Path, stated: int = 43, count: int = 30) -> Path:
    """Write an MP4 of `count` frames whose sample tables claim `stated`, beyond the end of the file.

    Raises:
        AssertionError: The tables do not look as PyAV's muxer writes them.
    """
    video(path, count)
    data = bytearray(path.read_bytes())
    claim = stated - count
    stsz = data.index(b"stsz")
    size, samples = struct.unpack_from(">2I", data, stsz + 8)
    assert (size, samples) == (0, count)
    data = _grow(data, b"stsz", struct.pack(f">{claim}I", *[4000] * claim), (stsz + 12, stated))
    stts = data.index(b"stts")
    entries, run, _ = struct.unpack_from(">3I", data, stts + 8)
    assert (entries, run) == (1, count)
    struct.pack_into(">I", data, stts + 12, stated)
    ctts = data.find(b"ctts")
    if ctts >= 0:
        entries = struct.unpack_from(">I", data, ctts + 8)[0]
        data = _grow(data, b"ctts", struct.pack(">2I", claim, 1024), (ctts + 8, entries + 1))
    stsc = data.index(b"stsc")
    entries = struct.unpack_from(">I", data, stsc + 8)[0]
    assert entries == 1, "one chunk holds all samples"
    struct.pack_into(">I", data, stsc + 16, stated)
    path.write_bytes(data)
    return path


def _grow(data: bytearray, name: bytes, more: bytes, count: tuple[int, int]) -> bytearray:
    """Append `more` to a box of the sample table, write its new count, and lengthen the boxes around it."""
    struct.pack_into(">I", data, *count)
    for box in (name, b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = data.rindex(box, 0, data.index(name) + 4) - 4
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(more))
    at = data.index(name) - 4
    end = at + struct.unpack_from(">I", data, at)[0] - len(more)
    return data[:end] + more + data[end:]


def damaged(path: Path, count: int = 60, share: float = 0.5, length: int = 400) -> Path:
    """Write an MP4 with its index in front, then overwrite bytes in the midst of its frames."""
    video(path, count, faststart=True, gop=12, options={"crf": "10"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    at = start + int((len(data) - start) * share)
    data[at : at + length] = bytes(np.random.default_rng(0).integers(0, 256, length, np.uint8))
    path.write_bytes(data)
    return path


def mistitled(path: Path) -> Path:
    """Write a video whose titles, its own and its track's, are bytes that are no UTF-8.

    Raises:
        AssertionError: The muxer did not write both.
    """
    data = video(path, title="latin one").read_bytes()
    assert data.count(b"latin one") >= 2
    path.write_bytes(data.replace(b"latin one", b"caf\xe9 \xff\xfe\xe9\xe9"))
    return path


def resized(path: Path, count: int = 10) -> Path:
    """Write a Matroska video of `count` frames, then as many that are half as large again."""
    first = video(path.with_suffix(".a.h264"), count, container="h264", options=_INBAND)
    large = (WIDTH * 3 // 2, HEIGHT * 3 // 2)
    second = video(path.with_suffix(".b.h264"), count, container="h264", size=large, options=_INBAND)
    with av.open(str(path), "w", format="matroska") as output:
        stream: Any = None
        at = 0
        for part in (first, second):
            with av.open(str(part), format="h264") as source:
                if stream is None:
                    stream = output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(source.streams.video[0]):
                    if packet.size:
                        packet.pts = packet.dts = at
                        packet.duration = 1
                        packet.stream, packet.time_base = stream, Fraction(1, 25)
                        at += 1
                        output.mux(packet)
            part.unlink()
    return path


_INBAND = {"bf": "0", "x264-params": "repeat-headers=1"}


def audio_only(path: Path, cover: bool = False) -> Path:
    """Write an MP4 of silence, with cover art if asked."""
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=16000)
        if cover:
            art: Any = output.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic.value  # PyAV 15 takes no flag
            frame = av.VideoFrame.from_ndarray(picture(1), format="rgb24").reformat(format="yuvj420p")
            frame.pts = 0
            output.mux(art.encode(frame))
            output.mux(art.encode(None))
        _silence(output, sound)
    return path


def empty(path: Path) -> Path:
    """Write a file of no bytes."""
    path.write_bytes(b"")
    return path


def text(path: Path, content: str = "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n") -> Path:
    """Write text, by default a playlist that would make a player open a connection."""
    path.write_text(content, encoding="utf-8")
    return path


def png(path: Path, width: int, height: int, rows: Callable[[int], bytes] | None = None) -> Path:
    """Write a grey 8-bit PNG row by row, so that 20000 x 20000 pixels take no memory.

    Args:
        path: Where to.
        width: Width in pixels.
        height: Height in pixels.
        rows: Row number -> `width` bytes; black by default.
    """
    packer = zlib.compressobj(1)
    black = bytes(width)
    chunks: list[bytes] = []
    for number in range(height):
        chunks.append(packer.compress(b"\0" + (rows(number) if rows else black)))
    chunks.append(packer.flush())
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    parts: Iterable[tuple[bytes, bytes]] = (
        (b"IHDR", header),
        (b"IDAT", b"".join(chunks)),
        (b"IEND", b""),
    )
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in parts:
            file.write(struct.pack(">I", len(body)) + name + body)
            file.write(struct.pack(">I", zlib.crc32(name + body)))
    return path


def still(path: Path, number: int = 5) -> Path:
    """Write one `picture` as a JPEG, PNG, BMP, TIFF or WebP, by the suffix."""
    codec, pixel_format = {
        ".jpg": ("mjpeg", "yuvj420p"),
        ".png": ("png", "rgb24"),
        ".bmp": ("bmp", "bgr24"),
        ".tiff": ("tiff", "rgb24"),
        ".webp": ("libwebp", "yuv420p"),
    }[path.suffix]
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, pixel_format
    context.time_base = Fraction(1, 25)
    frame: Any = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format=pixel_format)
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return path


def exif_jpeg(path: Path, orientation: int = 6, number: int = 5) -> Path:
    """Write a JPEG stored a quarter turn counter-clockwise, as EXIF orientation 6 says."""
    turned = np.ascontiguousarray(np.rot90(picture(number), 1))
    context: Any = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = turned.shape[1], turned.shape[0], "yuvj420p"
    context.time_base = Fraction(1, 25)
    frame: Any = av.VideoFrame.from_ndarray(turned, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    data = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    body = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
    return path


def gif(path: Path, count: int = 6) -> Path:
    """Write an animated GIF at 10 frames a second."""
    return video(path, count, fps=10, codec="gif", pixel_format="rgb8")


def webm(path: Path, codec: str = "libvpx-vp9", count: int = 12) -> Path:
    """Write a WebM, with `libvpx-vp9` or `libsvtav1`."""
    speed = {"libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"}, "libsvtav1": {"preset": "12"}}[codec]
    return video(path, count, codec=codec, options=speed)
