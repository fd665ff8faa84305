"""The optimiser: which rate and which decay each weight has, and how far a step goes."""

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
    stated = {"backbone": BACKBONE, "tuning": {"type": "fft"}, "queries": 2, "heads": 2}
    return DETECTORS.get("qtfp")().build(stated)


def _stated(optimiser):
    """Return rate and decay of each weight by its identity, every weight being in one group."""
    of = {
        id(value): (group["base_lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for value in group["params"]
    }
    assert len(of) == sum(len(group["params"]) for group in optimiser.param_groups)
    return of


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("decay", ["all", "matrices"])
@pytest.mark.parametrize("backbone_lr", [None, 1e-6])
def test_each_weight_has_its_own_rate_and_decay(recipe, network, kind, decay, backbone_lr):
    stated = dataclasses.replace(
        recipe, optimiser=kind, decay=decay, backbone_lr=backbone_lr, lr=0.1, weight_decay=0.01, momentum=0.7
    )
    frozen = network.backbone.ln_post.weight.requires_grad_(False)
    optimiser = make_optimiser(stated, network)
    found = _stated(optimiser)
    names = {id(value): name for name, value in network.named_parameters()}
    for value in network.parameters():
        if value is frozen:
            continue
        rate = 1e-6 if backbone_lr and names[id(value)].startswith("backbone.") else 0.1
        assert found.pop(id(value)) == (rate, 0.01 if decay == "all" or value.ndim > 1 else 0.0)
    assert not found, "what does not train is not moved"
    assert type(optimiser).__name__.lower() == kind
    assert {group.get("momentum", 0.7) for group in optimiser.param_groups} == {0.7}


def _moved(recipe, network, rate=1.0):
    """Return by how much a step moves the weights, of the backbone and of the rest."""
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    rng = torch.Generator().manual_seed(1)
    batch = Batch({"crops": torch.randn(4, 3, 32, 32, generator=rng)}, torch.tensor([0, 1, 0, 1]))
    detector = DETECTORS.get("qtfp")()
    stepper = TrainStep(recipe, network.train(), detector.loss, make_optimiser(recipe, network), CPU)
    stepper.step([batch], [0], rate)
    own, others = (
        torch.stack(
            [
                (value.detach() - before[name]).norm()
                for name, value in network.named_parameters()
                if name.startswith("backbone.") == of_backbone
            ]
        ).norm()
        for of_backbone in (True, False)
    )
    return float(own), float(others)


@pytest.fixture
def plain(recipe):
    """A step of this is the rate times the gradient."""
    return dataclasses.replace(
        recipe, optimiser="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, clip=0.0, sam_rho=0.0
    )


@pytest.mark.parametrize("rho", [0.0, 0.05])
def test_a_clipped_step_is_as_long_as_the_limit_allows(plain, network, rho):
    limited = dataclasses.replace(plain, clip=0.01, sam_rho=rho)
    # Differences of float32 weights of order 1, by 1e-3: relative to the step 1e-4 at most.
    assert torch.tensor(_moved(limited, network)).norm() == pytest.approx(0.1 * 0.01, rel=1e-2)


def test_without_a_limit_and_below_it_a_step_is_the_whole_gradient(plain, network):
    start = {name: value.clone() for name, value in network.state_dict().items()}
    lengths = []
    for clip in (0.0, 1e6):
        network.load_state_dict(start)
        lengths.append(_moved(dataclasses.replace(plain, clip=clip), network))
    assert lengths[0] == lengths[1]
    assert torch.tensor(lengths[0]).norm() > 10 * 0.1 * 0.01


def test_the_backbone_goes_as_far_as_its_own_rate_says(plain, network):
    start = {name: value.clone() for name, value in network.state_dict().items()}
    same = _moved(plain, network, rate=0.5)
    network.load_state_dict(start)
    slow = _moved(dataclasses.replace(plain, backbone_lr=0.001), network, rate=0.5)
    # Float32 rounding of weights of order 1 in steps of 1e-3.
    assert slow[0] == pytest.approx(0.01 * same[0], rel=1e-2)
    assert slow[1] == same[1]
