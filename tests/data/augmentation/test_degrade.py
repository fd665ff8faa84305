"""Augmentation steps that imitate cameras, editors and file formats."""

import numpy as np
import pytest

from deepscan.data.augmentation.degrade import coarsened, dither, expose, fade, retouch, sharpen


@pytest.fixture
def image():
    y, x = np.mgrid[:48, :48]
    return np.stack((x * 5, y * 5, (x + y) * 2), axis=2).astype(np.uint8)


def test_a_coarsened_face_has_the_detail_of_a_smaller_face():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)

    def detail(picture):
        return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())

    halved = coarsened(image, 96, 48)
    assert halved.shape == image.shape
    assert detail(halved) < 0.5 * detail(image)
    # The size of a face is limited to that of its crop.
    assert np.array_equal(coarsened(image, 48, 24), halved)
    assert np.array_equal(coarsened(image, 400, 48), halved)


@pytest.mark.parametrize(("face_px", "min_px"), [(96, 96), (40, 40), (96, 200), (0, 40), (96, 0)])
def test_a_small_face_or_one_of_unknown_size_is_unchanged(image, face_px, min_px):
    assert np.array_equal(coarsened(image, face_px, min_px), image)


def test_dithering_leaves_few_levels_and_keeps_the_brightness(image):
    result = dither(image, np.random.default_rng(0))
    assert max(len(np.unique(result[..., channel])) for channel in range(3)) <= 20
    assert abs(result.mean() - image.mean()) < 8
    # A uniform grey between two levels becomes a pattern of both.
    flat = dither(np.full((8, 8, 3), 100, np.uint8), np.random.default_rng(0))
    assert len(np.unique(flat)) == 2


def test_sharpening_makes_edges_steeper():
    edge = np.full((16, 16, 3), 80, np.uint8)
    edge[:, 8:] = 160
    result = sharpen(edge, np.random.default_rng(0)).astype(int)
    assert result[8, 7, 0] < 80
    assert result[8, 8, 0] > 160
    assert result[8, 0, 0] == 80


def test_retouching_smooths_skin_and_keeps_edges():
    rng = np.random.default_rng(0)
    face = np.full((32, 32, 3), 90, np.uint8)
    face[:, 16:] = 200
    result = retouch(np.asarray(face + rng.integers(-6, 7, face.shape), dtype=np.uint8), rng).astype(int)
    assert result[:, :12].std() < 0.7 * 3.7
    assert (result[:, 17] - result[:, 14]).mean() > 100


def test_exposure_is_monotonic_and_darkens_or_brightens(image):
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    means = []
    for seed in range(20):
        result = expose(ramp, np.random.default_rng(seed))
        assert (np.diff(result[..., 0].ravel().astype(int)) >= 0).all()
        means.append(result.mean())
    assert min(means) < ramp.mean() - 20
    assert max(means) > ramp.mean() + 20


def test_fading_reduces_colour_down_to_grey(image):
    def spread(picture):
        return (picture.max(axis=2).astype(int) - picture.min(axis=2)).mean()

    spreads = [spread(fade(image, np.random.default_rng(seed))) for seed in range(20)]
    assert max(spreads) <= spread(image)
    assert min(spreads) == 0
