"""Self-blending: changed inside its region, untouched outside."""

import numpy as np
import pytest

from deepscan.data.blend import face_mask, self_blended
from deepscan.faces.recipe import CropRecipe

RECIPE = CropRecipe(side=96, scale=0.75, shift=(0.0, -0.16), interpolation="area", border="reflect")


@pytest.fixture
def crop():
    return np.random.default_rng(5).integers(40, 200, (96, 96, 3)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_a_mask_is_soft_lies_on_the_face_and_not_everywhere(seed):
    mask = face_mask(RECIPE, np.random.default_rng(seed))
    assert mask.shape == (96, 96)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() == pytest.approx(1)
    assert 0.02 < (mask > 0.5).mean() < 0.75
    # Soft: no step from nothing to all between neighbours.
    assert np.abs(np.diff(mask, axis=1)).max() < 0.9
    nose = RECIPE.template[2].astype(int)
    near = mask[nose[1] - 20 : nose[1] + 32, nose[0] - 20 : nose[0] + 20]
    assert near.max() > 0.9


@pytest.mark.parametrize("seed", range(10))
def test_blending_changes_the_region_and_nothing_else(crop, seed):
    before = crop.copy()
    blended = self_blended(crop, RECIPE, np.random.default_rng(seed))
    assert blended.shape == crop.shape
    assert blended.dtype == np.uint8
    assert np.array_equal(crop, before)
    changed = (blended != crop).any(axis=2)
    assert 0.02 < changed.mean() < 0.98


def test_blending_hangs_on_its_generator_alone(crop):
    one, same, other = (self_blended(crop, RECIPE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_mask_follows_the_recipe():
    loose = CropRecipe(side=96, scale=1.3)
    areas = [
        np.mean([face_mask(recipe, np.random.default_rng(seed)).mean() for seed in range(10)])
        for recipe in (RECIPE, loose)
    ]
    # A looser crop shows the face smaller, by (1.3 / 0.75)^2 = 3 in area where it does not leave the crop.
    assert areas[0] > 2 * areas[1]
