"""Create small and awkward videos with PyAV and numpy, each frame showing its own number."""

import struct
from collections.abc import Callable, Sequence
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
_FLV_HEADER = 13
# EXIF orientation -> how an upright picture is stored so that it is displayed upright, and a, b, c and d of
# the equivalent display matrix.
_ORIENTATIONS: dict[int, tuple[Callable[[Image], Image], tuple[int, int, int, int]]] = {
    1: (lambda image: image, (1, 0, 0, 1)),
    2: (lambda image: image[:, ::-1], (-1, 0, 0, 1)),
    3: (lambda image: image[::-1, ::-1], (-1, 0, 0, -1)),
    4: (lambda image: image[::-1], (1, 0, 0, -1)),
    5: (lambda image: image.swapaxes(0, 1), (0, 1, 1, 0)),
    6: (lambda image: image.swapaxes(0, 1)[::-1], (0, 1, -1, 0)),
    7: (lambda image: image[::-1, ::-1].swapaxes(0, 1), (0, -1, -1, 0)),
    8: (lambda image: image[::-1].swapaxes(0, 1), (0, -1, 1, 0)),
}
_ROTATIONS = {0: 1, 90: 6, 180: 3, 270: 8}


def stored_as(image: Image, orientation: int) -> Image:
    """Return a picture as it is stored with an EXIF orientation (1 to 8) that turns it upright."""
    return np.ascontiguousarray(_ORIENTATIONS[orientation][0](image))


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """Return an upright RGB frame that shows `number` (0..511) in its top row of blocks, red block first.

    Args:
        number: The number for `number_of` to read.
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
    """Read the number from an upright `picture`.

    Raises:
        AssertionError: The red block is not at the top left, so the frame is rotated, mirrored or has wrong
            colours.
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
    orientation: int = 1,
    faststart: bool = False,
    container: str | None = None,
    audio: bool = False,
    audio_first: bool = False,
    aspect: Fraction | None = None,
    draw: Callable[[int], Image] | None = None,
    tags: dict[str, int] | None = None,
    title: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """Write `count` numbered frames and return `path`.

    Args:
        path: The file to write; its suffix sets the container unless `container` is given.
        count: Number of frames.
        fps: Frames per second if `ticks` is None.
        codec: Encoder.
        pixel_format: Pixel format to encode.
        size: Width and height of the upright picture.
        gop: Largest distance between keyframes.
        ticks: Presentation times in milliseconds, one per frame, for a variable frame rate.
        orientation: EXIF orientation (1 to 8) that turns the stored frames upright; it is not written.
        faststart: Put the index of an MP4 at the start of the file.
        container: Container format.
        audio: Add a silent audio track.
        audio_first: Add the audio track before the video track.
        aspect: Width of a pixel divided by its height.
        draw: Number -> the upright frame, shape (height, width, 3), uint8 or uint16; `picture` by default.
        tags: Attributes of the codec context and of each frame, such as `color_trc`.
        title: Title of the file and its track.
        options: Additional encoder options.
    """
    settings = {"threads": "1", **(options or {})}
    muxer_options = {"movflags": "faststart"} if faststart else {}
    draw = draw or (lambda number: picture(number, *size))
    with av.open(str(path), "w", format=container, container_options=muxer_options) as output:
        sound: Any = output.add_stream("aac", rate=16000) if audio_first else None
        stream: Any = output.add_stream(codec, rate=1000 if ticks is not None else fps, options=settings)
        stored = stored_as(draw(0), orientation)
        stream.width, stream.height, stream.pix_fmt = stored.shape[1], stored.shape[0], pixel_format
        stream.gop_size = gop
        step = Fraction(1, 1000) if ticks is not None else Fraction(1, fps)
        stream.time_base = stream.codec_context.time_base = step
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if title:
            output.metadata["title"] = stream.metadata["title"] = stream.metadata["handler_name"] = title
        if audio:
            sound = output.add_stream("aac", rate=16000)
        for number in range(count):
            image = stored_as(draw(number), orientation)
            depth = "rgb24" if image.dtype == np.uint8 else "rgb48le"
            frame: Any = av.VideoFrame.from_ndarray(image, format=depth)
            if tags:
                frame = frame.reformat(format=pixel_format, dst_colorspace=tags.get("colorspace"))
                for name, value in tags.items():
                    setattr(frame, name, value)
            frame.pts = number if ticks is None else ticks[number]
            frame.time_base = step
            output.mux(stream.encode(frame.reformat(format=pixel_format)))
        output.mux(stream.encode(None))
        if sound is not None:
            _silence(output, sound)
    return path


def two_videos(path: Path) -> Path:
    """Write an MP4 with three tracks: silence, a video of 12 frames and a smaller video of 20 grey frames."""
    with av.open(str(path), "w") as output:
        sound: Any = output.add_stream("aac", rate=16000)
        grey = np.full((HEIGHT // 2, WIDTH // 2, 3), 128, np.uint8)
        videos = [[picture(number) for number in range(12)], [grey] * 20]
        streams: list[Any] = []
        for images in videos:
            streams.append(output.add_stream("libx264", rate=25, options={"threads": "1"}))
            streams[-1].height, streams[-1].width = images[0].shape[:2]
            streams[-1].pix_fmt = "yuv420p"
        for stream, images in zip(streams, videos, strict=True):
            for image in images:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            output.mux(stream.encode(None))
        _silence(output, sound)
    return path


def joined_twice(path: Path) -> Path:
    """Write a stream with frames 0 to 29, then one with 100 to 129 whose timestamps restart."""
    codec = "mpeg2video" if path.suffix == ".mpg" else "libx264"
    parts = [
        video(
            path.with_stem(f"part{first}"),
            30,
            codec=codec,
            draw=lambda number, first=first: picture(first + number),
        )
        for first in (0, 100)
    ]
    data = [part.read_bytes() for part in parts]
    if path.suffix == ".flv":
        # A writer that reconnects continues with tags, without a second header.
        data[1] = data[1][_FLV_HEADER:]
    path.write_bytes(b"".join(data))
    for part in parts:
        part.unlink()
    return path


def _silence(output: Any, stream: Any, blocks: int = 20) -> None:
    for number in range(blocks):
        frame: Any = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, number * 1024
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def oriented(path: Path, orientation: int) -> Path:
    """Write an MP4 with the display matrix of an EXIF orientation (1 to 8); it shows a `picture`."""
    video(path, 12, orientation=orientation)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = _ORIENTATIONS[orientation][1]
    data[start : start + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def rotated(path: Path, rotation: int) -> Path:
    """Write an MP4 that is displayed as a `picture` after a clockwise rotation by `rotation` degrees."""
    return oriented(path, _ROTATIONS[rotation])


def vfr(path: Path) -> Path:
    """Write a video of 24 frames that last 20, 50 and 90 ms in turn, at the times of `vfr_times`."""
    return video(path, 24, ticks=[round(1000 * time) for time in vfr_times()])


def vfr_times() -> list[float]:
    """Return the presentation times in seconds of the frames of `vfr`."""
    lengths = [0.02, 0.05, 0.09]
    return [sum(lengths[i % 3] for i in range(number)) for number in range(24)]


def cut(path: Path, fraction: float) -> Path:
    """Truncate a file to a fraction of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def cut_late(path: Path) -> Path:
    """Write a video in a container without a frame count, and remove its last two percent.

    The number of encoded bytes differs between machines. A transport stream is always cut within a packet,
    since a cut between two packets is not detectable.
    """
    codec = {".gif": "gif", ".webm": "libvpx", ".ogv": "libvpx", ".avi": "mpeg4"}
    pixels = "rgb8" if path.suffix == ".gif" else "yuv420p"
    cut(video(path, 30, codec=codec.get(path.suffix, "libx264"), pixel_format=pixels), 0.98)
    if path.suffix == ".ts" and path.stat().st_size % 188 == 0:
        path.write_bytes(path.read_bytes()[:-94])
    return path


def truncated(path: Path) -> Path:
    """Write an MP4 with its index at the start, then truncate it: the index lists missing frames."""
    return cut(video(path, 60, faststart=True), 0.6)


def stump(path: Path) -> Path:
    """Write an MP4 with its index at the start, truncated right after its third packet."""
    with av.open(str(video(path, faststart=True))) as file:
        ends = sorted(packet.pos + packet.size for packet in file.demux(video=0) if packet.size)
    path.write_bytes(path.read_bytes()[: ends[2]])
    return path


def indexless(path: Path) -> Path:
    """Write an MP4 with its index at the end, then cut off the index: nothing can be decoded."""
    return cut(video(path, 60), 0.6)


def lying(path: Path, declared: int = 43, count: int = 30) -> Path:
    """Write an MP4 of `count` frames whose sample tables declare more, beyond the end of the file.

    Raises:
        AssertionError: The tables differ from those that PyAV's muxer writes.
    """
    video(path, count)
    data = bytearray(path.read_bytes())
    excess = declared - count
    stsz = data.index(b"stsz")
    size, samples = struct.unpack_from(">2I", data, stsz + 8)
    assert (size, samples) == (0, count)
    data = _grow(data, b"stsz", struct.pack(f">{excess}I", *[4000] * excess), (stsz + 12, declared))
    stts = data.index(b"stts")
    entries, run, _ = struct.unpack_from(">3I", data, stts + 8)
    assert (entries, run) == (1, count)
    struct.pack_into(">I", data, stts + 12, declared)
    ctts = data.find(b"ctts")
    if ctts >= 0:
        entries = struct.unpack_from(">I", data, ctts + 8)[0]
        data = _grow(data, b"ctts", struct.pack(">2I", excess, 1024), (ctts + 8, entries + 1))
    stsc = data.index(b"stsc")
    entries = struct.unpack_from(">I", data, stsc + 8)[0]
    assert entries == 1, "expected one chunk with all samples"
    struct.pack_into(">I", data, stsc + 16, declared)
    path.write_bytes(data)
    return path


def _grow(data: bytearray, name: bytes, addition: bytes, count: tuple[int, int]) -> bytearray:
    """Append data to a box of the sample table; update its count and the lengths of the outer boxes."""
    struct.pack_into(">I", data, *count)
    for box in (name, b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        offset = data.rindex(box, 0, data.index(name) + 4) - 4
        struct.pack_into(">I", data, offset, struct.unpack_from(">I", data, offset)[0] + len(addition))
    offset = data.index(name) - 4
    end = offset + struct.unpack_from(">I", data, offset)[0] - len(addition)
    return data[:end] + addition + data[end:]


def damaged(path: Path) -> Path:
    """Write an MP4 with its index at the start, then overwrite bytes in the middle of its frames."""
    video(path, 60, faststart=True, gop=12, options={"crf": "10"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    offset = start + (len(data) - start) // 2
    data[offset : offset + 400] = bytes(np.random.default_rng(0).integers(0, 256, 400, np.uint8))
    path.write_bytes(data)
    return path


def mistitled(path: Path) -> Path:
    """Write a video whose title and track title are not valid UTF-8.

    Raises:
        AssertionError: The muxer did not write both.
    """
    data = video(path, title="latin one").read_bytes()
    assert data.count(b"latin one") >= 2
    path.write_bytes(data.replace(b"latin one", b"caf\xe9 \xff\xfe\xe9\xe9"))
    return path


def resized(path: Path) -> Path:
    """Write a Matroska video of 10 frames, followed by 10 frames that are 1.5 times as large."""
    first = video(path.with_suffix(".a.h264"), 10, container="h264", options=_INBAND)
    large = (WIDTH * 3 // 2, HEIGHT * 3 // 2)
    second = video(path.with_suffix(".b.h264"), 10, container="h264", size=large, options=_INBAND)
    with av.open(str(path), "w", format="matroska") as output:
        stream: Any = None
        index = 0
        for part in (first, second):
            with av.open(str(part), format="h264") as source:
                if stream is None:
                    stream = output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(source.streams.video[0]):
                    if packet.size:
                        packet.pts = packet.dts = index
                        packet.duration = 1
                        packet.stream, packet.time_base = stream, Fraction(1, 25)
                        index += 1
                        output.mux(packet)
            part.unlink()
    return path


_INBAND = {"bf": "0", "x264-params": "repeat-headers=1"}


def distinct(source: Path, path: Path, number: int) -> Path:
    """Copy an MP4 file with a number in a box that players skip: a scan decodes equal files only once."""
    path.write_bytes(source.read_bytes() + struct.pack(">I4sI", 12, b"free", number))
    return path


def audio_only(path: Path, cover: bool = False) -> Path:
    """Write an MP4 with silence, and optionally cover art."""
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=16000)
        if cover:
            art: Any = output.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic.value  # PyAV 15 accepts no flag
            frame = av.VideoFrame.from_ndarray(picture(1), format="rgb24").reformat(format="yuvj420p")
            frame.pts = 0
            output.mux(art.encode(frame))
            output.mux(art.encode(None))
        _silence(output, sound)
    return path


def empty(path: Path) -> Path:
    """Write an empty file."""
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    """Write a text file: a playlist that would make a player open a connection."""
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    return path


def gif(path: Path, count: int = 6) -> Path:
    """Write an animated GIF at 10 frames per second."""
    return video(path, count, fps=10, codec="gif", pixel_format="rgb8")


def webm(path: Path, codec: str = "libvpx-vp9") -> Path:
    """Write a WebM of 12 frames, with `libvpx-vp9` or `libsvtav1`."""
    speed = {"libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"}, "libsvtav1": {"preset": "12"}}[codec]
    return video(path, 12, codec=codec, options=speed)
