"""Tiny networks of every method, with weights as after training, and model folders made from them."""

import copy
import dataclasses
import fcntl
import inspect
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from deepscan.cards import CARD, ModelCard, read_card
from deepscan.crop_recipe import CropRecipe
from deepscan.data.crops.crop_cache import CropSet
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Network
from deepscan.detectors.preprocess import PREPROCESSORS, Preprocessor
from deepscan.training import publish
from deepscan.training.recipe import Recipe, load_recipe
from tests.detectors.tiny import TINY

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


@dataclass(frozen=True)
class Published:
    """A network as trained, with the card and crops of its published model."""

    network: Network
    recipe: Recipe
    card: ModelCard
    crops: CropSet

    @property
    def inputs(self) -> Preprocessor:
        return self.recipe.make_preprocessor()

    def given(self, crops: np.ndarray, view: int = 0) -> dict[str, torch.Tensor]:
        """The network's inputs."""
        return {name: torch.from_numpy(array) for name, array in self.inputs(crops, view).items()}


def recipe_of(method: str, network: Network) -> Recipe:
    """Return the method's recipe for a tiny network."""
    own = load_recipe(method)
    inputs = dict(own.inputs)
    if "grid" in inspect.signature(PREPROCESSORS.get(inputs["kind"]).__init__).parameters:
        inputs["grid"] = network.backbone.grid
    crop = CropRecipe(side=network.side)
    return dataclasses.replace(own, network=TINY[method], crop=crop, mean=MEAN, std=STD, inputs=inputs)


def trained(method: str) -> Network:
    """Return a network with changed weights, so that nothing is still zero or the identity."""
    torch.manual_seed(0)
    network = DETECTORS.get(method)().build(TINY[method])
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.add_(0.05 * torch.randn_like(value))
        given = recipe_of(method, network).make_preprocessor()(pictures(8, network.side))
        tensors = {name: torch.from_numpy(array) for name, array in given.items()}
        network.train()(**tensors)
        network.eval()
        if method == "dfd-hr":
            _judge_differently(network, tensors)
    return network


def _judge_differently(network: Network, given: dict[str, torch.Tensor]) -> None:
    """Set random judges so that about half of the crops exit early, and the scores show it."""
    for judge in network.branch.token_judges.values():
        # With the initial weights it selects the CLS token last, so that no routed block would affect the
        # score.
        judge.weight.neg_()
    for judge in network.branch.layer_judges.values():
        recorded: list[torch.Tensor] = []
        handle = judge.register_forward_hook(
            lambda judge, taken, logits, recorded=recorded: recorded.append(logits)
        )
        network(**given)
        handle.remove()
        crop_logits = recorded[0] - judge.bias
        # Spread the values by a factor of 100, so that rounding moves no crop across the threshold.
        judge.second.weight.mul_(100)
        judge.bias.fill_(-100 * float(crop_logits.quantile(0.5)))


def pictures(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Return noise on colours, shape (N, S, S, 3), uint8."""
    rng = np.random.default_rng(seed)
    flat = rng.integers(60, 190, (count, 1, 1, 3)) + rng.integers(-50, 51, (count, side, side, 3))
    return np.clip(flat, 0, 255).astype(np.uint8)


def crop_set(side: int) -> CropSet:
    """Return 48 validation crops, two per video."""
    videos = [f"video-{at // 2}" for at in range(48)]
    labels = np.arange(48) // 2 % 2
    return CropSet(
        crops=pictures(48, side),
        labels=labels,
        groups=tuple(f"group-{at // 4}" for at in range(48)),
        videos=tuple(videos),
        splits=("val",) * 48,
        dropped=3,
        key="key",
    )


def published(method: str, folder: Path) -> Published:
    """Publish a network as if it had been trained, unless another process has; an export takes seconds."""
    network = trained(method)
    recipe, crops = recipe_of(method, network), crop_set(network.side)
    as_trained = copy.deepcopy(network)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / CARD).exists():
            return Published(as_trained, recipe, read_card(folder), crops)
        # A thousand bootstrap rounds per interval take seconds, and an untrained network does not need them.
        patch.setattr(publish, "bootstrap", partial(publish.bootstrap, rounds=5))
        card = publish.publish(network, recipe, crops, folder, name=method, data="noise", trained={"seed": 0})
        assert card == read_card(folder), "other processes must read the same card"
    return Published(as_trained, recipe, card, crops)
