"""The mixture of adapters."""

import pytest
import torch
import torch.nn.functional as F

from deepscan.detectors.dfd_hr_adapters import MixtureOfAdapters
from tests.backbones.tiny import count


def by_formula(mixture, x):
    """Compute the mixture by its formula, expert by expert."""
    weights = torch.softmax(mixture.gate(x), dim=-1)
    downs, biases = mixture.down.weight.chunk(mixture.experts), mixture.down.bias.chunk(mixture.experts)
    total = x
    for number in range(mixture.experts):
        hidden = mixture.act(F.linear(x, downs[number], biases[number]))
        total = total + weights[..., number : number + 1] * (
            hidden @ mixture.up[number] + mixture.bias[number]
        )
    return total


def test_a_mixture_of_the_papers_size_has_the_published_parameters():
    with torch.device("meta"):
        mixture = MixtureOfAdapters(1024, experts=4, hidden=256)
    assert count(mixture) == 2_106_372


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_the_concatenated_experts_match_the_formula(act):
    mixture = MixtureOfAdapters(8, experts=3, hidden=5, act=act, init="default").eval()
    x = torch.randn(2, 6, 8)
    # The same few float32 products, summed in a different order.
    torch.testing.assert_close(mixture(x), by_formula(mixture, x), rtol=1e-5, atol=1e-6)


def test_a_new_mixture_is_the_identity_unless_init_is_default():
    x = torch.randn(2, 6, 8)
    assert torch.equal(MixtureOfAdapters(8, hidden=4)(x), x)
    assert not torch.equal(MixtureOfAdapters(8, hidden=4, init="default")(x), x)


def test_an_expert_is_initialised_like_a_linear_layer_of_its_width():
    mixture = MixtureOfAdapters(64, experts=4, hidden=16, init="default")
    assert 0.24 < mixture.up.abs().max() <= 0.25
    assert mixture.bias.abs().max() <= 0.25


def test_the_gate_is_noisy_only_in_training_and_only_if_noise_is_on():
    x = torch.randn(2, 6, 8)
    noisy, quiet = MixtureOfAdapters(8, hidden=4), MixtureOfAdapters(8, hidden=4, noise=False)
    assert not torch.equal(noisy.gate_weights(x), noisy.gate_weights(x))
    assert torch.equal(noisy.eval().gate_weights(x), noisy.gate_weights(x))
    assert torch.equal(quiet.gate_weights(x), quiet.gate_weights(x))
    torch.testing.assert_close(noisy.train().gate_weights(x).sum(dim=-1), torch.ones(2, 6))


def test_a_mixture_that_starts_as_the_identity_gets_gradients():
    mixture = MixtureOfAdapters(8, hidden=4)
    mixture(torch.randn(2, 6, 8)).square().sum().backward()
    assert mixture.up.grad.abs().max() > 0
    assert mixture.bias.grad.abs().max() > 0


@pytest.mark.parametrize("wrong", [{"act": "tanh"}, {"init": "one"}, {"experts": 0}, {"hidden": 0}])
def test_a_value_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="not"):
        MixtureOfAdapters(8, **wrong)
