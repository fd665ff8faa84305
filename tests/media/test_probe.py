"""Test what is found out about a file, and when its frames are shown."""

import errno
import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from deepscan.media import container
from deepscan.media.container import open_container
from deepscan.media.frames import MediaError, MediaInfo
from tests import awkward
from tests.media.conftest import look


def refusal(path, **options):
    with pytest.raises(MediaError) as caught:
        look(path, **options)
    return caught.value.status, caught.value.detail


def test_facts_of_a_plain_video(media):
    found = look(media("sound.mp4"))
    assert found.info == MediaInfo(
        container="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        pixel_format="yuv420p",
        width=awkward.WIDTH,
        height=awkward.HEIGHT,
        stored_width=awkward.WIDTH,
        stored_height=awkward.HEIGHT,
        pixel_aspect=Fraction(1),
        rotation=0,
        mirrored=False,
        transfer=None,
        field_order="progressive",
        start=0.0,
        fps=Fraction(25),
        duration=pytest.approx(1.2),
        frames_stated=30,
        frames_decodable=30,
        keyframes=3,
        other_videos=0,
        encoder=found.info.encoder,
        # The audio is longer.
        duration_stated=pytest.approx(1.28),
        keyframe_gaps=(10, 10, 10),
        edits=found.info.edits,
    )
    # B-frames are stored out of order; a keyframe every 10 frames shows that they are sorted.
    assert np.flatnonzero(found.keys).tolist() == [0, 10, 20]
    assert found.seconds == pytest.approx(np.arange(30) / 25)
    # PyAV has had its own types for rational numbers.
    assert type(found.info.fps) is Fraction
    assert not found.warnings
    assert MediaInfo.from_json(found.info.to_json()) == found.info


INTACT = "plain.mkv plain.avi plain.ts plain.h264 vp9.webm av1.webm mistitled.mp4 mistitled.mkv"


@pytest.mark.parametrize("name", INTACT.split())
def test_intact_files_give_no_warning(media, name):
    found = look(media(name))
    assert found.warnings == ()
    assert found.count == (12 if name.endswith("webm") else 30)
    assert found.info.fps == 25
    # Matroska counts milliseconds.
    assert found.seconds == pytest.approx(np.arange(found.count) / 25, abs=0.001)


def test_times_of_a_variable_frame_rate(media):
    for name in ("vfr.mkv", "vfr.mp4"):
        found = look(media(name))
        # Half a millisecond of rounding.
        assert found.seconds == pytest.approx(awkward.vfr_times(), abs=0.0006)
        assert float(found.info.fps) == pytest.approx(23 / awkward.vfr_times()[-1], rel=0.05)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_rotation_is_clockwise_and_the_size_is_the_displayed_one(media, turn):
    info = look(media(f"turned{turn}.mp4")).info
    assert (info.rotation, info.width, info.height) == (turn, awkward.WIDTH, awkward.HEIGHT)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff", ".webp", ".gif"])
def test_still_images_are_one_frame(media, suffix):
    found = look(media(f"still{suffix}"))
    assert found.still
    assert (found.count, found.info.fps, found.info.duration) == (1, None, None)


WAYS = [(0, False), (0, True), (180, False), (180, True), (90, True), (90, False), (270, True), (270, False)]


@pytest.mark.parametrize(("orientation", "way"), list(enumerate(WAYS, start=1)))
def test_exif_orientation_gives_rotation_and_mirroring(media, orientation, way):
    info = look(media(f"exif{orientation}.jpg")).info
    assert (info.rotation, info.mirrored, info.width, info.height) == (*way, awkward.WIDTH, awkward.HEIGHT)


@pytest.mark.parametrize("orientation", [2, 4, 5, 7])
def test_a_display_matrix_that_mirrors(media, orientation):
    info = look(media(f"lies{orientation}.mp4")).info
    assert (info.rotation, info.mirrored) == WAYS[orientation - 1]
    assert (info.width, info.height) == (awkward.WIDTH, awkward.HEIGHT)


@pytest.mark.parametrize(
    ("name", "aspect", "width"),
    # Nearly square pixels are left alone.
    [("wide.mp4", Fraction(2), 320), ("high.mkv", Fraction(1, 2), 80), ("nearly.mp4", Fraction(63, 64), 160)],
)
def test_the_displayed_size_has_square_pixels(media, name, aspect, width):
    info = look(media(name)).info
    assert (info.stored_width, info.stored_height) == (awkward.WIDTH, awkward.HEIGHT)
    assert (info.pixel_aspect, info.width, info.height) == (aspect, width, awkward.HEIGHT)
    assert MediaInfo.from_json(info.to_json()) == info


def test_the_size_limit_applies_to_the_displayed_and_the_stored_size(media):
    limit = awkward.WIDTH * awkward.HEIGHT
    for name in ("high.mkv", "plain.mp4"):
        assert look(media(name), max_pixels=limit).count == 30
    assert refusal(media("wide.mp4"), max_pixels=limit)[0] == "unsupported"
    assert refusal(media("plain.mp4"), max_pixels=limit - 1)[0] == "unsupported"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_video_stream_after_an_audio_stream_is_the_first_video(media, suffix):
    found = look(media(f"soundfirst{suffix}"))
    assert (found.stream.place, found.count, found.warnings) == (0, 30, ())


def test_a_further_video_stream_is_reported(media):
    found = look(media("two.mp4"))
    assert (found.count, found.info.other_videos) == (12, 1)
    assert found.warnings == ("further video streams, ignored: 2 (h264 80x48)",)


def test_a_file_with_different_streams_when_it_is_opened_again(media, monkeypatch):
    """As happens with an FLV whose header is wrong about its content."""
    opened = []

    def another(url):
        opened.append(url)
        name = "two.mp4" if len(opened) == 1 else "audio.mp4"
        return open_container(f"/dev/fd/{os.open(media(name), os.O_RDONLY)}")

    monkeypatch.setattr("deepscan.media.probe.open_container", another)
    assert refusal(media("two.mp4")) == ("decode_error", "its streams differ each time it is opened")


JOINED = ("joined.ts", "joined.mpg", "joined.flv", "joined.mkv")


@pytest.mark.parametrize("name", JOINED)
def test_timestamps_that_restart_are_joined(media, name):
    found = look(media(name))
    assert found.count == 60
    # FLV and Matroska count milliseconds.
    assert found.seconds == pytest.approx(np.arange(60) / 25, abs=0.001)
    assert found.warnings == ("timestamps that jump: 1; the pieces are placed one after another",)
    assert not found.damaged


@pytest.mark.parametrize(
    ("error", "has_memory", "status"),
    [
        (errno.ENOMEM, False, "error"),
        # libav refuses what a damaged header requests, however much memory is left.
        (errno.ENOMEM, True, "decode_error"),
        (errno.EAGAIN, True, "error"),
        (errno.EIO, True, "decode_error"),
    ],
)
def test_lack_of_memory_is_not_the_file_s_fault(media, monkeypatch, error, has_memory, status):
    def short(*_, **__):
        raise av.FFmpegError(error, os.strerror(error))

    path = media("plain.mp4")
    monkeypatch.setattr(av, "open", short)
    if not has_memory:
        # More than there are addresses.
        monkeypatch.setattr(container, "_AMPLE", 1 << 60)
    assert refusal(path)[0] == status


def test_an_impossible_size_in_the_header_is_the_file_s_fault(media, tmp_path):
    data = bytearray(media("plain.mp4").read_bytes())
    # Twelve bytes after its name, the box lists the sizes of the frames. libav refuses to read 512 MB.
    place = data.index(b"stsz") + 16 + 4 * 17
    assert int.from_bytes(data[place : place + 4], "big") < len(data)
    data[place] = 0x20
    path = tmp_path / "large.mp4"
    path.write_bytes(data)
    found = look(path)
    assert (found.count, found.damaged) == (17, True)
    assert any(line.startswith("reading stopped early") for line in found.warnings)


def test_streams_that_begin_within_a_file_do_not_end_it_with_an_error():
    class Container:
        def demux(self):
            yield from ("first", "last", "flush")
            raise IndexError("list index out of range")

    assert [*container.packets_of(Container())] == ["first", "last", "flush"]


def test_a_second_picture_in_a_photo_is_not_a_second_frame(media, tmp_path):
    path = tmp_path / "motion.jpg"
    path.write_bytes(media("still.jpg").read_bytes() * 2)
    found = look(path)
    assert (found.count, found.warnings) == (1, ("further pictures in the file, ignored: 1",))


def test_a_wrong_header_is_overruled(media):
    found = look(media("lying.mp4"))
    assert (found.info.frames_stated, found.count) == (43, 30)
    assert "the header declares 43 frames, the file has 30" in found.warnings


@pytest.mark.parametrize("name", ["truncated.mp4", "truncated.mkv"])
def test_a_truncated_file_is_read_up_to_its_end(media, name):
    found = look(media(name))
    assert 4 <= found.count < 60
    assert found.damaged
    assert found.warnings


def test_one_intact_frame_is_enough(media):
    found = look(media("one.mp4"))
    assert (found.count, found.still, found.damaged) == (1, False, False)


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("stump.mp4", "decode_error", "too few decodable frames are left: 3"),
        ("empty.mp4", "decode_error", "empty"),
        ("indexless.mp4", "decode_error", "nothing can be decoded"),
        ("text.mp4", "unsupported", "text"),
        ("audio.mp4", "unsupported", "audio only"),
        ("cover.mp4", "unsupported", "audio only"),
        ("huge.png", "unsupported", "20000x20000"),
    ],
)
def test_refusals(media, name, status, message):
    found = refusal(media(name))
    assert found[0] == status
    assert message in found[1]
    assert "/dev/fd" not in found[1]


def test_an_unknown_codec_is_not_an_internal_error(media, tmp_path):
    path = tmp_path / "unknown.mp4"
    path.write_bytes(media("plain.mp4").read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzz"))
    assert refusal(path) == ("decode_error", "its video codec is unknown")


@pytest.mark.parametrize(
    "content",
    [
        b"plain words",
        "schöne Grüße\n".encode(),
        "schöne Grüße\n".encode("latin-1"),
        "UTF-16".encode("utf-16"),
        ("x" * 4095 + "ü").encode(),
        b"ffconcat version 1.0\nfile 'a.mp4'\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        b"\x1b[31mcolours\x1b[0m",
    ],
)
def test_text_is_recognised_whatever_its_encoding(tmp_path, content):
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    assert refusal(path)[0] == "unsupported"


@pytest.mark.parametrize(
    "head", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF", b"II*\0\x08\0\0\0", b"RIFF\x10\0\0\0WEBP"]
)
def test_the_mere_beginning_of_a_picture_is_not_an_internal_error(tmp_path, head):
    path = tmp_path / "stub"
    path.write_bytes(head + bytes(40))
    assert refusal(path)[0] in ("decode_error", "unsupported")


def test_only_known_containers_are_read(tmp_path):
    # Sun audio represents the 300 formats that libav would open by their content but that are not allowed.
    path = tmp_path / "other.mp4"
    path.write_bytes(b".snd" + struct.pack(">5I", 24, 4000, 1, 8000, 1) + bytes(4000))
    status, detail = refusal(path)
    assert status == "unsupported"
    assert "container" in detail


def test_uncompressed_video_is_not_mistaken_for_text(tmp_path):
    path = tmp_path / "plain.y4m"
    path.write_bytes(b"YUV4MPEG2 W64 H64 F25:1 C420\n" + (b"FRAME\n" + b"d" * 6144) * 3)
    assert look(path).count == 3
