"""Resizing against Pillow, which the processors of published models resize with."""

import numpy as np
import pytest
from PIL import Image

from deepscan.faces.resample import resample


@pytest.mark.parametrize("before", [30, 64, 97, 333])
@pytest.mark.parametrize("channels", [(3,), ()])
def test_it_is_pillows_bicubic(before, channels):
    image = np.random.default_rng(before).integers(0, 256, (before, before + 5, *channels)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC))
    found = resample(image, 64)
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    # Pillow computes in fixed point, so that a value halfway between two levels may go either way.
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01
