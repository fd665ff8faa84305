"""Every row of the ablation page can be trained: known keys, a network that builds, gradients."""

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
#: The smallest sizes that work with every tuning and head; CoRIT needs layers of 24 blocks.
SMALL = {"width": 32, "heads": 2, "hidden": 32}
#: The methods with switches on the page.
OWN = ("qtfp", "dfd-hr", "corit")
#: Switch -> other overrides that it requires.
REQUIRED = {"network.fusion=cls": ("loss.alignment=none",)}


def _recipe(command):
    option, method, *overrides = shlex.split(command)
    assert option == "--method"
    return load_recipe(method, overrides=overrides)


def _backbone(recipe):
    settings = dict(recipe.network["backbone"])
    with torch.device("meta"):
        return BACKBONES.get(settings.pop("name"))(**settings)


def _tiny(recipe, grid=4):
    """Return the recipe's network on a tiny backbone of its kind, and the backbone of full size."""
    full_size = _backbone(recipe)
    backbone = dict(recipe.network["backbone"])
    extra = {"projection": 16} if backbone["name"].startswith("clip") else {}
    depth = 24 if recipe.method == "corit" else 4
    backbone |= {**SMALL, **extra, "depth": depth, "side": grid * full_size.side // full_size.grid}
    torch.manual_seed(0)
    network = DETECTORS.get(recipe.method)(**recipe.loss).build({**recipe.network, "backbone": backbone})
    return network.train(), full_size


def _batch(recipe, network):
    grid = {"grid": network.backbone.grid} if "grid" in recipe.inputs else {}
    inputs = {**recipe.inputs, **grid}
    recipe = dataclasses.replace(recipe, crop=CropRecipe(side=network.side), inputs=inputs)
    crops = np.random.default_rng(0).integers(0, 256, (4, network.side, network.side, 3), dtype=np.uint8)
    faces = np.zeros(crops.shape[:3], np.uint8)
    faces[:, : network.side // 2] = 255
    arrays = recipe.make_preprocessor()(crops, faces=list(faces))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Batch(tensors, torch.tensor([0, 1, 0, 1]), torch.ones(4, network.side, network.side))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_row_can_be_trained(command):
    recipe = _recipe(command)
    network, full_size = _tiny(recipe)
    # The crops have the input size of the full network, and CoRIT's regions the grid of the real backbone.
    assert recipe.crop.input_side == network.side * full_size.side // network.backbone.side
    assert recipe.inputs.get("grid", full_size.grid) == full_size.grid
    batch = _batch(recipe, network)
    total, _ = DETECTORS.get(recipe.method)(**recipe.loss).loss(network(**batch.inputs), batch)
    total.backward()
    trained = [value for value in network.parameters() if value.requires_grad]
    assert torch.isfinite(total)
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in trained)


def _switches():
    """Yield each change to a method's network, loss or inputs in the rows of the page."""
    for command in COMMANDS:
        _, method, *overrides = shlex.split(command)
        for override in overrides if method in OWN else ():
            # The grid depends on the backbone in the same row.
            if override.startswith(("network.", "loss.", "inputs.")) and "grid" not in override:
                yield method, override


@cache
def _numbers(method, *overrides):
    """Return losses, gradients and scores of a network with some switches; weights depend on names only."""
    recipe = load_recipe(method, overrides=overrides)
    network, _ = _tiny(recipe, grid=8)
    with torch.no_grad():
        for name, value in network.named_parameters():
            noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(crc32(name.encode())))
            # Replace all initial values: zeros or an identity would hide the effect of a switch.
            value.copy_(
                noise / value.shape[-1] ** 0.5 if value.ndim > 1 else 0.2 * noise + ("weight" in name)
            )
    batch, detector = _batch(recipe, network), DETECTORS.get(method)(**recipe.loss)
    torch.manual_seed(1)
    total, parts = detector.loss(network(**batch.inputs), batch)
    total.backward()
    gradients = [value.grad.norm() for value in network.parameters() if value.grad is not None]
    with torch.no_grad():
        score = network.eval().predict(**batch.inputs)["probability"].sum()
    views = recipe.make_preprocessor().views
    return tuple(map(float, (total.detach(), *parts.values(), torch.stack(gradients).norm(), score, views)))


@pytest.mark.parametrize(("method", "override"), dict.fromkeys(_switches()))
def test_every_switch_alone_changes_the_scores_or_gradients(method, override):
    required = REQUIRED.get(override, ())
    default, switched = _numbers(method, *required), _numbers(method, *required, override)
    # Seeds and weights are the same, so a switch without effect would change nothing beyond rounding.
    assert default != pytest.approx(switched, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("method", "first", "second"),
    [
        (method, first, second)
        for (method, first), (other_method, second) in combinations(dict.fromkeys(_switches()), 2)
        if method == other_method and first.split("=")[0] == second.split("=")[0]
    ],
)
def test_two_values_of_a_switch_differ(method, first, second):
    numbers = [_numbers(method, *REQUIRED.get(override, ()), override) for override in (first, second)]
    assert numbers[0] != pytest.approx(numbers[1], rel=1e-5, nan_ok=True)


def test_no_two_rows_have_the_same_recipe():
    recipes = [repr(_recipe(command)) for command in COMMANDS]
    assert max(Counter(recipes).values()) == 1


def test_the_printed_means_match_their_rows():
    checked = 0
    for line in PAGE.splitlines():
        _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        values = [float(cell) for cell in cells if re.fullmatch(r"\d*\.\d+", cell)]
        if len(values) < 3:
            continue
        *parts, mean = values
        # Cells are rounded to the last digit, but the papers truncate some means.
        unit = 0.001 if mean < 1 else 0.1
        assert abs(sum(parts) / len(parts) - mean) < 1.1 * unit, line
        checked += 1
    assert checked > 50
