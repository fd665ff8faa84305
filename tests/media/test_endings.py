"""Test what the end of a file says about whether it is complete."""

import os
import struct

import pytest

from deepscan.media.endings import shortfall, unread_tail
from deepscan.media.frames import MediaError
from deepscan.media.source import SourceFile
from tests import awkward
from tests.media.conftest import look

# Names in `MAKERS` of conftest.
WHOLE = [
    *("anim.gif", "still.gif", "plain.mkv", "vp9.webm", "plain.ts", "still.jpg", "exif.jpg", "plain.avi"),
    "still.webp",
]
CUT = ["cut.gif", "cut.mkv", "cut.webm", "cut.flv", "cut.ts", "cut.ogv", "cut.avi"]
LIBAV = {
    ".gif": "gif",
    ".mkv": "matroska,webm",
    ".webm": "matroska,webm",
    ".flv": "flv",
    ".ts": "mpegts",
    ".ogv": "ogg",
    ".mxf": "mxf",
    ".avi": "avi",
    ".jpg": "jpeg_pipe",
    ".webp": "webp_pipe",
}


def missing(path):
    with SourceFile(os.fsencode(path)) as source:
        return shortfall(source, LIBAV[path.suffix])


@pytest.mark.parametrize("name", WHOLE)
def test_a_complete_file_lacks_nothing(media, name):
    assert missing(media(name)) is None


@pytest.mark.parametrize("suffix", [".flv", ".ogv", ".mxf"])
def test_files_written_by_our_own_libraries_are_complete(tmp_path, suffix):
    codec = {".flv": "libx264", ".ogv": "libvpx", ".mxf": "mpeg2video"}[suffix]
    assert missing(awkward.video(tmp_path / f"whole{suffix}", codec=codec)) is None


@pytest.mark.parametrize("name", CUT)
def test_a_file_that_is_cut_short_is_reported(media, name):
    found = look(media(name))
    assert found.damaged
    assert any(line.startswith("it is cut short: ") for line in found.warnings), found.warnings
    # Two percent of the bytes are at most a page of a few frames.
    assert 20 <= found.count <= 30


def with_header_counted(data):
    """Return a RIFF file whose length includes its own header."""
    return data[:4] + (int.from_bytes(data[4:8], "little") + 8).to_bytes(4, "little") + data[8:]


TRAILER = b"a trailer by the camera\xff\xd9" + bytes(64)


HABITS = {
    "padding": ("plain.ts", lambda data: data + bytes(100)),
    "gif-filling": ("anim.gif", lambda data: data[:-1] + b"\0\0;"),
    "gif-trailer": ("anim.gif", lambda data: data + TRAILER),
    "jpeg-trailer": ("still.jpg", lambda data: data + TRAILER),
    "jpeg-filling": ("still.jpg", lambda data: data[:2] + b"\xff" * 1000 + data[2:]),
    "riff-counts-itself": ("plain.avi", with_header_counted),
    "flv-zero-length": ("plain.flv", lambda data: data[:-4] + bytes(4)),
    "flv-no-length": ("plain.flv", lambda data: data[:-4]),
}


@pytest.mark.parametrize(("name", "change"), HABITS.values(), ids=HABITS)
def test_habits_of_some_writers_are_not_damage(media, tmp_path, name, change):
    path = tmp_path / name
    path.write_bytes(change(media(name).read_bytes()))
    assert missing(path) is None


def test_a_run_of_zeros_is_skipped(media, tmp_path):
    """As in a recorder's file that was allocated at its maximum size."""
    path = tmp_path / "long.ts"
    path.write_bytes(media("plain.ts").read_bytes() + bytes(188_000))
    assert look(path).count == 30


def test_an_mxf_that_is_cut_short_lacks_its_footer(tmp_path):
    path = awkward.video(tmp_path / "cut.mxf", codec="mpeg2video")
    assert "footer" in missing(awkward.cut(path, 0.9))


@pytest.mark.parametrize("share", [0.97, 0.8, 0.5, 0.2, 0.07])
@pytest.mark.parametrize("name", ["anim.gif", "plain.mkv", "still.jpg"])
def test_a_cut_anywhere_is_noticed(media, tmp_path, name, share):
    path = tmp_path / name
    path.write_bytes(media(name).read_bytes())
    awkward.cut(path, share)
    try:
        assert look(path).warnings
    except MediaError as error:
        assert error.status == "decode_error"


def test_the_frame_at_the_cut_of_a_gif_is_not_decodable(media):
    assert look(media("cut.gif")).count == 29


def test_uncompressed_video_that_is_cut_short(tmp_path):
    path = tmp_path / "plain.y4m"
    path.write_bytes(b"YUV4MPEG2 W64 H64 F25:1 C420\n" + (b"FRAME\n" + b"d" * 6144) * 6)
    assert look(path).warnings == ()
    found = look(awkward.cut(path, 0.9))
    assert (found.count, found.warnings) == (5, ("it is cut short: it ends within a frame",))


def test_a_flash_video_cut_at_any_byte_is_noticed(media, tmp_path):
    data, path = media("plain.flv").read_bytes(), tmp_path / "cut.flv"
    # Between two tags it looks complete. Only the length of the last tag may be missing.
    for left in range(len(data) - 200, len(data) - 4):
        path.write_bytes(data[:left])
        assert missing(path), left


def test_a_stream_recorded_as_flash_video_declares_no_size(media, tmp_path):
    data, path = media("plain.flv").read_bytes(), tmp_path / "live.flv"
    key, number = b"\x00\x08filesize\x00", struct.Struct(">d")
    at = data.index(key) + len(key)
    for declared in (0.0, float("nan"), float("inf"), -1.0, len(data) / 2):
        path.write_bytes(data[:at] + number.pack(declared) + data[at + 8 :])
        assert missing(path) is None


def test_an_unread_second_recording_is_reported(media, tmp_path):
    path = tmp_path / "two.flv"
    part = awkward.video(tmp_path / "part.flv").read_bytes()
    # libav treats the rest as garbage because of the second header.
    path.write_bytes(part + part)
    found = look(path)
    with SourceFile(os.fsencode(path)) as source:
        assert unread_tail(source, source.size) is None
    assert found.count == 30
    assert any("may be another recording" in line for line in found.warnings)
