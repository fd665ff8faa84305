"""The baselines: what each classifies, what of it trains, and what a cache may stand for."""

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


def frozen(backbone, **settings):
    return FrozenLinearNetwork(backbone.requires_grad_(False), **settings)


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("kind", [LinearNetwork, frozen])
@pytest.mark.parametrize(("feature", "width"), [("cls", 16), ("projected", 12)])
def test_the_head_sees_the_feature_that_it_says(kind, feature, width, prefix, crops):
    network = kind(small_backbone(prefix), feature=feature).eval()
    tokens = network.backbone(crops)
    seen = tokens.cls if feature == "cls" else network.backbone.projection(tokens.cls)
    output = network(crops=crops)
    assert network.head[0].in_features == width
    torch.testing.assert_close(output.logits, network.head(seen))
    torch.testing.assert_close(output.explanation["attention"], tokens.attention[:, None])


def test_a_head_of_more_layers_is_a_perceptron():
    head = make_head(small_backbone(), "cls", 3)
    assert [type(step) for step in head] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [(step.in_features, step.out_features) for step in head[::2]] == [(16, 16), (16, 16), (16, 2)]


@pytest.mark.parametrize("feature", ["cls", "projected"])
@pytest.mark.parametrize("prefix", [0, 1])
def test_all_that_trains_has_a_gradient(feature, prefix, crops):
    network = LinearNetwork(small_backbone(prefix), feature)
    Linear().loss(network(crops), Batch({}, LABELS))[0].backward()
    assert not without_gradient(network)
    assert network.backbone.stem.weight.grad.abs().sum() > 0


def test_of_a_frozen_network_the_head_alone_trains(crops):
    network = frozen(small_backbone())
    UniFD().loss(network(crops=crops), Batch({}, LABELS))[0].backward()
    assert {name for name, value in network.named_parameters() if value.grad is not None} == {
        "head.0.weight",
        "head.0.bias",
    }


def test_features_of_a_frozen_network_stand_for_the_crops_while_it_trains(crops):
    # The compact backbone has batch norms, whose statistics would move in training.
    backbone = CompactViT(**{key: value for key, value in BACKBONE.items() if key != "name"})
    network = frozen(backbone)
    features, explanation = network.eval().extract(crops=crops)
    network.train()
    assert network.head.training
    again, _ = network.extract(crops=crops)
    assert torch.equal(network.extract(crops=crops)[0], features)
    assert torch.equal(again, features)
    torch.testing.assert_close(network.classify(features), network(crops=crops).logits)
    assert explanation["attention"].shape == (4, 1, 4)


def test_a_backbone_that_trains_cannot_be_cached():
    with pytest.raises(UsageError, match=r"must not train: .* such as fft"):
        UniFD().build({"backbone": BACKBONE, "tuning": {"type": "fft"}})


def test_two_logits_are_one_logit_of_twice_the_rate(crops):
    """The claim that UniFD's docstring makes of binary cross-entropy."""
    network = frozen(small_backbone())
    features, _ = network.extract(crops=crops)
    loss, _ = UniFD().loss(network(crops=crops), Batch({}, LABELS))
    loss.backward()
    head = network.head[0]
    one = (head.weight[1] - head.weight[0]).detach().requires_grad_()
    logit = features @ one + (head.bias[1] - head.bias[0]).detach()
    binary = F.binary_cross_entropy_with_logits(logit, LABELS.float())
    binary.backward()
    torch.testing.assert_close(loss, binary)
    torch.testing.assert_close(head.weight.grad[1] - head.weight.grad[0], 2 * one.grad)


def test_a_published_head_of_one_logit_is_one_of_two_beside_zero(crops):
    """UniFD's file holds one row and a sigmoid; ours is a row of zeros above it and a softmax."""
    network = frozen(small_backbone(), feature="projected").eval()
    row, bias = torch.randn(1, 12), torch.randn(1)
    state = {"head.0.weight": torch.cat((row * 0, row)), "head.0.bias": torch.cat((bias * 0, bias))}
    network.load_state_dict({**network.state_dict(), **state})
    seen, _ = network.extract(crops=crops)
    expected = torch.sigmoid(F.linear(seen, row, bias))[:, 0]
    torch.testing.assert_close(network.predict(crops=crops)["probability"], expected)


def test_a_published_residual_is_its_matrix_whether_held_apart_or_folded(crops):
    """Effort's file holds, of each matrix of attention, the main part and U, S and V of the residual."""
    stated = {"backbone": BACKBONE, "tuning": {"type": "effort", "rank": 1}}
    apart = Effort().build(stated).eval()
    plain = Effort().build({**stated, "tuning": {"type": "frozen"}}).eval()
    weights = plain.state_dict()
    for name, module in apart.backbone.named_modules():
        if isinstance(module, EffortLinear):
            out, inward = module.main.shape
            published = torch.randn(out, inward), torch.randn(out, 1), torch.randn(1), torch.randn(1, inward)
            module.main.data, module.u.data, module.s.data, module.v.data = published
            main, u, s, v = published
            weights[f"backbone.{name}.weight"] = main + u @ torch.diag(s) @ v
    others = {name: value for name, value in apart.state_dict().items() if name in weights}
    plain.load_state_dict({**weights, **others})
    torch.testing.assert_close(plain(crops).logits, apart(crops).logits, rtol=1e-4, atol=1e-4)


def test_a_whole_network_is_taken_from_a_run_its_averaged_weights_and_its_head(tmp_path):
    stated = {"backbone": BACKBONE}
    averaged, present = (Linear().build(stated).state_dict() for _ in range(2))
    both = {"average": averaged, "network": present}
    named = {f"{part}.{name}": value for part, state in both.items() for name, value in state.items()}
    save_file(named, tmp_path / "last.safetensors")
    found = Linear().build(stated, f"network:{tmp_path / 'last.safetensors'}").state_dict()
    assert all(torch.equal(found[name], value) for name, value in averaged.items())
    alone = Linear().build(stated, str(tmp_path / "last.safetensors")).state_dict()
    assert not torch.equal(alone["head.0.weight"], averaged["head.0.weight"])
    with pytest.raises(ContractError, match=r"the head in .*last"):
        Linear().build({**stated, "layers": 2}, f"network:{tmp_path / 'last.safetensors'}")


@pytest.mark.parametrize("wrong", [{"feature": "patches"}, {"layers": 0}])
def test_a_head_that_cannot_be_is_a_usage_error(wrong):
    with pytest.raises(UsageError, match="choose from"):
        Linear().build({"backbone": BACKBONE, **wrong})
