"""Every row of the ablation page trains: known keys, a network that is built, a loss that moves it."""

import dataclasses
import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from deepscan.backbones import BACKBONES
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch
from deepscan.faces.recipe import CropRecipe
from deepscan.training.recipe import load_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "ablations.md").read_text(encoding="utf-8")
COMMANDS = tuple(dict.fromkeys(re.findall(r"`(--method [^`]+)`", PAGE)))
#: As small as every tuning and every head can still be put on; CoRIT's layers are those of 24 blocks.
SMALL = {"width": 32, "heads": 2, "hidden": 32}


def _recipe(command):
    option, method, *overrides = shlex.split(command)
    assert option == "--method"
    return load_recipe(method, overrides=overrides)


def _tower(recipe):
    stated = dict(recipe.network["backbone"])
    with torch.device("meta"):
        return BACKBONES.get(stated.pop("name"))(**stated)


def _tiny(recipe):
    """Return the recipe's network on its kind of backbone, of sixteen patches, and the tower of full size."""
    real = _tower(recipe)
    backbone = dict(recipe.network["backbone"])
    extra = {"projection": 16} if backbone["name"].startswith("clip") else {}
    depth = 24 if recipe.method == "corit" else 4
    backbone |= {**SMALL, **extra, "depth": depth, "side": 4 * real.side // real.grid}
    torch.manual_seed(0)
    network = DETECTORS.get(recipe.method)(**recipe.loss).build({**recipe.network, "backbone": backbone})
    return network.train(), real


def _batch(recipe, network):
    inputs = {**recipe.inputs, **({"grid": 4} if "grid" in recipe.inputs else {})}
    recipe = dataclasses.replace(recipe, crop=CropRecipe(side=network.side), inputs=inputs)
    crops = np.random.default_rng(0).integers(0, 256, (4, network.side, network.side, 3), dtype=np.uint8)
    given = {name: torch.from_numpy(array) for name, array in recipe.make_inputs()(crops).items()}
    return Batch(given, torch.tensor([0, 1, 0, 1]), torch.ones(4, network.side, network.side))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_row_trains_what_it_says(command):
    recipe = _recipe(command)
    network, real = _tiny(recipe)
    # The crops are cut as large as the whole network takes them, CoRIT's regions on the real tower's grid.
    assert recipe.crop.input_side == network.side * real.side // network.backbone.side
    assert recipe.inputs.get("grid", real.grid) == real.grid
    batch = _batch(recipe, network)
    total, _ = DETECTORS.get(recipe.method)(**recipe.loss).loss(network(**batch.inputs), batch)
    total.backward()
    trained = [value for value in network.parameters() if value.requires_grad]
    assert torch.isfinite(total)
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in trained)


def test_no_row_is_the_recipe_that_another_row_is():
    recipes = [repr(_recipe(command)) for command in COMMANDS]
    assert max(Counter(recipes).values()) == 1


def test_the_printed_means_are_those_of_their_rows():
    checked = 0
    for line in PAGE.splitlines():
        _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        values = [float(cell) for cell in cells if re.fullmatch(r"\d*\.\d+", cell)]
        if len(values) < 3:
            continue
        *parts, mean = values
        # Cells are rounded to a unit of the last place, and the papers cut some means off instead.
        unit = 0.001 if mean < 1 else 0.1
        assert abs(sum(parts) / len(parts) - mean) < 1.1 * unit, line
        checked += 1
    assert checked > 50
