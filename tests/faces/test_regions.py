"""Test the regions of a crop: the face's position and the partition of patches around it."""

import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.errors import UsageError
from deepscan.faces.regions import (
    CENTRE,
    Ellipse,
    canonical_face,
    coverage,
    hull_mask,
    partition,
    random_partition,
)


def test_the_face_in_deepfakebenchs_crop_is_the_known_ellipse():
    for side in (256, 224, 64):
        face = canonical_face(CropRecipe(side=side, scale=1.3))
        # The template is rounded to float32 pixels.
        assert face.centre == pytest.approx((0.50, 0.56), abs=1e-6)
        assert face.radii == pytest.approx((0.28, 0.36), abs=1e-6)


@pytest.mark.parametrize(
    "recipe", [CropRecipe(scale=0.75, shift=(0.1, -0.16)), CropRecipe(scale=2.0), CropRecipe(scale=1.0)]
)
def test_the_face_follows_the_landmarks_of_any_crop(recipe):
    face, known = canonical_face(recipe), canonical_face(CropRecipe())
    # The five landmarks have the same position within the ellipse in every crop.
    inside = (recipe.template / recipe.side - face.centre) / face.radii
    expected = (CropRecipe().template / 256 - known.centre) / known.radii
    np.testing.assert_allclose(inside, expected, atol=1e-5)
    assert np.hypot(*expected.T).max() < 1


def test_an_ellipse_covers_its_area():
    mask = canonical_face(CropRecipe()).mask(224)
    assert mask.mean() == pytest.approx(np.pi * 0.28 * 0.36, rel=0.01)
    down, across = np.nonzero(mask)
    assert down.mean() / 224 == pytest.approx(0.56, abs=0.005)
    assert across.mean() / 224 == pytest.approx(0.50, abs=0.005)
    assert CENTRE.mask(100).mean() == pytest.approx(np.pi * 0.35**2, rel=0.02)
    with pytest.raises(ValueError, match="half axes"):
        Ellipse((0.5, 0.5), (0.0, 0.1))


def test_a_patch_counts_if_half_of_it_is_covered():
    mask = np.zeros((40, 40), bool)
    mask[:, :15] = True
    shares = coverage(mask, 4)
    np.testing.assert_allclose(shares, np.tile([1, 0.5, 0, 0], (4, 1)))
    assert partition(shares)[2].reshape(4, 4)[:, :3].sum() == 0
    mask[:, 14] = False
    assert partition(coverage(mask, 4))[2].reshape(4, 4)[:, 2].sum() == 4


@pytest.mark.parametrize("grid", [3, 7, 10, 14, 16, 32])
@pytest.mark.parametrize("recipe", [CropRecipe(), CropRecipe(scale=0.75, shift=(0.0, -0.16))])
def test_regions_of_a_face_partition_the_crop_from_the_inside_out(grid, recipe):
    regions = partition(coverage(canonical_face(recipe).mask(grid * 14), grid))
    assert regions.shape == (3, grid * grid)
    assert regions.dtype == np.float32
    assert (regions.sum(axis=0) == 1).all()
    assert regions[0].any()
    if grid >= 7:
        distance = np.hypot(*(np.indices((grid, grid)) - np.array([0.56, 0.5])[:, None, None] * grid))
        means = [distance.reshape(-1)[part > 0].mean() for part in regions if part.any()]
        assert means == sorted(means)


def test_regions_of_a_hand_made_face():
    face = np.zeros((7, 7), np.float32)
    face[1:6, 1:6] = 1
    foreground, boundary, background = partition(face).reshape(3, 7, 7)
    assert foreground.sum() == 9
    assert foreground[2:5, 2:5].all()
    assert boundary.sum() == 49 - 9
    assert background.sum() == 0


def test_overlap_keeps_the_whole_face_as_foreground():
    face = np.zeros((9, 9), np.float32)
    face[2:7, 2:7] = 1
    plain, kept = partition(face), partition(face, overlap=True)
    assert kept[0].sum() == 25
    np.testing.assert_array_equal(kept[1:], plain[1:])
    assert (kept[0] * kept[1]).sum() == 25 - 9


def test_a_face_too_thin_to_lose_its_rim_keeps_it():
    face = np.zeros((6, 6), np.float32)
    face[2:4, 2:4] = 1
    regions = partition(face)
    assert regions[0].sum() == 4
    assert (regions.sum(axis=0) == 1).all()
    # Without a face, everything is background.
    assert partition(np.zeros((6, 6), np.float32)).sum(axis=1).tolist() == [0, 0, 36]


def test_a_face_cut_off_by_the_crop_has_no_boundary_there():
    assert partition(np.ones((5, 5), np.float32)).sum(axis=1).tolist() == [25, 0, 0]


def test_random_regions_are_thirds_that_depend_on_the_seed():
    regions = random_partition(16, 7)
    assert (regions.sum(axis=0) == 1).all()
    assert sorted(regions.sum(axis=1)) == [85, 85, 86]
    np.testing.assert_array_equal(regions, random_partition(16, 7))
    assert not np.array_equal(regions, random_partition(16, 8))


def test_the_hull_of_landmarks_is_filled():
    square = [(10, 10), (10, 29), (29, 10), (29, 29), (20, 20)]
    mask = hull_mask(square, (40, 40))
    assert mask.sum() == 400
    assert mask[10:30, 10:30].all()
    # Points outside the crop are cut off.
    assert hull_mask(np.array(square) + 20, (40, 40)).sum() == 100


@pytest.mark.parametrize("landmarks", [[(1, 2), (3, 4)], [1, 2, 3], [(0, 0), (1, 1), (np.nan, 2)]])
def test_invalid_landmarks_are_refused(landmarks):
    with pytest.raises(UsageError, match="landmarks"):
        hull_mask(landmarks, (40, 40))


def test_a_mask_smaller_than_the_grid_is_refused():
    with pytest.raises(UsageError, match="patches"):
        coverage(np.ones((20, 20), bool), 21)
