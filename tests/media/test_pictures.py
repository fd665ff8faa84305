"""Test pictures that libav cannot read completely: read with Pillow and libheif, or refused with a reason."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepscan.media.decoders import DECODERS, DecoderError, FrameError
from deepscan.media.frames import MediaError
from deepscan.media.probe import probe
from deepscan.media.source import SourceFile
from tests import awkward
from tests.media.conftest import decoded

HERE = Path(__file__).parent / "pictures"


@pytest.mark.parametrize("name", ["tiles1.avif", "tiles7.avif", "tiles1.heic", "tiles6.heic", "ignored.heic"])
def test_the_whole_picture_is_read_upright(name):
    found, (image,) = decoded(HERE / name)
    assert found.still
    assert image.shape == (awkward.HEIGHT, awkward.WIDTH, 3)
    assert awkward.number_of(image) == 5
    assert (found.info.fps, found.info.duration, found.warnings) == (None, None, ())


@pytest.mark.parametrize("name", ["tiles1.avif", "ignored.heic"])
def test_libav_chosen_by_name_says_why_it_refuses_a_picture(name):
    with SourceFile(os.fsencode(HERE / name)) as source, pytest.raises(DecoderError, match="libav"):
        DECODERS.get("pyav")(source.url(), probe(source))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_are_applied_once(tmp_path, suffix, orientation):
    path = tmp_path / f"way{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    # For AVIF, Pillow writes the orientation as the boxes irot and imir.
    Image.fromarray(awkward.stored_as(awkward.picture(5), orientation)).save(path, exif=exif)
    found, (image,) = decoded(path)
    assert image.shape == (awkward.HEIGHT, awkward.WIDTH, 3)
    assert awkward.number_of(image) == 5
    assert found.info.mirrored == (orientation in (2, 4, 5, 7))
    assert (found.info.width, found.info.height) == (awkward.WIDTH, awkward.HEIGHT)
    stored = (awkward.WIDTH, awkward.HEIGHT)[:: -1 if orientation > 4 else 1]
    assert (found.info.stored_width, found.info.stored_height) == stored


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_in_any_compression(tmp_path, compression):
    path = tmp_path / "page.tiff"
    Image.fromarray(awkward.picture(5)).save(path, compression=compression)
    _, (image,) = decoded(path)
    assert awkward.number_of(image) == 5
    # Only JPEG is lossy.
    assert np.abs(image.astype(int) - awkward.picture(5)).mean() < (2 if compression == "jpeg" else 0.001)


def test_further_pages_are_counted(tmp_path):
    path = tmp_path / "pages.tiff"
    pages = [Image.fromarray(awkward.picture(number)) for number in range(5, 8)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    found, (image,) = decoded(path)
    assert awkward.number_of(image) == 5
    assert found.warnings == ("further pictures in the file, ignored: 2",)


def test_an_animated_webp_has_all_frames_with_their_times(tmp_path):
    path = tmp_path / "moving.webp"
    frames = [Image.fromarray(awkward.picture(number)) for number in range(6)]
    lengths = [40, 80, 40, 120, 40, 200]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=lengths, lossless=True)
    found, images = decoded(path)
    assert [awkward.number_of(image) for image in images] == list(range(6))
    assert found.seconds.tolist() == pytest.approx([0, 0.04, 0.12, 0.16, 0.28, 0.32])
    assert found.info.duration == pytest.approx(0.52)
    assert not found.still


def test_sixteen_bits_of_grey_keep_their_levels(tmp_path):
    path = tmp_path / "deep.png"
    grey = awkward.picture(5)[..., 1].astype(np.uint16) * 257
    Image.fromarray(grey).save(path)
    _, (image,) = decoded(path)
    assert np.abs(image[..., 0].astype(int) - awkward.picture(5)[..., 1]).mean() < 1  # rounded to 8 bits


def test_a_document_is_not_a_picture(tmp_path):
    path = tmp_path / "page.pdf"
    Image.fromarray(awkward.picture(5)).save(path)
    with pytest.raises(MediaError) as caught:
        decoded(path)
    assert (caught.value.status, caught.value.detail) == ("unsupported", "it is a PDF document, not a video")


@pytest.mark.parametrize("name", ["tiles1.avif", "tiles1.heic"])
def test_a_tiled_picture_that_is_cut_short_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes((HERE / name).read_bytes())
    awkward.cut(path, 0.7)
    with pytest.raises((MediaError, DecoderError, FrameError)):
        decoded(path)
