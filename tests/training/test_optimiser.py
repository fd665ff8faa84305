"""The optimiser: the learning rate and decay of each weight, and the length of a step."""

import dataclasses

import pytest
import torch

from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch
from deepscan.training.optimiser import TrainStep, make_optimiser
from tests.detectors.tiny import BACKBONE
from tests.training.conftest import CPU


@pytest.fixture
def network():
    torch.manual_seed(0)
    settings = {"backbone": BACKBONE, "tuning": {"type": "fft"}, "queries": 2, "heads": 2}
    return DETECTORS.get("qtfp")().build(settings)


def _settings(optimiser):
    """Return the rate and decay of each weight by its id, and check that it is in one group only."""
    settings = {
        id(value): (group["base_lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for value in group["params"]
    }
    assert len(settings) == sum(len(group["params"]) for group in optimiser.param_groups)
    return settings


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("decay", ["all", "matrices"])
@pytest.mark.parametrize("backbone_lr", [None, 1e-6])
def test_each_weight_has_its_own_rate_and_decay(recipe, network, kind, decay, backbone_lr):
    changed = dataclasses.replace(
        recipe, optimiser=kind, decay=decay, backbone_lr=backbone_lr, lr=0.1, weight_decay=0.01, momentum=0.7
    )
    frozen = network.backbone.ln_post.weight.requires_grad_(False)
    optimiser = make_optimiser(changed, network)
    settings = _settings(optimiser)
    names = {id(value): name for name, value in network.named_parameters()}
    for value in network.parameters():
        if value is frozen:
            continue
        rate = 1e-6 if backbone_lr and names[id(value)].startswith("backbone.") else 0.1
        assert settings.pop(id(value)) == (rate, 0.01 if decay == "all" or value.ndim > 1 else 0.0)
    assert not settings, "frozen weights must not be in the optimiser"
    assert type(optimiser).__name__.lower() == kind
    assert {group.get("momentum", 0.7) for group in optimiser.param_groups} == {0.7}


def _step_lengths(recipe, network, rate=1.0):
    """Return the lengths of a step in the weights of the backbone and in the other weights."""
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    rng = torch.Generator().manual_seed(1)
    batch = Batch({"crops": torch.randn(4, 3, 32, 32, generator=rng)}, torch.tensor([0, 1, 0, 1]))
    detector = DETECTORS.get("qtfp")()
    train_step = TrainStep(recipe, network.train(), detector.loss, make_optimiser(recipe, network), CPU)
    train_step.step([batch], [0], rate)
    backbone, others = (
        torch.stack(
            [
                (value.detach() - before[name]).norm()
                for name, value in network.named_parameters()
                if name.startswith("backbone.") == in_backbone
            ]
        ).norm()
        for in_backbone in (True, False)
    )
    return float(backbone), float(others)


@pytest.fixture
def plain(recipe):
    """A recipe whose step is the learning rate times the gradient."""
    return dataclasses.replace(
        recipe, optimiser="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, clip=0.0, sam_rho=0.0
    )


@pytest.mark.parametrize("rho", [0.0, 0.05])
def test_a_clipped_step_has_the_length_of_the_limit(plain, network, rho):
    limited = dataclasses.replace(plain, clip=0.01, sam_rho=rho)
    # Float32 differences of 1e-3 between weights of order 1: a relative error of at most 1e-4.
    assert torch.tensor(_step_lengths(limited, network)).norm() == pytest.approx(0.1 * 0.01, rel=1e-2)


def test_an_unclipped_step_is_the_whole_gradient(plain, network):
    start = {name: value.clone() for name, value in network.state_dict().items()}
    lengths = []
    for clip in (0.0, 1e6):
        network.load_state_dict(start)
        lengths.append(_step_lengths(dataclasses.replace(plain, clip=clip), network))
    assert lengths[0] == lengths[1]
    assert torch.tensor(lengths[0]).norm() > 10 * 0.1 * 0.01


def test_the_backbone_uses_its_own_learning_rate(plain, network):
    start = {name: value.clone() for name, value in network.state_dict().items()}
    same = _step_lengths(plain, network, rate=0.5)
    network.load_state_dict(start)
    slow = _step_lengths(dataclasses.replace(plain, backbone_lr=0.001), network, rate=0.5)
    # Float32 rounding of weights of order 1 in steps of 1e-3.
    assert slow[0] == pytest.approx(0.01 * same[0], rel=1e-2)
    assert slow[1] == same[1]
