"""Distortions of crops: the effect of each level at any side and in any order, and the variation of AUCs."""

import hashlib
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from deepscan.errors import UsageError
from deepscan.evaluation.robustness import (
    DISTORTIONS,
    LEVELS,
    STRENGTHS,
    Robustness,
    distorted,
    strength,
)
from tests.command import run_python

KEY = {"seed": 1, "video": "Celeb-DF-v2/fake/id0_0001", "frame": 3}


def picture(side=256):
    """A smooth picture with fine detail, in skin colours."""
    rng = np.random.default_rng(7)
    base = cv2.resize(rng.uniform(60, 220, (8, 8, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


def distance(first, second):
    return float(np.abs(first.astype(float) - second).mean())


@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_a_distortion_keeps_the_shape_and_does_not_modify_its_input(name):
    crop = picture(160)
    before = crop.copy()
    for level in LEVELS:
        out = distorted(crop, name, level, **KEY)
        assert out.shape == crop.shape and out.dtype == np.uint8 and out.flags.c_contiguous
        assert not np.shares_memory(out, crop) and not np.array_equal(out, crop)
    assert np.array_equal(crop, before)
    assert distorted(crop, name, 0, **KEY) is crop


@pytest.mark.parametrize("name", DISTORTIONS.names)
@pytest.mark.parametrize("side", [112, 256])
def test_higher_levels_distort_more(name, side):
    crop = picture(side)
    distances = [distance(crop, distorted(crop, name, level, **KEY)) for level in (0, *LEVELS)]
    assert all(low < high for low, high in pairwise(distances)), distances


@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_results_do_not_depend_on_the_order_of_crops(name):
    crop = picture(64)
    keys = [
        (level, {"seed": 5, "video": video, "frame": frame})
        for level in (1, 5)
        for video in ("a", "b")
        for frame in (0, 1)
    ]
    forward = [distorted(crop, name, level, **key) for level, key in keys]
    backward = [distorted(crop, name, level, **key) for level, key in reversed(keys)]
    assert all(np.array_equal(one, other) for one, other in zip(forward, reversed(backward), strict=True))


def test_squares_depend_on_seed_video_frame_and_level():
    crop = picture(128)

    def squares(**changed):
        level = changed.pop("level", 2)
        covered = np.all(distorted(crop, "block-wise", level, **{**KEY, **changed}) == 128, axis=-1)
        return covered.tobytes()

    drawn = [
        squares(),
        squares(seed=2),
        squares(video="x"),
        squares(frame=4),
        squares(level=1),
        squares(level=3),
    ]
    assert len(set(drawn)) == len(drawn)
    # A higher level has different squares, not the same ones and more.
    few, many = (np.frombuffer(squares(level=level), dtype=bool) for level in (1, 5))
    assert (few & ~many).any()


def test_squares_are_the_same_in_another_process():
    code = (
        "import hashlib, numpy as np; from deepscan.evaluation.robustness import distorted;"
        "out = distorted(np.zeros((64, 64, 3), np.uint8), 'block-wise', 3, seed=1, video='v', frame=0);"
        "print(hashlib.sha256(out.tobytes()).hexdigest())"
    )
    out = distorted(np.zeros((64, 64, 3), np.uint8), "block-wise", 3, seed=1, video="v", frame=0)
    assert run_python("-c", code).out.strip() == hashlib.sha256(out.tobytes()).hexdigest()


def test_blur_has_the_published_kernels_at_256_pixels():
    point = np.zeros((256, 256, 3), np.uint8)
    point[128, 128] = 255
    for level, kernel in zip(LEVELS, (7, 9, 13, 17, 21), strict=True):
        out = distorted(point, "blur", level, **KEY)[..., 0].astype(float)
        expected = cv2.getGaussianKernel(kernel, kernel / 6)
        # OpenCV blurs 8-bit images in fixed point, which may round differently.
        assert np.abs(out[118:139, 118:139] - _padded(expected @ expected.T * 255)).max() <= 1
        assert out.sum() == out[118:139, 118:139].sum()


def _padded(values):
    gap = (21 - len(values)) // 2
    return np.pad(values, gap)


def test_squares_have_the_published_grey_size_and_number():
    black = np.zeros((256, 256, 3), np.uint8)
    for level, count in zip(LEVELS, (16, 32, 48, 64, 80), strict=True):
        out = distorted(black, "block-wise", level, **KEY)
        assert set(np.unique(out)) == {0, 128}
        covered = (out[..., 0] == 128).astype(np.uint8)
        # Squares overlap: by 4 % on average for 80 squares of 1/1024 of the crop.
        assert 0.9 * count * 64 < covered.sum() <= count * 64
        corners = np.argwhere(sliding_window_view(covered, (8, 8)).all(axis=(2, 3)))
        whole = np.zeros_like(covered)
        for top, left in corners:
            whole[top : top + 8, left : left + 8] = 1
        assert np.array_equal(whole, covered)


def test_squares_reach_every_edge():
    black = np.zeros((64, 64, 3), np.uint8)
    covered = np.zeros((64, 64), bool)
    for frame in range(40):
        covered |= distorted(black, "block-wise", 5, seed=0, video="v", frame=frame)[..., 0] > 0
    # 3,200 squares start in 63 rows and 63 columns, about 50 in each.
    assert covered.any(axis=0).all() and covered.any(axis=1).all()


@pytest.mark.parametrize("side", [96, 160, 224, 448])
def test_squares_cover_the_same_share_at_every_side(side):
    out = distorted(np.zeros((side, side, 3), np.uint8), "block-wise", 5, **KEY)
    share = (out[..., 0] == 128).mean()
    # 80 squares of 8 / 256 of the side cover 7.8 %, minus overlaps.
    assert 0.066 < share < 0.0785


@pytest.mark.parametrize("level", LEVELS)
def test_blur_is_proportional_to_the_side(level):
    # The blurred width of an edge, relative to the side, is proportional to the standard deviation.
    widths = []
    for side in (224, 256, 448):
        edge = np.zeros((side, side, 3), np.uint8)
        edge[:, side // 2 :] = 255
        row = distorted(edge, "blur", level, **KEY)[side // 2, :, 0] / 255
        # The area between an edge and its blurred version is 2 sigma / sqrt(2 pi). For the smallest sigma, 1,
        # pixels are coarse and reduce this by a tenth.
        widths.append(np.abs(row - (np.arange(side) >= side // 2)).sum() / side * np.sqrt(2 * np.pi) / 2)
    assert widths == pytest.approx([STRENGTHS["blur"][level - 1] / 6 / 256] * 3, rel=0.12)


def test_contrast_multiplies_and_rounds_down():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3))
    out = distorted(ramp, "contrast", 3, **KEY)
    assert out[255, 0, 0] == 153 and out[1, 0, 0] == 0 and out[101, 0, 0] == 60
    assert np.array_equal(distorted(ramp, "contrast", 5, **KEY)[100, 0], [35, 35, 35])


def test_jpeg_keeps_the_channel_order():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    # A uniform picture hardly changes; swapped channels would differ by 200.
    assert distance(red, distorted(red, "jpeg", 1, **KEY)) < 3


def test_jpeg_has_the_declared_qualities_and_subsampled_chroma():
    crop = picture()
    for level, quality in zip(LEVELS, (90, 70, 50, 30, 10), strict=True):
        parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
        read = [
            cv2.imdecode(cv2.imencode(".jpg", crop[..., ::-1], [*parameters, factor])[1], cv2.IMREAD_COLOR)
            for factor in (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
        ]
        out = distorted(crop, "jpeg", level, **KEY)[..., ::-1]
        assert np.array_equal(out, read[0]) and not np.array_equal(out, read[1])


def test_resizing_keeps_coarse_structure_and_loses_fine_detail():
    fine = np.indices((240, 240)).sum(axis=0) % 2 * 255
    board = np.repeat(fine[..., None], 3, axis=2).astype(np.uint8)
    # At a factor of 2, each small pixel is the mean of 2 x 2 pixels: uniform grey.
    assert np.ptp(distorted(board, "resizing", 1, **KEY)) <= 1
    ramp = np.repeat(np.linspace(0, 240, 240)[None, :, None], 240, axis=0).repeat(3, axis=2).astype(np.uint8)
    # Bilinear interpolation over up to 6 pixels on a slope of one level per pixel, with flat ends.
    assert np.abs(distorted(ramp, "resizing", 5, **KEY)[:, 6:-6].astype(int) - ramp[:, 6:-6]).max() <= 2


@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_small_crops_can_be_distorted(name):
    crop = picture(16)
    assert distorted(crop, name, 5, **KEY).shape == crop.shape


@pytest.mark.parametrize("level", [-1, 6, 2.5])
@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_unknown_levels_are_rejected(name, level):
    with pytest.raises(UsageError, match=f"{name} has no level {level}"):
        distorted(picture(16), name, level, **KEY)


def test_distortion_functions_reject_level_0():
    with pytest.raises(UsageError, match="contrast has no level 0"):
        DISTORTIONS.get("contrast")(picture(16), 0, np.random.default_rng(0))


def test_unknown_distortions_are_rejected():
    for level in (0, 1):
        with pytest.raises(UsageError, match="unknown distortion 'jepg'") as caught:
            distorted(picture(16), "jepg", level, **KEY)
        assert caught.value.hint == "did you mean 'jpeg'?"
    with pytest.raises(UsageError, match="unknown distortion"):
        strength("noise", 1)


@pytest.mark.parametrize(
    "crop",
    [np.zeros((8, 9, 3), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)],
)
def test_arrays_that_are_not_crops_are_rejected(crop):
    with pytest.raises(ValueError, match="a crop must have shape"):
        distorted(crop, "blur", 1, **KEY)


def test_variation_is_relative_and_signed_and_robustness_is_its_mean():
    found = Robustness("blur", {5: 0.6, 0: 0.8, 1: 0.8, 2: 0.84})
    assert found.variations == pytest.approx({1: 0, 2: 0.05, 5: -0.25})
    assert found.figure == pytest.approx(-0.2 / 3)


@pytest.mark.parametrize(
    ("aucs", "message"),
    [
        ({1: 0.9, 2: 0.8}, r"levels \[1, 2\] are not enough"),
        ({0: 0.9}, r"levels \[0\] are not enough"),
        ({}, "are not enough"),
        ({0: 0.9, 6: 0.9}, "unknown level 6"),
        ({0: 0.0, 1: 0.5}, "is 0, so a relative variation is undefined"),
        ({0: 0.9, 1: float("nan")}, r"must be in \[0, 1\], not nan"),
        ({0: 90.0, 1: 80.0}, r"must be in \[0, 1\], not 90"),
    ],
)
def test_invalid_aucs_are_rejected(aucs, message):
    with pytest.raises(UsageError, match=message):
        Robustness("blur", aucs)


def test_results_have_levels_strengths_and_variations():
    result = Robustness("contrast", {5: 0.6, 0: 0.8, 1: 0.76})
    assert list(result.aucs) == [0, 1, 5]
    fields = result.to_json()
    assert [level["strength"] for level in fields["levels"]] == [None, 0.85, 0.35]
    assert [level["auc"] for level in fields["levels"]] == [0.8, 0.76, 0.6]
    assert [level["variation"] for level in fields["levels"]] == pytest.approx([0, -0.05, -0.25])
    assert fields["robustness"] == result.figure


def test_results_of_unknown_distortions_are_rejected():
    with pytest.raises(UsageError, match="unknown distortion"):
        Robustness("fog", {0: 0.9, 1: 0.8})
