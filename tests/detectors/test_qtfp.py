"""QTFP: its network, switches and total loss."""

import pytest
import torch
from torch import nn

from deepscan.detectors.detector import Batch
from deepscan.detectors.qtfp import Qtfp, QtfpNetwork, QueryPooling
from deepscan.errors import UsageError
from tests.backbones.tiny import without_gradient
from tests.detectors.tiny import BACKBONE, LABELS, small_backbone

FUSIONS = ("global", "cls", "avg", "weighted", "concat")


def test_pooling_ignores_the_patches_order_and_averages_the_queries():
    pooling, patches = QueryPooling(16, 3, 4).eval(), torch.randn(2, 9, 16)
    feature, weights = pooling(patches)
    order = torch.randperm(9)
    shuffled_feature, shuffled_weights = pooling(patches[:, order])
    # The same sums in a different order: units in the last place of float32.
    torch.testing.assert_close(shuffled_feature, feature, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shuffled_weights, weights[:, :, order], atol=1e-6, rtol=1e-5)
    features = torch.stack([_with_query(pooling, index)(patches)[0] for index in range(3)])
    torch.testing.assert_close(features.mean(0), feature, atol=1e-6, rtol=1e-5)


def _with_query(pooling, index):
    single = QueryPooling(16, 1, 4).eval()
    single.attention.load_state_dict(pooling.attention.state_dict())
    single.queries.data = pooling.queries.data[index : index + 1]
    return single


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_fusion_classifies_its_feature(fusion):
    network = QtfpNetwork(small_backbone(), queries=3, heads=2, fusion=fusion).eval()
    output = network(torch.randn(2, 3, 32, 32))
    cls = output.tokens.cls
    both = [cls] if fusion == "cls" else [cls, output.pooled]
    classified = {
        "global": lambda: output.pooled,
        "cls": lambda: cls,
        "avg": lambda: torch.stack(both).mean(0),
        "weighted": lambda: torch.stack(both).mean(0),  # the learnt weights start equal
        "concat": lambda: torch.cat(both, dim=1),
    }[fusion]()
    assert network.head.in_features == (32 if fusion == "concat" else 16)
    torch.testing.assert_close(output.logits, network.head(classified))


def test_the_weights_of_the_weighted_mean_sum_to_one():
    network = QtfpNetwork(small_backbone(), queries=3, heads=2, fusion="weighted").eval()
    network.mix.data = torch.tensor([1.0, -1.0])
    output = network(torch.randn(2, 3, 32, 32))
    share = torch.sigmoid(torch.tensor(2.0))
    mixed = share * output.tokens.cls + (1 - share) * output.pooled
    torch.testing.assert_close(output.logits, network.head(mixed))


def test_without_queries_the_explanation_is_the_cls_tokens_attention():
    network = QtfpNetwork(small_backbone(), fusion="cls").eval()
    output = network(torch.randn(2, 3, 32, 32))
    assert network.pooling is None
    assert output.pooled is None
    assert torch.equal(output.explanation["attention"][:, 0], output.tokens.attention)


def test_norm_before_gives_the_final_norms_input():
    backbone = small_backbone().eval()
    crops = torch.randn(2, 3, 32, 32)
    nn.init.normal_(backbone.ln_post.weight)
    before = QtfpNetwork(backbone, 3, 2, norm="before").eval()(crops)
    after = QtfpNetwork(backbone, 3, 2, norm="after").eval()(crops)
    torch.testing.assert_close(backbone.ln_post(before.tokens.patches), after.tokens.patches)
    assert not torch.allclose(before.tokens.patches, after.tokens.patches)
    assert torch.equal(before.tokens.cls, after.tokens.cls)


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("norm", ["before", "after"])
def test_every_trainable_parameter_gets_a_gradient(prefix, fusion, norm, crops):
    detector = Qtfp(alignment="none" if fusion == "cls" else "attention")
    network = QtfpNetwork(small_backbone(prefix), 2, 2, fusion, norm)
    total, _ = detector.loss(network(crops), Batch({}, LABELS))
    total.backward()
    assert not without_gradient(network)
    assert network.head.weight.grad.abs().sum() > 0
    assert network.backbone.stem.weight.grad.abs().sum() > 0


def test_an_unknown_fusion_or_norm_is_a_usage_error():
    for wrong in ({"fusion": "sum"}, {"norm": "none"}):
        with pytest.raises(UsageError, match="choose from"):
            Qtfp().build({"backbone": BACKBONE, "queries": 3, "heads": 2, **wrong})


def _loss(detector, masks=None, **network):
    output = QtfpNetwork(small_backbone(), 3, 2, **network)(torch.randn(4, 3, 32, 32))
    return detector.loss(output, Batch({}, LABELS, masks))


def test_the_total_is_the_weighted_sum():
    total, parts = _loss(Qtfp(lambda_flcl=0.3, lambda_raal=0.7))
    torch.testing.assert_close(total, parts["cls"] + 0.3 * parts["flcl"] + 0.7 * parts["raal"])
    assert (Qtfp().lambda_flcl, Qtfp().lambda_raal) == (0.14, 1.0)
    assert parts["snr"] > 0


def test_each_switch_changes_only_its_part():
    masks = torch.ones(4, 32, 32)
    torch.manual_seed(1)
    default = _loss(Qtfp())[1]
    changed = {
        "flcl": {"weighting": "softmax"},
        "raal": {"alignment_metric": "l1"},
        "macl": {"contrast": "macl"},
        "token": {"alignment": "token"},
    }
    for part, setting in changed.items():
        torch.manual_seed(1)
        total, parts = _loss(Qtfp(**setting), masks)
        assert parts[part] != default.get(part)
        assert [name for name in default if name in parts and parts[name] != default[name]] == (
            [part] if part in default else []
        )
        weight = 0.14 if part in {"flcl", "macl"} else 1.0
        other = next(name for name in parts if name not in {"cls", "snr", part})
        rest = parts["cls"] + (1.14 - weight) * parts[other]
        torch.testing.assert_close(total, rest + weight * parts[part])


def test_only_macl_needs_masks():
    assert Qtfp(contrast="macl").wants_masks
    assert not Qtfp().wants_masks


def test_without_contrast_and_alignment_the_loss_is_the_cross_entropy():
    total, parts = _loss(Qtfp(contrast="none", alignment="none"))
    assert set(parts) == {"cls", "snr"}
    assert total == parts["cls"]


def test_a_loss_part_without_its_inputs_is_refused():
    with pytest.raises(UsageError, match="mask") as raised:
        _loss(Qtfp(contrast="macl"))
    assert "faces.csv" in raised.value.hint
    for alignment in ("attention", "token"):
        with pytest.raises(UsageError, match="without queries"):
            _loss(Qtfp(alignment=alignment), fusion="cls")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tau": 0.0},
        {"tau_w": -1.0},
        {"max_anchor_tokens": 0},
        {"contrast": "supcon"},
        {"weighting": "linear"},
        {"alignment": "cls"},
        {"alignment_metric": "l3"},
    ],
)
def test_a_setting_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError) as raised:
        Qtfp(**wrong)
    assert "loss." in raised.value.hint
