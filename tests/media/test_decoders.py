"""Test the contract of all decoders: the same picture for the same index, upright, for every kind of file."""

import gc
import os
import platform
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from deepscan.media import pyav
from deepscan.media.decoders import DECODERS, DecoderError, FrameError, installed
from deepscan.media.probe import probe
from deepscan.media.source import SourceFile
from tests import awkward
from tests.media.conftest import decoded, look

# decord is a dependency only where it has wheels; if it is missing there, the tests fail.
HERE = [
    name
    for name in DECODERS.names
    if name != "decord" or (sys.platform == "linux" and platform.machine() == "x86_64")
]
# Pillow only decodes pictures.
VIDEO_DECODERS = [name for name in HERE if name != "pillow"]
COMMON = [
    *("plain.mp4", "plain.mkv", "sound.mp4", "vfr.mkv", "vfr.mp4", "ten.mp4", "vp9.webm", "one.mp4"),
    *("mistitled.mp4", "mistitled.mkv"),
    *(f"turned{turn}.mp4" for turn in (0, 90, 180, 270)),
    *("soundfirst.mp4", "soundfirst.mkv"),
]
JOINED = ["joined.ts", "joined.mpg", "joined.flv", "joined.mkv"]
WRONG_IN_DECORD = ["open.mp4", "open.mkv", "refresh.mp4"]
PYAV_ONLY = [
    *("plain.avi", "plain.ts", "plain.h264", "reordered.avi", "av1.webm", "anim.gif"),
    *("soundfirst.ts", "two.mp4"),
    *("lies2.mp4", "lies4.mp4", "lies5.mp4", "lies7.mp4"),
    *WRONG_IN_DECORD,
]
CASES = [(decoder, name) for decoder in VIDEO_DECODERS for name in COMMON] + [
    ("pyav", name) for name in PYAV_ONLY
]
ANY_ORDER = ("plain", "anim", "open", "refresh", "reordered")


def frames(decoder, path, indices=None):
    return decoded(path, decoder, indices)[1]


@pytest.mark.parametrize("decoder", DECODERS.names)
def test_every_decoder_declares_what_its_callers_must_know(media, decoder):
    kind = DECODERS.get(decoder)
    assert kind.package
    assert isinstance(kind.automatic, bool)
    assert installed(kind) == (decoder in HERE)
    assert (kind.unfit(look(media("plain.mp4"))) is None) == (decoder != "pillow")


@pytest.mark.parametrize(("decoder", "name"), CASES)
def test_every_frame_is_the_requested_one(media, decoder, name):
    images = frames(decoder, media(name))
    assert [awkward.number_of(image) for image in images] == list(range(len(images)))
    assert {image.shape for image in images} == {(awkward.HEIGHT, awkward.WIDTH, 3)}
    assert {image.dtype for image in images} == {np.dtype(np.uint8)}


@pytest.mark.parametrize(("decoder", "name"), [case for case in CASES if case[1].startswith(ANY_ORDER)])
def test_frames_can_be_read_in_any_order(media, decoder, name):
    order = [5, 2, 2, 4, 0, 3] if name == "anim.gif" else [25, 3, 3, 4, 17, 0, 29, 9, 10, 11, 28]
    assert [awkward.number_of(image) for image in frames(decoder, media(name), order)] == order


@pytest.mark.parametrize(("decoder", "name"), CASES)
def test_expected_frames_are_the_same(media, decoder, name):
    """Skipping other frames changes nothing, and unexpected or repeated frames can still be read."""
    whole = frames(decoder, media(name))
    chosen = list(range(0, len(whole), 3))
    order = [*chosen, *(index for index in (1, 0, 4) if index < len(whole)), *chosen]
    with SourceFile(os.fsencode(media(name))) as source:
        reader = DECODERS.get(decoder)(source.url(), probe(source))
        reader.expect(chosen)
        for index in order:
            np.testing.assert_array_equal(reader.read(index), whole[index])
        reader.close()


def test_pyav_skips_frames_that_are_not_needed(media, monkeypatch):
    """Skip x264's B-frames that no other frame depends on, on the way to an expected frame."""
    real = pyav.PyavDecoder._positions

    def counted(self):
        for position, frame in real(self):
            decoded.append(position)
            yield position, frame

    monkeypatch.setattr(pyav.PyavDecoder, "_positions", counted)
    runs = []
    with SourceFile(os.fsencode(media("plain.mp4"))) as source:
        found = probe(source)
        for expected in ([], [0, 29]):
            decoded: list[int] = []
            reader = pyav.PyavDecoder(source.url(), found)
            if expected:
                reader.expect(expected)
            assert [awkward.number_of(reader.read(index)) for index in (0, 29)] == [0, 29]
            reader.close()
            runs.append(decoded)
    every, needed = runs
    # Without `expect`, all frames from the preceding keyframe up to frame 29 are decoded.
    assert every == [0, *range(20, 30)]
    assert {0, 29} <= set(needed) < set(every)


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.skipif(len(VIDEO_DECODERS) < 2, reason="compares two decoders, but this platform has only one")
def test_decoders_agree(media, name):
    first, second = (frames(decoder, media(name)) for decoder in VIDEO_DECODERS)
    # Both convert with libswscale. 8-bit pictures come out equal. The older release in decord rounds 10-bit
    # ones differently (mean 0.46 levels); a mean of 1 level is far below what compression does.
    tolerance = 1.0 if name == "ten.mp4" else 0.0
    worst = max(np.abs(a.astype(int) - b).mean() for a, b in zip(first, second, strict=True))
    assert worst <= tolerance


@pytest.mark.parametrize("decoder", VIDEO_DECODERS)
def test_the_size_of_the_first_frame_is_kept(media, decoder):
    images = frames(decoder, media("resized.mkv"))
    assert [awkward.number_of(image) for image in images[:10]] == list(range(10))
    assert {image.shape for image in images} == {(awkward.HEIGHT, awkward.WIDTH, 3)}


@pytest.mark.parametrize("decoder", VIDEO_DECODERS)
def test_there_are_no_frames_beyond_the_ends(media, decoder):
    for index in (-1, 30):
        with pytest.raises(FrameError):
            frames(decoder, media("plain.mp4"), [index])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff", ".webp", ".gif"])
def test_still_images(media, suffix):
    (image,) = frames("pillow" if suffix == ".tiff" else "pyav", media(f"still{suffix}"))
    assert awkward.number_of(image) == (0 if suffix == ".gif" else 5)


@pytest.mark.parametrize("name", JOINED)
def test_all_frames_of_joined_files_are_found_by_index(media, name):
    images = frames("pyav", media(name))
    assert [awkward.number_of(image) for image in images] == [*range(30), *range(100, 130)]
    order = [45, 3, 59, 30, 29, 0]
    shown = [awkward.number_of(image) for image in frames("pyav", media(name), order)]
    assert shown == [115, 3, 129, 100, 29, 0]


@pytest.mark.parametrize("name", ["wide.mp4", "high.mkv"])
def test_pixels_become_square(media, name):
    square = frames("pyav", media("plain.mp4"))
    for image, stored in zip(frames("pyav", media(name)), square, strict=True):
        width = awkward.WIDTH * 2 if name == "wide.mp4" else awkward.WIDTH // 2
        assert image.shape == (awkward.HEIGHT, width, 3)
        # Scaled back to the stored size it is the same picture, except at the blurred edges of the blocks,
        # which are a tenth of it.
        back = cv2.resize(image, (awkward.WIDTH, awkward.HEIGHT), interpolation=cv2.INTER_AREA)
        assert np.abs(back.astype(int) - stored).mean() < 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain.mp4", "open.mkv", "vp9.webm", "av1.webm"])
def test_libav_decodes_with_one_thread(media, name):
    """With several threads, a damaged file can give different pictures in each run."""
    with SourceFile(os.fsencode(media(name))) as source:
        found = probe(source)
        gc.collect()
        before = len(os.listdir("/proc/self/task"))
        reader = DECODERS.get("pyav")(source.url(), found)
        reader.read(5)
        assert len(os.listdir("/proc/self/task")) == before
        reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("decoder", VIDEO_DECODERS)
def test_a_closed_decoder_leaves_no_thread_behind(media, decoder):
    gc.collect()
    gc.disable()
    try:
        frames(decoder, media("plain.mp4"))
        before = len(os.listdir("/proc/self/task"))
        for _ in range(5):
            frames(decoder, media("plain.mp4"))
        assert len(os.listdir("/proc/self/task")) <= before
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["truncated.mp4", "truncated.mkv", "lying.mp4"])
def test_pyav_returns_every_frame_that_is_left(media, name):
    images = frames("pyav", media(name))
    assert [awkward.number_of(image) for image in images] == list(range(len(images)))


def test_pyav_reports_damage(media):
    with SourceFile(os.fsencode(media("damaged.mp4"))) as source:
        found = probe(source)
        reader = DECODERS.get("pyav")(source.url(), found)
        failed = {}
        for index in range(found.count):
            try:
                reader.read(index)
            except FrameError as error:
                failed[index] = error.before
        with pytest.raises(FrameError) as caught:
            reader.read(24)
    # When read out of order, the error names the last good frame decoded before it.
    assert caught.value.before == 23
    # Frame 24, a keyframe, is damaged; frames up to the next one, 36, depend on it.
    assert failed == {24: None}
    assert reader.doubtful == set(range(25, 36))


@pytest.mark.skipif("decord" not in HERE, reason="decord has no wheels for this platform")
@pytest.mark.parametrize("name", ["lying.mp4", "truncated.mp4", *PYAV_ONLY, *JOINED, "wide.mp4", "still.png"])
def test_decord_refuses_what_it_gets_wrong(media, name):
    with pytest.raises(DecoderError) as caught:
        frames("decord", media(name))
    assert "\n" not in str(caught.value)
    assert "/dev/fd" not in str(caught.value)


def test_decord_s_messages_are_the_same_in_every_run(media, monkeypatch):
    # The wording of decord 0.6, with the time of day twice and values from its memory.
    place = "[11:31:25] /github/workspace/src/video/ffmpeg/threaded_decoder.cc:218: "
    message = f"{place}{place}Check failed: send(pkt.get()) >= 0 (-1094995529 vs. 0) Error sending packet."

    def fail(*_, **__):
        raise RuntimeError(message + "\nStack trace ...")

    fake = SimpleNamespace(VideoReader=fail, logging=SimpleNamespace(set_level=lambda _: None, QUIET=0))
    monkeypatch.setitem(sys.modules, "decord", fake)
    with pytest.raises(DecoderError) as caught:
        frames("decord", media("plain.mp4"))
    assert str(caught.value) == "Error sending packet"
