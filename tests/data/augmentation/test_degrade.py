"""What happens to a face in cameras, editors and file formats."""

import numpy as np
import pytest

from deepscan.data.augmentation.degrade import coarsened, dither, expose, fade, retouch, sharpen


@pytest.fixture
def image():
    y, x = np.mgrid[:48, :48]
    return np.stack((x * 5, y * 5, (x + y) * 2), axis=2).astype(np.uint8)


def test_a_coarsened_face_has_the_detail_of_the_smaller_one():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)

    def detail(picture):
        return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())

    halved = coarsened(image, 96, 48)
    assert halved.shape == image.shape
    assert detail(halved) < 0.5 * detail(image)
    # A face that was no larger than its crop anyhow counts by its own size.
    assert np.array_equal(coarsened(image, 48, 24), halved)
    assert np.array_equal(coarsened(image, 400, 48), halved)


@pytest.mark.parametrize(("own", "least"), [(96, 96), (40, 40), (96, 200), (0, 40), (96, 0)])
def test_a_face_that_is_no_larger_or_of_unknown_size_stays_as_it_is(image, own, least):
    assert np.array_equal(coarsened(image, own, least), image)


def test_a_dithered_face_has_few_levels_and_keeps_its_brightness(image):
    found = dither(image, np.random.default_rng(0))
    assert max(len(np.unique(found[..., channel])) for channel in range(3)) <= 20
    assert abs(found.mean() - image.mean()) < 8
    # In a pattern: a flat grey between two levels becomes both of them.
    flat = dither(np.full((8, 8, 3), 100, np.uint8), np.random.default_rng(0))
    assert len(np.unique(flat)) == 2


def test_a_sharpened_edge_is_steeper():
    edge = np.full((16, 16, 3), 80, np.uint8)
    edge[:, 8:] = 160
    found = sharpen(edge, np.random.default_rng(0)).astype(int)
    assert found[8, 7, 0] < 80
    assert found[8, 8, 0] > 160
    assert found[8, 0, 0] == 80


def test_retouching_smooths_skin_and_leaves_edges():
    rng = np.random.default_rng(0)
    face = np.full((32, 32, 3), 90, np.uint8)
    face[:, 16:] = 200
    found = retouch(np.asarray(face + rng.integers(-6, 7, face.shape), dtype=np.uint8), rng).astype(int)
    assert found[:, :12].std() < 0.7 * 3.7
    assert (found[:, 17] - found[:, 14]).mean() > 100


def test_an_exposure_keeps_the_order_of_values_and_moves_them_either_way(image):
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    means = []
    for seed in range(20):
        found = expose(ramp, np.random.default_rng(seed))
        assert (np.diff(found[..., 0].ravel().astype(int)) >= 0).all()
        means.append(found.mean())
    assert min(means) < ramp.mean() - 20
    assert max(means) > ramp.mean() + 20


def test_a_faded_face_has_less_colour_and_sometimes_none(image):
    def spread(picture):
        return (picture.max(axis=2).astype(int) - picture.min(axis=2)).mean()

    spreads = [spread(fade(image, np.random.default_rng(seed))) for seed in range(20)]
    assert max(spreads) <= spread(image)
    assert min(spreads) == 0
