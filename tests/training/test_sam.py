"""SAM: steps of the base optimiser with the gradient at the worst nearby weights."""

import pytest
import torch
from torch import nn

from deepscan.training.sam import SAM

BASES = {
    "sgd": lambda values: torch.optim.SGD(values, 0.1, momentum=0.9),
    "adamw": lambda values: torch.optim.AdamW(values, 0.01, weight_decay=0.05),
}


def problem():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(8, 3), torch.randn(8, 1)


def trained(base, rho):
    network, inputs, targets = problem()
    sam = SAM(base(network.parameters()), rho)
    for _ in range(5):
        for half_step in (sam.ascend, sam.descend):
            sam.base.zero_grad()
            nn.functional.mse_loss(network(inputs), targets).backward()
            half_step()
    return network


@pytest.mark.parametrize("kind", BASES)
def test_radius_zero_is_the_base_optimiser(kind):
    network, inputs, targets = problem()
    base = BASES[kind](network.parameters())
    for _ in range(5):
        base.zero_grad()
        nn.functional.mse_loss(network(inputs), targets).backward()
        base.step()
    same, other = (trained(BASES[kind], rho) for rho in (0.0, 0.1))
    for value, plain in zip(same.parameters(), network.parameters(), strict=True):
        assert torch.equal(value, plain)
    assert not torch.equal(other[0].weight, network[0].weight)


def test_a_step_on_a_quadratic_by_hand():
    # L = (x^2 + 4 y^2) / 2 over two tensors, at (3, 1): g = (3, 4), |g| = 5, w + rho g / |g| = (3.3, 1.4).
    x, y = (torch.tensor([value], requires_grad=True) for value in (3.0, 1.0))
    sam = SAM(torch.optim.SGD([{"params": [x]}, {"params": [y]}], lr=0.1), rho=0.5)

    def gradients():
        sam.base.zero_grad()
        ((x**2 + 4 * y**2) / 2).sum().backward()

    gradients()
    sam.ascend()
    # One float32 rounding each.
    assert (x.item(), y.item()) == pytest.approx((3.3, 1.4), rel=1e-6)
    gradients()
    sam.descend()
    # There g = (3.3, 5.6), and the step starts from (3, 1).
    assert (x.item(), y.item()) == pytest.approx((3 - 0.33, 1 - 0.56), rel=1e-6)


def test_weights_are_restored_exactly_and_those_without_gradient_do_not_change():
    network, inputs, _ = problem()
    network[0].weight.requires_grad_(False)
    before = [value.detach().clone() for value in network.parameters()]
    sam = SAM(torch.optim.SGD(network.parameters(), 0.1), rho=3.0)
    network(inputs).sum().backward()
    sam.ascend()
    assert torch.equal(network[0].weight, before[0])
    assert not torch.equal(network[2].weight, before[2])
    sam.restore()
    for value, origin in zip(network.parameters(), before, strict=True):
        assert torch.equal(value, origin)


def test_a_zero_gradient_does_not_change_the_weights():
    weight = torch.ones(2, requires_grad=True)
    sam = SAM(torch.optim.SGD([weight], 0.1), rho=0.5)
    (weight * 0).sum().backward()
    sam.ascend()
    assert torch.equal(weight, torch.ones(2))


def test_misuse_is_refused():
    weight = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="at least 0"):
        SAM(torch.optim.SGD([weight], 0.1), rho=-0.1)
    sam = SAM(torch.optim.SGD([weight], 0.1), rho=0.1)
    weight.sum().backward()
    sam.ascend()
    with pytest.raises(RuntimeError, match="descend"):
        sam.ascend()
