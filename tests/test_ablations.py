"""Every row of the ablation page trains: known keys, a network that is built, a loss that moves it."""

import dataclasses
import re
import shlex
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from deepscan.backbones import BACKBONES
from deepscan.crop_recipe import CropRecipe
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch
from deepscan.training.recipe import load_recipe

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[1] / "docs" / "ablations.md").read_text(encoding="utf-8")
COMMANDS = tuple(dict.fromkeys(re.findall(r"`(--method [^`]+)`", PAGE)))
#: As small as every tuning and every head can still be put on; CoRIT's layers are those of 24 blocks.
SMALL = {"width": 32, "heads": 2, "hidden": 32}
#: The methods whose own switches the page has.
OWN = ("qtfp", "dfd-hr", "corit")
#: What a switch cannot do without.
NEEDED = {"network.fusion=cls": ("loss.alignment=none",)}


def _recipe(command):
    option, method, *overrides = shlex.split(command)
    assert option == "--method"
    return load_recipe(method, overrides=overrides)


def _backbone(recipe):
    stated = dict(recipe.network["backbone"])
    with torch.device("meta"):
        return BACKBONES.get(stated.pop("name"))(**stated)


def _tiny(recipe, grid=4):
    """Return the recipe's network on its kind of backbone, of few patches, and the backbone of full size."""
    real = _backbone(recipe)
    backbone = dict(recipe.network["backbone"])
    extra = {"projection": 16} if backbone["name"].startswith("clip") else {}
    depth = 24 if recipe.method == "corit" else 4
    backbone |= {**SMALL, **extra, "depth": depth, "side": grid * real.side // real.grid}
    torch.manual_seed(0)
    network = DETECTORS.get(recipe.method)(**recipe.loss).build({**recipe.network, "backbone": backbone})
    return network.train(), real


def _batch(recipe, network):
    grid = {"grid": network.backbone.grid} if "grid" in recipe.inputs else {}
    inputs = {**recipe.inputs, **grid}
    recipe = dataclasses.replace(recipe, crop=CropRecipe(side=network.side), inputs=inputs)
    crops = np.random.default_rng(0).integers(0, 256, (4, network.side, network.side, 3), dtype=np.uint8)
    faces = np.zeros(crops.shape[:3], np.uint8)
    faces[:, : network.side // 2] = 255
    made = recipe.make_preprocessor()(crops, faces=list(faces))
    tensors = {name: torch.from_numpy(array) for name, array in made.items()}
    return Batch(tensors, torch.tensor([0, 1, 0, 1]), torch.ones(4, network.side, network.side))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_row_trains_what_it_says(command):
    recipe = _recipe(command)
    network, real = _tiny(recipe)
    # The crops are cut as large as the whole network takes them, CoRIT's regions on the real backbone's grid.
    assert recipe.crop.input_side == network.side * real.side // network.backbone.side
    assert recipe.inputs.get("grid", real.grid) == real.grid
    batch = _batch(recipe, network)
    total, _ = DETECTORS.get(recipe.method)(**recipe.loss).loss(network(**batch.inputs), batch)
    total.backward()
    trained = [value for value in network.parameters() if value.requires_grad]
    assert torch.isfinite(total)
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in trained)


def _switches():
    """Return what the page's rows change of a method's own network, loss or inputs, one at a time."""
    for command in COMMANDS:
        _, method, *overrides = shlex.split(command)
        for override in overrides if method in OWN else ():
            # The grid is that of the backbone beside it.
            if override.startswith(("network.", "loss.", "inputs.")) and "grid" not in override:
                yield method, override


@cache
def _numbers(method, *overrides):
    """Return what a network of some switches says and learns, its weights hanging on their names alone."""
    recipe = load_recipe(method, overrides=overrides)
    network, _ = _tiny(recipe, grid=8)
    with torch.no_grad():
        for name, value in network.named_parameters():
            drawn = torch.randn(value.shape, generator=torch.Generator().manual_seed(crc32(name.encode())))
            # Nothing is left as it begins: what is zero or the identity hides what it is multiplied by.
            value.copy_(
                drawn / value.shape[-1] ** 0.5 if value.ndim > 1 else 0.2 * drawn + ("weight" in name)
            )
    batch, detector = _batch(recipe, network), DETECTORS.get(method)(**recipe.loss)
    torch.manual_seed(1)
    total, parts = detector.loss(network(**batch.inputs), batch)
    total.backward()
    slopes = [value.grad.norm() for value in network.parameters() if value.grad is not None]
    with torch.no_grad():
        judged = network.eval().predict(**batch.inputs)["probability"].sum()
    views = recipe.make_preprocessor().views
    return tuple(map(float, (total.detach(), *parts.values(), torch.stack(slopes).norm(), judged, views)))


@pytest.mark.parametrize(("method", "override"), dict.fromkeys(_switches()))
def test_a_switch_alone_changes_what_a_network_says_or_learns(method, override):
    needed = NEEDED.get(override, ())
    own, switched = _numbers(method, *needed), _numbers(method, *needed, override)
    # Seeds and weights are the same: a switch that does nothing leaves every number, but for rounding.
    assert own != pytest.approx(switched, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("method", "one", "other"),
    [
        (method, one, other)
        for (method, one), (its, other) in combinations(dict.fromkeys(_switches()), 2)
        if method == its and one.split("=")[0] == other.split("=")[0]
    ],
)
def test_two_values_of_a_switch_are_not_the_same_one(method, one, other):
    numbers = [_numbers(method, *NEEDED.get(override, ()), override) for override in (one, other)]
    assert numbers[0] != pytest.approx(numbers[1], rel=1e-5, nan_ok=True)


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
