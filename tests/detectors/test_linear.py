"""The baselines: what each classifies, which parameters train, and cached features."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from deepscan.backbones.compact import CompactViT
from deepscan.backbones.effort import EffortLinear
from deepscan.detectors.detector import Batch
from deepscan.detectors.linear import Effort, FrozenLinearNetwork, Linear, LinearNetwork, UniFD, make_head
from deepscan.errors import ContractError, UsageError
from tests.backbones.tiny import without_gradient
from tests.detectors.tiny import BACKBONE, LABELS, small_backbone


def frozen(backbone, **arguments):
    return FrozenLinearNetwork(backbone.requires_grad_(False), **arguments)


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("kind", [LinearNetwork, frozen])
@pytest.mark.parametrize(("feature", "width"), [("cls", 16), ("projected", 12)])
def test_the_head_gets_the_chosen_feature(kind, feature, width, prefix, crops):
    network = kind(small_backbone(prefix), feature=feature).eval()
    tokens = network.backbone(crops)
    expected = tokens.cls if feature == "cls" else network.backbone.projection(tokens.cls)
    output = network(crops=crops)
    assert network.head[0].in_features == width
    torch.testing.assert_close(output.logits, network.head(expected))
    torch.testing.assert_close(output.explanation["attention"], tokens.attention[:, None])


def test_a_head_with_several_layers_is_a_perceptron():
    head = make_head(small_backbone(), "cls", 3)
    assert [type(step) for step in head] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [(step.in_features, step.out_features) for step in head[::2]] == [(16, 16), (16, 16), (16, 2)]


@pytest.mark.parametrize("feature", ["cls", "projected"])
@pytest.mark.parametrize("prefix", [0, 1])
def test_every_trainable_parameter_gets_a_gradient(feature, prefix, crops):
    network = LinearNetwork(small_backbone(prefix), feature)
    Linear().loss(network(crops), Batch({}, LABELS))[0].backward()
    assert not without_gradient(network)
    assert network.backbone.stem.weight.grad.abs().sum() > 0


def test_only_the_head_of_a_frozen_network_trains(crops):
    network = frozen(small_backbone())
    UniFD().loss(network(crops=crops), Batch({}, LABELS))[0].backward()
    assert {name for name, value in network.named_parameters() if value.grad is not None} == {
        "head.0.weight",
        "head.0.bias",
    }


def test_features_of_a_frozen_network_do_not_change_in_training(crops):
    # The compact backbone has batch norms, whose statistics would change in training.
    backbone = CompactViT(**{key: value for key, value in BACKBONE.items() if key != "name"})
    network = frozen(backbone)
    features, explanation = network.eval().extract(crops=crops)
    network.train()
    assert network.head.training
    in_training, _ = network.extract(crops=crops)
    assert torch.equal(network.extract(crops=crops)[0], features)
    assert torch.equal(in_training, features)
    torch.testing.assert_close(network.classify(features), network(crops=crops).logits)
    assert explanation["attention"].shape == (4, 1, 4)


def test_unifd_refuses_a_backbone_that_trains():
    with pytest.raises(UsageError, match=r"must not train: .* such as fft"):
        UniFD().build({"backbone": BACKBONE, "tuning": {"type": "fft"}})


def test_two_logits_learn_like_one_at_twice_the_rate(crops):
    """UniFD's docstring claims this of binary cross-entropy."""
    network = frozen(small_backbone())
    features, _ = network.extract(crops=crops)
    loss, _ = UniFD().loss(network(crops=crops), Batch({}, LABELS))
    loss.backward()
    head = network.head[0]
    weight = (head.weight[1] - head.weight[0]).detach().requires_grad_()
    logit = features @ weight + (head.bias[1] - head.bias[0]).detach()
    binary = F.binary_cross_entropy_with_logits(logit, LABELS.float())
    binary.backward()
    torch.testing.assert_close(loss, binary)
    torch.testing.assert_close(head.weight.grad[1] - head.weight.grad[0], 2 * weight.grad)


def test_a_published_head_with_one_logit_equals_ours_with_a_zero_row(crops):
    """UniFD's file has one row and a sigmoid; ours adds a row of zeros above it and uses a softmax."""
    network = frozen(small_backbone(), feature="projected").eval()
    row, bias = torch.randn(1, 12), torch.randn(1)
    state = {"head.0.weight": torch.cat((row * 0, row)), "head.0.bias": torch.cat((bias * 0, bias))}
    network.load_state_dict({**network.state_dict(), **state})
    features, _ = network.extract(crops=crops)
    expected = torch.sigmoid(F.linear(features, row, bias))[:, 0]
    torch.testing.assert_close(network.predict(crops=crops)["probability"], expected)


def test_a_published_residual_gives_the_same_logits_separate_or_folded(crops):
    """Effort's file holds the main part of each attention matrix and U, S and V of its residual."""
    settings = {"backbone": BACKBONE, "tuning": {"type": "effort", "rank": 1}}
    separate = Effort().build(settings).eval()
    plain = Effort().build({**settings, "tuning": {"type": "frozen"}}).eval()
    weights = plain.state_dict()
    for name, module in separate.backbone.named_modules():
        if isinstance(module, EffortLinear):
            n, m = module.main.shape
            published = torch.randn(n, m), torch.randn(n, 1), torch.randn(1), torch.randn(1, m)
            module.main.data, module.u.data, module.s.data, module.v.data = published
            main, u, s, v = published
            weights[f"backbone.{name}.weight"] = main + u @ torch.diag(s) @ v
    others = {name: value for name, value in separate.state_dict().items() if name in weights}
    plain.load_state_dict({**weights, **others})
    torch.testing.assert_close(plain(crops).logits, separate(crops).logits, rtol=1e-4, atol=1e-4)


def test_network_file_loads_a_runs_averaged_backbone_and_head(tmp_path):
    settings = {"backbone": BACKBONE}
    averaged, current = (Linear().build(settings).state_dict() for _ in range(2))
    both = {"average": averaged, "network": current}
    tensors = {f"{part}.{name}": value for part, state in both.items() for name, value in state.items()}
    save_file(tensors, tmp_path / "last.safetensors")
    loaded = Linear().build(settings, f"network:{tmp_path / 'last.safetensors'}").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in averaged.items())
    backbone_only = Linear().build(settings, str(tmp_path / "last.safetensors")).state_dict()
    assert not torch.equal(backbone_only["head.0.weight"], averaged["head.0.weight"])
    with pytest.raises(ContractError, match=r"the head in .*last"):
        Linear().build({**settings, "layers": 2}, f"network:{tmp_path / 'last.safetensors'}")


@pytest.mark.parametrize("wrong", [{"feature": "patches"}, {"layers": 0}])
def test_an_invalid_head_is_a_usage_error(wrong):
    with pytest.raises(UsageError, match="choose from"):
        Linear().build({"backbone": BACKBONE, **wrong})
