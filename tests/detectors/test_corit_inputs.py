"""CoRIT's inputs: what a counterpart depends on and what it changes."""

import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.detectors.corit_inputs import CoritPreprocessor
from deepscan.detectors.preprocess import make_preprocessor, normalised
from deepscan.errors import UsageError

RECIPE = CropRecipe(side=48)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3)).astype(np.uint8)


def preprocessor(**settings):
    return make_preprocessor({"kind": "contrast", "grid": 3, **settings}, RECIPE, MEAN, STD)


def test_the_three_inputs_have_the_networks_shapes(crops):
    arrays = preprocessor()(crops)
    assert {name: array.shape for name, array in arrays.items()} == {
        "crops": (4, 3, 48, 48),
        "counterparts": (4, 3, 48, 48),
        "regions": (4, 3, 9),
    }
    assert all(array.dtype == np.float32 and array.flags.writeable for array in arrays.values())
    np.testing.assert_array_equal(arrays["crops"], normalised(crops, MEAN, STD))
    assert {array.shape[0] for array in preprocessor()(crops[:0]).values()} == {0}


def test_a_counterpart_differs_from_its_crop_only_by_the_blending(crops):
    arrays = preprocessor()(crops)
    changed = (arrays["crops"] != arrays["counterparts"]).any(axis=1)
    assert (changed.mean(axis=(1, 2)) > 0.01).all()
    # At scale 1.3 the corners are never in the face, so they are unchanged.
    assert not changed[:, :4, :4].any()
    assert not changed[:, -2:, -2:].any()


def test_a_counterpart_depends_only_on_the_crop_seed_and_view(crops):
    inputs = preprocessor()
    whole = inputs(crops)["counterparts"]
    np.testing.assert_array_equal(inputs(crops[::-1])["counterparts"][::-1], whole)
    np.testing.assert_array_equal(inputs(crops[2:3])["counterparts"][0], whole[2])
    np.testing.assert_array_equal(preprocessor()(crops)["counterparts"], whole)
    for other in (inputs(crops, view=1), preprocessor(seed=1)(crops)):
        assert (other["counterparts"] != whole).any(axis=(1, 2, 3)).all()
    changed = crops.copy()
    changed[0, 0, 0, 0] ^= 1
    counterparts = inputs(changed)["counterparts"]
    assert not np.array_equal(counterparts[0, :, 8:], whole[0, :, 8:])
    np.testing.assert_array_equal(counterparts[1:], whole[1:])


def test_the_number_of_views_is_configurable():
    assert preprocessor().views == 1
    assert preprocessor(views=4).views == 4


def test_the_face_can_be_centred_and_the_regions_random():
    plain, middle, random = (
        preprocessor(grid=8),
        preprocessor(grid=8, face="center"),
        preprocessor(grid=8, regions="random"),
    )
    assert not np.array_equal(plain.regions, middle.regions)
    assert middle.regions[0].reshape(8, 8)[::-1].tolist() == middle.regions[0].reshape(8, 8).tolist()
    assert sorted(random.regions.sum(axis=1)) == [21, 21, 22]
    assert preprocessor(grid=8, overlap=True).regions.sum() > 64


@pytest.mark.parametrize(
    "settings",
    [{"face": "centre"}, {"regions": "thirds"}, {"grid": 0}, {"views": 0}, {"seed": -1}, {"no_such": 1}],
)
def test_a_wrong_argument_is_a_usage_error(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        preprocessor(**settings)


def test_the_regions_follow_the_crop_recipe():
    tight = CoritPreprocessor(CropRecipe(side=48, scale=0.75, shift=(0.0, -0.16)), MEAN, STD, grid=10)
    assert tight.regions[2].sum() < preprocessor(grid=10).regions[2].sum()
