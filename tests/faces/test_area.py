"""Test area averages against a plain loop over every output pixel."""

import numpy as np
import pytest

from deepscan.faces import area
from deepscan.faces.area import IntegralImage


def plain(image, height, width):
    """Return the adaptive average pooling, straight from its definition."""
    out = np.empty((height, width, 3))
    for i in range(height):
        for j in range(width):
            top, bottom = i * image.shape[0] // height, -(-(i + 1) * image.shape[0] // height)
            left, right = j * image.shape[1] // width, -(-(j + 1) * image.shape[1] // width)
            out[i, j] = image[top:bottom, left:right].reshape(-1, 3).mean(axis=0)
    return out


def noise(height, width):
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(12, 12), (7, 23), (31, 40), (60, 1), (62, 80), (100, 90)])
def test_whole_image(size):
    image = noise(31, 40)
    # Sums are exact; what remains is the rounding of one float32 division of numbers up to 255.
    np.testing.assert_allclose(IntegralImage(image).resized(*size), plain(image, *size), atol=2e-5)


@pytest.mark.parametrize("side", [24, 48])
def test_crops_equal_the_resized_part(side):
    image = noise(90, 70)
    boxes = np.array([[0, 0, 70, 90], [3, 5, 4, 6], [10, 20, 58, 68], [60, 80, 70, 90], [5, 1, 40, 17]])
    crops = IntegralImage(image).crops(boxes, side)
    assert crops.shape == (5, side, side, 3) and crops.dtype == np.float32
    for crop, (left, top, right, bottom) in zip(crops, boxes, strict=True):
        np.testing.assert_allclose(crop, plain(image[top:bottom, left:right], side, side), atol=2e-5)


def test_large_images_do_not_overflow(monkeypatch):
    image = np.full((300, 200, 3), 255, np.uint8)
    whole = IntegralImage(image).resized(1, 1)
    # This forces the wide table that an image of 8.4 million pixels would need; that is too slow to make
    # here.
    monkeypatch.setattr(area, "INT32_PIXELS", 100)
    np.testing.assert_array_equal(IntegralImage(image).resized(1, 1), whole)
    assert whole.ravel().tolist() == [255.0] * 3


def test_the_bound_is_where_sums_of_white_exceed_31_bits():
    assert area.INT32_PIXELS * 255 < 2**31 <= (area.INT32_PIXELS + 1) * 255


def test_views_are_read_as_they_appear():
    image = noise(20, 30)
    np.testing.assert_array_equal(
        IntegralImage(image[:, ::-1]).resized(5, 6), IntegralImage(image[:, ::-1].copy()).resized(5, 6)
    )


def test_a_part_of_a_level_equals_that_part_of_the_whole():
    table = IntegralImage(np.random.default_rng(3).integers(0, 256, (97, 131, 3), np.uint8))
    rows, columns = slice(6, 31), slice(14, 40)
    np.testing.assert_array_equal(table.resized(41, 60, rows, columns), table.resized(41, 60)[rows, columns])
