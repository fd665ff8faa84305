"""The crop recipe: the published template, and reading and writing it in a card."""

import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.errors import ContractError


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (256, [(96.87, 120.43), (158.83, 120.09), (128.04, 155.67), (102.59, 191.94), (153.90, 191.66)]),
        (224, [(84.76, 105.38), (138.97, 105.08), (112.04, 136.21), (89.77, 167.95), (134.66, 167.70)]),
    ],
)
def test_template_is_deepfakebench_s(side, expected):
    # DeepfakeBench gives two decimals.
    np.testing.assert_allclose(CropRecipe(side=side).template, expected, atol=0.006)


def test_scale_and_shift():
    plain, tight = CropRecipe(side=100, scale=1.3), CropRecipe(side=100, scale=0.65, shift=(0.1, -0.2))
    np.testing.assert_allclose(tight.template - [10, -20] - 50, (plain.template - 50) * 2, atol=1e-4)


def test_the_input_side_is_the_resized_one():
    assert CropRecipe(side=256, resize=224).input_side == 224
    assert CropRecipe(side=160).input_side == 160


def test_round_trip():
    recipe = CropRecipe(160, 0.75, (0.0, -0.16), "area", "reflect", 128)
    assert CropRecipe.from_json(recipe.to_json()) == recipe


def test_the_border_is_black_by_default():
    values = CropRecipe().to_json()
    del values["border"]
    assert CropRecipe.from_json(values).border == "black"


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 8},
        {"scale": 0.1},
        {"interpolation": "nearest"},
        {"border": "wrap"},
        {"resize": 3},
        {"margin": 1},
    ],
)
def test_wrong_values_name_the_card(wrong):
    with pytest.raises(ContractError):
        CropRecipe.from_json(wrong)
