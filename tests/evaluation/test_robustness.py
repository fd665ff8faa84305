"""Distortions of crops: what each level does, at any side and in any order; and the figure of the AUCs."""

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
    """Something smooth with fine detail on it, a face's colours."""
    rng = np.random.default_rng(7)
    base = cv2.resize(rng.uniform(60, 220, (8, 8, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


def apart(first, second):
    return float(np.abs(first.astype(float) - second).mean())


@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_a_distortion_keeps_shape_and_leaves_the_crop_alone(name):
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
def test_every_level_is_further_from_the_crop_than_the_last(name, side):
    crop = picture(side)
    distances = [apart(crop, distorted(crop, name, level, **KEY)) for level in (0, *LEVELS)]
    assert all(low < high for low, high in pairwise(distances)), distances


@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_crops_may_come_in_any_order(name):
    crop = picture(64)
    keys = [
        (level, {"seed": 5, "video": video, "frame": frame})
        for level in (1, 5)
        for video in ("a", "b")
        for frame in (0, 1)
    ]
    there = [distorted(crop, name, level, **key) for level, key in keys]
    back = [distorted(crop, name, level, **key) for level, key in reversed(keys)]
    assert all(np.array_equal(one, other) for one, other in zip(there, reversed(back), strict=True))


def test_squares_differ_with_seed_video_frame_and_level():
    crop = picture(128)

    def places(**changed):
        level = changed.pop("level", 2)
        covered = np.all(distorted(crop, "block-wise", level, **{**KEY, **changed}) == 128, axis=-1)
        return covered.tobytes()

    drawn = [places(), places(seed=2), places(video="x"), places(frame=4), places(level=1), places(level=3)]
    assert len(set(drawn)) == len(drawn)
    # Places of their own, not those of a lower level and more.
    few, most = (np.frombuffer(places(level=level), dtype=bool) for level in (1, 5))
    assert (few & ~most).any()


def test_another_process_draws_the_same_squares():
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
        # OpenCV blurs 8 bits in fixed point, which may round the other way.
        assert np.abs(out[118:139, 118:139] - _padded(expected @ expected.T * 255)).max() <= 1
        assert out.sum() == out[118:139, 118:139].sum()


def _padded(values):
    gap = (21 - len(values)) // 2
    return np.pad(values, gap)


def test_squares_are_grey_8_pixels_wide_and_as_many_as_published():
    black = np.zeros((256, 256, 3), np.uint8)
    for level, count in zip(LEVELS, (16, 32, 48, 64, 80), strict=True):
        out = distorted(black, "block-wise", level, **KEY)
        assert set(np.unique(out)) == {0, 128}
        covered = (out[..., 0] == 128).astype(np.uint8)
        # What overlaps is lost: of 80 squares in a 1024th of the crop each, 4 % on average.
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
def test_squares_cover_as_much_at_every_side(side):
    out = distorted(np.zeros((side, side, 3), np.uint8), "block-wise", 5, **KEY)
    share = (out[..., 0] == 128).mean()
    # 80 squares of 8 / 256 of the side cover 7.8 % less what overlaps.
    assert 0.066 < share < 0.0785


@pytest.mark.parametrize("level", LEVELS)
def test_blur_takes_as_much_of_a_face_at_every_side(level):
    # An edge's blurred width, as a share of the side, is the standard deviation's.
    widths = []
    for side in (224, 256, 448):
        edge = np.zeros((side, side, 3), np.uint8)
        edge[:, side // 2 :] = 255
        row = distorted(edge, "blur", level, **KEY)[side // 2, :, 0] / 255
        # The area between an edge and itself blurred is 2 sigma / sqrt(2 pi); pixels are coarse for the
        # least sigma, 1, and make that a tenth less.
        widths.append(np.abs(row - (np.arange(side) >= side // 2)).sum() / side * np.sqrt(2 * np.pi) / 2)
    assert widths == pytest.approx([STRENGTHS["blur"][level - 1] / 6 / 256] * 3, rel=0.12)


def test_contrast_multiplies_and_rounds_down():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3))
    out = distorted(ramp, "contrast", 3, **KEY)
    assert out[255, 0, 0] == 153 and out[1, 0, 0] == 0 and out[101, 0, 0] == 60
    assert np.array_equal(distorted(ramp, "contrast", 5, **KEY)[100, 0], [35, 35, 35])


def test_jpeg_keeps_its_colours_in_order():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    # A flat picture loses next to nothing; swapped channels would be 200 apart.
    assert apart(red, distorted(red, "jpeg", 1, **KEY)) < 3


def test_jpeg_has_the_stated_qualities_and_halves_the_colours():
    crop = picture()
    for level, quality in zip(LEVELS, (90, 70, 50, 30, 10), strict=True):
        how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
        read = [
            cv2.imdecode(cv2.imencode(".jpg", crop[..., ::-1], [*how, factor])[1], cv2.IMREAD_COLOR)
            for factor in (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
        ]
        out = distorted(crop, "jpeg", level, **KEY)[..., ::-1]
        assert np.array_equal(out, read[0]) and not np.array_equal(out, read[1])


def test_resizing_keeps_what_is_coarse_and_loses_what_is_fine():
    fine = np.indices((240, 240)).sum(axis=0) % 2 * 255
    board = np.repeat(fine[..., None], 3, axis=2).astype(np.uint8)
    # By 2, each pixel of the small picture is the mean of two by two: even grey.
    assert np.ptp(distorted(board, "resizing", 1, **KEY)) <= 1
    ramp = np.repeat(np.linspace(0, 240, 240)[None, :, None], 240, axis=0).repeat(3, axis=2).astype(np.uint8)
    # Bilinear steps of up to 6 pixels on a slope of one level a pixel, and flat ends.
    assert np.abs(distorted(ramp, "resizing", 5, **KEY)[:, 6:-6].astype(int) - ramp[:, 6:-6]).max() <= 2


@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_the_smallest_crop_of_a_recipe_is_distorted_too(name):
    crop = picture(16)
    assert distorted(crop, name, 5, **KEY).shape == crop.shape


@pytest.mark.parametrize("level", [-1, 6, 2.5])
@pytest.mark.parametrize("name", DISTORTIONS.names)
def test_a_level_that_is_none_is_refused(name, level):
    with pytest.raises(UsageError, match=f"{name} has no level {level}"):
        distorted(picture(16), name, level, **KEY)


def test_a_distortion_itself_knows_no_level_0():
    with pytest.raises(UsageError, match="contrast has no level 0"):
        DISTORTIONS.get("contrast")(picture(16), 0, np.random.default_rng(0))


def test_an_unknown_distortion_is_refused():
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
def test_what_is_no_crop_is_refused(crop):
    with pytest.raises(ValueError, match="a crop is a square"):
        distorted(crop, "blur", 1, **KEY)


def test_variation_is_relative_and_signed_and_robustness_its_mean():
    found = Robustness("blur", {5: 0.6, 0: 0.8, 1: 0.8, 2: 0.84})
    assert found.variations == pytest.approx({1: 0, 2: 0.05, 5: -0.25})
    assert found.figure == pytest.approx(-0.2 / 3)


@pytest.mark.parametrize(
    ("aucs", "message"),
    [
        ({1: 0.9, 2: 0.8}, r"levels \[1, 2\] do not show"),
        ({0: 0.9}, r"levels \[0\] do not show"),
        ({}, "do not show"),
        ({0: 0.9, 6: 0.9}, "there is no level 6"),
        ({0: 0.0, 1: 0.5}, "is 0, and nothing is relative"),
        ({0: 0.9, 1: float("nan")}, "between 0 and 1, not nan"),
        ({0: 90.0, 1: 80.0}, "between 0 and 1, not 90"),
    ],
)
def test_aucs_that_show_nothing_are_refused(aucs, message):
    with pytest.raises(UsageError, match=message):
        Robustness("blur", aucs)


def test_a_result_tells_levels_strengths_and_variations():
    result = Robustness("contrast", {5: 0.6, 0: 0.8, 1: 0.76})
    assert list(result.aucs) == [0, 1, 5]
    stated = result.to_json()
    assert [level["strength"] for level in stated["levels"]] == [None, 0.85, 0.35]
    assert [level["auc"] for level in stated["levels"]] == [0.8, 0.76, 0.6]
    assert [level["variation"] for level in stated["levels"]] == pytest.approx([0, -0.05, -0.25])
    assert stated["robustness"] == result.figure


def test_a_result_of_an_unknown_distortion_is_refused():
    with pytest.raises(UsageError, match="unknown distortion"):
        Robustness("fog", {0: 0.9, 1: 0.8})
