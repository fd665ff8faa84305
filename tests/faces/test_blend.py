"""Test self-blending: it changes its region and nothing outside."""

import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.faces.blend import RATIOS, face_outline, self_blended, soft_mask
from deepscan.faces.regions import CENTRE, canonical_face

RECIPE = CropRecipe(side=96, scale=0.75, shift=(0.0, -0.16), interpolation="area", border="reflect")


@pytest.fixture
def crop():
    return np.random.default_rng(5).integers(40, 200, (96, 96, 3)).astype(np.uint8)


def drawn(recipe, seed, side=96):
    rng = np.random.default_rng(seed)
    return soft_mask(face_outline(canonical_face(recipe), rng), side, rng)


@pytest.mark.parametrize("seed", range(20))
def test_a_mask_is_soft_and_covers_part_of_the_face(seed):
    mask = drawn(RECIPE, seed)
    assert mask.shape == (96, 96)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() == pytest.approx(1)
    assert 0.02 < (mask > 0.5).mean() < 0.75
    # Soft: neighbours never step from nothing to everything.
    assert np.abs(np.diff(mask, axis=1)).max() < 0.9
    nose = RECIPE.template[2].astype(int)
    near = mask[nose[1] - 20 : nose[1] + 32, nose[0] - 20 : nose[0] + 20]
    assert near.max() > 0.9


def test_there_are_four_outlines_within_the_face():
    face = canonical_face(CropRecipe())
    outlines = [face_outline(face, np.random.default_rng(seed)) for seed in range(40)]
    assert len({outline.tobytes() for outline in outlines}) == 4
    within = [((outline - face.centre) / face.radii) for outline in outlines]
    # The jaw of the lower ellipse extends beyond it by a fiftieth.
    assert all(np.hypot(*points.T).max() < 1.03 for points in within)
    # One of them covers only the lower part of the face, from below the eyes.
    assert min(points[:, 1].min() for points in within) == pytest.approx(-1, abs=0.01)
    assert max(points[:, 1].min() for points in within) == pytest.approx(-0.02, abs=0.01)


def test_a_mask_is_distorted_differently_every_time():
    outline = face_outline(canonical_face(CropRecipe()), np.random.default_rng(0))
    masks = [soft_mask(outline, 64, np.random.default_rng(seed)) for seed in range(2)]
    assert 0 < np.abs(masks[0] - masks[1]).mean() < 0.1


def test_a_face_too_small_for_erosion_is_still_blended():
    mask = drawn(CropRecipe(side=96, scale=4.0), 1)
    assert mask.max() == pytest.approx(1)
    assert 0 < (mask > 0.5).mean() < 0.05


@pytest.mark.parametrize("seed", range(10))
def test_blending_changes_the_region_and_nothing_else(crop, seed):
    before = crop.copy()
    blended, mask = self_blended(crop, RECIPE, np.random.default_rng(seed))
    assert blended.shape == crop.shape
    assert blended.dtype == np.uint8
    assert np.array_equal(crop, before)
    assert mask.shape == (96, 96)
    assert mask.dtype == np.float32
    changed = (blended != crop).any(axis=2)
    assert 0.02 < changed.mean() < 0.98
    assert not changed[mask == 0].any()
    # The copy's share of a pixel is at most one of the ratios.
    assert min(abs(float(mask.max()) - ratio) for ratio in RATIOS) < 1e-6
    # The copy differs from the crop by at most the range of its colours.
    assert (np.abs(blended.astype(int) - crop) <= np.ceil(mask * 255)[..., None]).all()


def test_blending_depends_only_on_its_generator(crop):
    one, same, other = (self_blended(crop, RECIPE, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_copy_is_moved_and_changed_in_colour_and_sharpness():
    flat = np.full((64, 64, 3), 120, np.uint8)
    recipe, colours, moves = CropRecipe(side=64), [], []
    ramp = np.repeat(np.linspace(20, 220, 64)[None, :, None], 64, axis=0).repeat(3, axis=2).astype(np.uint8)
    for seed in range(40):
        blended, mask = self_blended(flat, recipe, np.random.default_rng(seed))
        core = mask > 0.95
        if core.any():
            colours.append(blended[core].mean(axis=0) - 120)
            moves.append((self_blended(ramp, recipe, np.random.default_rng(seed))[0][core] - 0.0).mean())
    colours = np.array(colours)
    # Brightness and contrast change by up to a tenth, and in about a third of the draws each channel by up to
    # 20 levels.
    assert 5 < np.abs(colours).max() <= 0.1 * 255 + 0.1 * 140 + 22
    assert 0.1 < (np.ptp(colours, axis=1) > 1).mean() < 0.6
    assert np.std(moves) > 1


def test_the_mask_follows_the_recipe():
    loose = CropRecipe(side=96, scale=1.3)
    areas = [np.mean([drawn(recipe, seed).mean() for seed in range(10)]) for recipe in (RECIPE, loose)]
    # A looser crop shows the face smaller: by (1.3 / 0.75)^2 = 3 in area if it fits into the crop.
    assert areas[0] > 2 * areas[1]


def test_a_given_face_replaces_that_of_the_recipe(crop):
    here, there = (
        np.mean(
            [
                self_blended(crop, CropRecipe(side=96), np.random.default_rng(seed), face)[1]
                for seed in range(20)
            ],
            axis=0,
        )
        for face in (None, CENTRE)
    )
    rows = np.arange(96)
    middle = [(mask.sum(axis=1) * rows).sum() / mask.sum() / 96 for mask in (here, there)]
    # The recipe's face is 0.06 of the side below the centre.
    assert middle[0] - middle[1] == pytest.approx(0.06, abs=0.02)
