"""The mixture of adapters."""

import pytest
import torch
import torch.nn.functional as F

from deepscan.detectors.dfd_hr_adapters import MixtureOfAdapters
from tests.backbones.tiny import count


def one_by_one(mixture, x):
    """The mixture as its formula has it, expert after expert."""
    weights = torch.softmax(mixture.gate(x), dim=-1)
    downs, biases = mixture.down.weight.chunk(mixture.experts), mixture.down.bias.chunk(mixture.experts)
    total = x
    for number in range(mixture.experts):
        inside = mixture.act(F.linear(x, downs[number], biases[number]))
        total = total + weights[..., number : number + 1] * (
            inside @ mixture.up[number] + mixture.bias[number]
        )
    return total


def test_a_mixture_at_the_papers_size_has_as_many_parameters_as_published():
    with torch.device("meta"):
        mixture = MixtureOfAdapters(1024, experts=4, hidden=256)
    assert count(mixture) == 2_106_372


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_the_experts_side_by_side_are_the_experts_one_by_one(act):
    mixture = MixtureOfAdapters(8, experts=3, hidden=5, act=act, init="default").eval()
    x = torch.randn(2, 6, 8)
    # Two ways of adding up the same few products in float32.
    torch.testing.assert_close(mixture(x), one_by_one(mixture, x), rtol=1e-5, atol=1e-6)


def test_a_new_mixture_is_the_identity_unless_it_is_to_begin_as_the_release_does():
    x = torch.randn(2, 6, 8)
    assert torch.equal(MixtureOfAdapters(8, hidden=4)(x), x)
    assert not torch.equal(MixtureOfAdapters(8, hidden=4, init="default")(x), x)


def test_an_expert_begins_within_the_bounds_of_a_linear_layer_of_its_own_width():
    mixture = MixtureOfAdapters(64, experts=4, hidden=16, init="default")
    assert 0.24 < mixture.up.abs().max() <= 0.25
    assert mixture.bias.abs().max() <= 0.25


def test_the_gate_is_noisy_in_training_alone_and_only_where_that_was_asked_for():
    x = torch.randn(2, 6, 8)
    noisy, quiet = MixtureOfAdapters(8, hidden=4), MixtureOfAdapters(8, hidden=4, noise=False)
    assert not torch.equal(noisy.weigh(x), noisy.weigh(x))
    assert torch.equal(noisy.eval().weigh(x), noisy.weigh(x))
    assert torch.equal(quiet.weigh(x), quiet.weigh(x))
    torch.testing.assert_close(noisy.train().weigh(x).sum(dim=-1), torch.ones(2, 6))


def test_an_identity_still_learns():
    mixture = MixtureOfAdapters(8, hidden=4)
    mixture(torch.randn(2, 6, 8)).square().sum().backward()
    assert mixture.up.grad.abs().max() > 0
    assert mixture.bias.grad.abs().max() > 0


@pytest.mark.parametrize("wrong", [{"act": "tanh"}, {"init": "one"}, {"experts": 0}, {"hidden": 0}])
def test_a_value_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="not"):
        MixtureOfAdapters(8, **wrong)
