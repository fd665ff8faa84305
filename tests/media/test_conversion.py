"""Test that frames look as in a player: HDR converted to BT.709, fields deinterlaced."""

import numpy as np
import pytest

from deepscan.media.decoders import DECODERS
from tests import awkward
from tests.media.conftest import decoded, look

# ITU-R BT.2087: linear light of BT.709 to BT.2020.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
#: ITU-R BT.2408: reference white of SDR, in nits.
WHITE = 203
BT2020, PQ, HLG = 9, 16, 18


def pq(nits):
    """Convert display light to a PQ signal (ITU-R BT.2100, table 4)."""
    light = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * light) / (1 + 18.6875 * light)) ** 78.84375


def hlg(nits):
    """Convert display light to an HLG signal, for a display of 1000 nits (ITU-R BT.2100, table 5)."""
    light = np.maximum(nits / 1000, 1e-9)
    luminance = light @ np.array([0.2627, 0.6780, 0.0593])
    scene = light * luminance[..., None] ** ((1 - 1.2) / 1.2)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def portrait(number):
    """Return a picture with soft shades and no pure colours, so that it fits into every gamut."""
    rows, columns = np.mgrid[0:96, 0:160]
    red = 120 + 80 * np.sin(columns / 23 + number / 9)
    green = 110 + 60 * np.sin(rows / 17 + columns / 31)
    blue = 100 + 50 * np.cos(rows / 13 - number / 7)
    return np.stack((red, green, blue), axis=-1).astype(np.uint8)


def hdr(signal):
    def draw(number):
        light = ((portrait(number) / 255) ** 2.4) @ TO_BT2020.T
        return np.rint(signal(light * WHITE) * 65535).astype(np.uint16)

    return draw


def frames(path, indices):
    found, images = decoded(path, "pyav", indices)
    return found, [image.astype(int) for image in images]


@pytest.mark.slow
@pytest.mark.parametrize(("transfer", "signal", "name"), [(PQ, pq, "smpte2084"), (HLG, hlg, "arib-std-b67")])
def test_hdr_looks_like_its_sdr_twin(tmp_path, transfer, signal, name):
    tags = {"color_trc": transfer, "color_primaries": BT2020, "colorspace": BT2020, "color_range": 1}
    path = awkward.video(
        tmp_path / "hdr.mkv",
        3,
        codec="libx265",
        pixel_format="yuv420p10le",
        draw=hdr(signal),
        tags=tags,
        options={"x265-params": "log-level=none", "crf": "8"},
    )
    found, images = frames(path, [0, 2])
    assert found.info.transfer == name
    for number, image in zip((0, 2), images, strict=True):
        twin = portrait(number).astype(int)
        # Unconverted it is 20 to 35 levels off, with half of the contrast. The remaining 4 levels are due to
        # 10 bits, to compression, and to libav's curve, which bends a little below white.
        assert np.abs(image - twin).mean() < 4
        assert 0.95 < image.std() / twin.std() < 1.05


def test_sdr_stays_unchanged(tmp_path):
    path = awkward.video(tmp_path / "sdr.mkv", 3, draw=portrait, options={"crf": "8"})
    found, (image, _) = frames(path, [0, 2])
    assert found.info.transfer is None
    assert np.abs(image - portrait(0)).mean() < 3  # compression alone


def bar(at):
    """Return one moment of a bright bar that moves to the right by 6 pixels per moment."""
    image = np.full((96, 160, 3), 60, np.uint8)
    image[:, 10 + 6 * at : 34 + 6 * at] = 200
    return image


def interlaced(number):
    """Return two moments in one frame; the upper field holds the earlier one."""
    image = bar(2 * number).copy()
    image[1::2] = bar(2 * number + 1)[1::2]
    return image


def combing(image):
    """Return how much more lines differ from their neighbours than from the lines after those, in levels."""
    near = np.abs(image[1:-1] - image[:-2]).mean()
    return near - np.abs(image[2:] - image[:-2]).mean()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_two_moments_in_one_frame_are_deinterlaced(tmp_path, suffix):
    options = {"x264-params": "tff=1", "crf": "8"}
    path = awkward.video(tmp_path / f"fields{suffix}", 8, draw=interlaced, options=options)
    found, images = frames(path, [0, 3, 4, 7])
    assert found.info.field_order in ("tt", "interlaced")
    assert combing(interlaced(3).astype(int)) > 10
    for number, image in zip((0, 3, 4, 7), images, strict=True):
        assert combing(image) < 2
        # It shows one of the two moments completely; the other one is 10 levels off.
        assert min(np.abs(image - bar(2 * number + field)).mean() for field in (0, 1)) < 2
    # A frame is the same however it is reached.
    for order in ([4, 3], [7, 4, 0, 3]):
        _, again = frames(path, order)
        for number, image in zip(order, again, strict=True):
            np.testing.assert_array_equal(image, images[[0, 3, 4, 7].index(number)])


def test_progressive_frames_of_a_progressive_file_are_unchanged(tmp_path):
    path = awkward.video(tmp_path / "plain.mp4", 4, draw=bar, options={"crf": "8"})
    found, images = frames(path, [1, 2])
    assert found.info.field_order == "progressive"
    # Compression, and chroma at half resolution at the bar's two edges.
    assert max(np.abs(image - bar(n)).mean() for n, image in zip((1, 2), images, strict=True)) < 2


def test_decord_refuses_interlaced_video(tmp_path):
    path = awkward.video(tmp_path / "fields.mp4", 4, options={"x264-params": "tff=1"})
    assert DECODERS.get("decord").unfit(look(path)) == "decord does not deinterlace"
