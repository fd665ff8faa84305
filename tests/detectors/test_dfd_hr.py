"""DFD-HR: the presets' sizes, the two scales, the loss, every switch, and the recipe."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import nn

from deepscan.backbones.weights import build_backbone
from deepscan.detectors.detector import Batch
from deepscan.detectors.dfd_hr import DfdHr, DfdHrNetwork, DfdHrOutput, halved, rank_loss, tiles_of
from deepscan.detectors.dfd_hr_routing import Ranking
from deepscan.detectors.dfd_hr_settings import PRESETS, Settings
from deepscan.errors import ContractError, UsageError
from deepscan.training.recipe import load_recipe
from tests.backbones.tiny import count
from tests.detectors import tiny

#: 2 x 2 patches in each tile and in the whole crop.
BACKBONE = {**tiny.BACKBONE, "residuals": [0, 0, 0], "depth": 5}
TINY = {"backbone": BACKBONE, "hidden": 4, "judge_hidden": 16}
LABELS = torch.tensor([0, 1] * 3)


def build(**settings):
    torch.manual_seed(0)
    return DfdHr().build({**TINY, **settings})


@pytest.fixture
def crops():
    return torch.randn(len(LABELS), 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def large():
    """A ViT-L/14 on the meta device."""
    with torch.device("meta"):
        return build_backbone({"name": "clip-vit-l14"})


@pytest.mark.parametrize(
    ("preset", "parameters", "routed", "frozen"),
    [
        ("paper", 103_738_566, (20, 21, 22, 23), 0),
        # Layer judges of 24 blocks, and token judges of the 21 that are not routed, have no gradient.
        ("release", 105_071_042, (20, 21, 22), 24 * (1024 * 64 + 64) + 21 * 1024),
    ],
)
def test_the_presets_have_the_published_parameters_and_blocks(large, preset, parameters, routed, frozen):
    with torch.device("meta"):
        network = DfdHrNetwork(large, preset)
    own = [value for name, value in network.named_parameters() if not name.startswith("backbone.")]
    assert sum(value.numel() for value in own) == parameters
    assert sum(value.numel() for value in own if not value.requires_grad) == frozen
    assert network.branch.routed == routed


def test_routed_blocks_process_192_of_257_tokens_and_the_others_all(large):
    shapes = []
    handles = [
        block.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[:2])))
        for block in large.blocks
    ]
    with torch.device("meta"):
        network = DfdHrNetwork(large).eval().exportable()
        network(torch.empty(2, 3, 448, 448))
    for handle in handles:
        handle.remove()
    assert shapes == [(2, 257)] * 20 + [(2, 192)] * 4 + [(8, 257)] * 20 + [(8, 192)] * 4


def test_tiles_are_in_reading_order_and_the_batch_is_the_fastest_index():
    crop = torch.arange(16.0).reshape(1, 1, 4, 4)
    tiles = tiles_of(torch.cat((crop, -crop)))
    assert tiles.shape == (8, 1, 2, 2)
    assert tiles[0::2, 0, 0, 0].tolist() == [0, 2, 8, 10]
    assert torch.equal(tiles[1::2], -tiles[0::2])
    assert tiles[6, 0].tolist() == [[10, 11], [14, 15]]


def test_halving_matches_torchs_bicubic_without_antialiasing(crops):
    half = F.interpolate(crops, size=(32, 32), mode="bicubic", align_corners=False, antialias=False)
    # The same sixteen products, summed in a different order.
    torch.testing.assert_close(halved(crops), half, rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["query", "self"])
def test_a_new_network_without_routing_equals_its_backbone_at_two_scales(crops, pooling):
    network = build(keep=1.0, reweight="none", judge_bias=50.0, pooling=pooling).eval()
    small = F.interpolate(crops, size=(32, 32), mode="bicubic", align_corners=False, antialias=False)
    whole = network.backbone(small).cls
    tiles = torch.stack([network.backbone(tile).cls for tile in tiles_of(crops).chunk(4)], dim=1)
    queries = tiles if pooling == "self" else network.pooling.query.expand(len(crops), 1, 16)
    local = network.pooling.attention(queries, tiles, tiles)[0].mean(dim=1)
    output = network(crops)
    # The same products in batches of other sizes.
    torch.testing.assert_close(
        output.logits, network.head(torch.cat((whole, local), dim=1)), rtol=0, atol=1e-5
    )
    assert output.depth.tolist() == [5.0] * len(crops)
    assert output.kept.shape == (len(crops), 4, 4)
    assert output.kept.all()


@pytest.mark.parametrize("side", [32, 96])
def test_crops_of_another_side_are_refused(side):
    network = build()
    assert network.side == 64
    with pytest.raises(ContractError, match="twice") as raised:
        network(torch.zeros(1, 3, side, side))
    assert "crop.resize: 64" in raised.value.hint


def test_layer_and_token_judges_get_a_gradient(crops):
    network = build().train()
    torch.manual_seed(2)
    total, _ = DfdHr().loss(network(crops), Batch({}, LABELS))
    total.backward()
    for judges in (network.branch.layer_judges, network.branch.token_judges):
        assert len(judges) == 4
        for name, parameter in judges.named_parameters():
            assert parameter.grad.abs().max() > 0, name


def test_the_rank_loss_alone_trains_every_token_judge(crops):
    network = build(reweight="none", judge_bias=50.0).train()
    sum(rank_loss(ranking, 0.1) for ranking in network(crops).rankings).backward()
    for name, parameter in network.branch.token_judges.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_tiles_tokens_are_compared_with_the_cls_token_of_their_own_crop(crops):
    network = build(gate_noise=False, judge_bias=50.0).train()
    together = torch.stack([ranking.target for ranking in network(crops).rankings])
    by_tile = together.unflatten(1, (4, len(crops)))
    alone = torch.stack(
        [torch.stack([ranking.target for ranking in network(crop[None]).rankings]) for crop in crops], dim=2
    )
    # The same products in batches of other sizes; cosines of two crops differ by more.
    torch.testing.assert_close(by_tile, alone, rtol=0, atol=1e-5)
    assert (alone[:, :, 0] - alone[:, :, 1]).abs().mean() > 1e-2


class HalfExit(nn.Module):
    """A layer judge that lets samples below the batch's mean exit."""

    def forward(self, inputs):
        level = inputs.sum(dim=1)
        return level - level.mean()


@torch.no_grad()
@pytest.mark.parametrize("preset", PRESETS)
def test_the_exportable_form_gives_the_same_outputs(crops, preset):
    network = build(preset=preset).eval()
    for name in network.branch.layer_judges:
        network.branch.layer_judges[name] = HalfExit()
    skipped, masked = network.predict(crops=crops), network.exportable().predict(crops=crops)
    assert set(skipped) == {"probability", "depth", "kept"}
    for name, values in skipped.items():
        torch.testing.assert_close(values, masked[name], rtol=0, atol=1e-5)
    assert len(set(skipped["depth"].tolist())) > 1
    assert not network.masked


def test_the_loss_is_cross_entropy_plus_a_tenth_of_the_mean_rank_loss():
    torch.manual_seed(0)
    rankings = tuple(
        Ranking(torch.randn(4, 9), torch.randn(4, 9), torch.tensor([True, False, True, False]))
        for _ in range(3)
    )
    depth, kept = torch.tensor([1.0, 2.0, 5.0, 3.0]), torch.tensor([1.0, 0.0]).expand(4, 1, 2)
    output = DfdHrOutput(torch.randn(4, 2), depth, kept, rankings, hard_ranks=True)
    labels = torch.tensor([0, 0, 1, 1])
    total, parts = DfdHr().loss(output, Batch({}, labels))
    rho = [
        spearmanr(ranking.scores[row], ranking.target[row]).statistic
        for ranking in rankings
        for row in (0, 2)
    ]
    # Float32 sums of a few numbers.
    assert parts["rank"].item() == pytest.approx(1 - sum(rho) / 6, abs=1e-5)
    assert total.item() == pytest.approx(
        F.cross_entropy(output.logits, labels).item() + 0.1 * parts["rank"].item(), abs=1e-6
    )
    assert (parts["depth_real"], parts["depth_fake"], parts["kept"]) == (1.5, 4.0, 0.5)
    assert math.isnan(DfdHr().loss(output, Batch({}, torch.zeros(4, dtype=torch.int64)))[1]["depth_fake"])


def test_the_rank_loss_and_its_gradient_are_zero_if_all_have_exited():
    scores = torch.randn(3, 9, requires_grad=True)
    loss = rank_loss(Ranking(scores, torch.randn(3, 9), torch.zeros(3, dtype=torch.bool)), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


SWITCHES = [
    {},
    {"preset": "release"},
    {"preset": "release", "ranks": "soft", "layer_gate": "blend"},
    {"split": False},
    {"share_branches": False},
    {"routed": "split"},
    {"routed": "split", "share_branches": False},
    {"pooling": "self"},
    {"experts": 0, "tuning": {"type": "fft"}},
    {"experts": 2, "act": "relu", "gate_noise": False, "adapter_init": "default"},
    {"hr_blocks": [0, 2]},
    {"pruning": False},
    {"pruning": False, "selection": "none"},
    {"layer_gate": "index"},
    {"gumbel": "logistic", "gumbel_tau": 0.5},
    {"gumbel": "none"},
    {"judge_input": "mean"},
    {"judge_bias": "none"},
    {"share_layer_judges": True},
    {"share_token_judges": True},
    {"selection": "learned+weight"},
    {"selection": "attention"},
    {"selection": "none"},
    {"candidates": "patches"},
    {"reweight": "pre"},
    {"reweight": "none"},
    {"rank_blocks": [-1]},
    {"ranks": "hard"},
    {"reweight": "none", "ranks": "hard"},
    {"reweight": "none", "rank_blocks": [-2]},
    {"reweight": "none", "share_token_judges": True},
    {"reweight": "none", "share_branches": False},
    {"reweight": "none", "split": False},
]


@pytest.mark.parametrize("settings", SWITCHES, ids=str)
def test_every_switch_builds_trains_and_evaluates(crops, settings):
    network = build(**settings).train()
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimiser = torch.optim.Adam(trained.values(), 1e-2)
    for _ in range(2):  # in the first step, parameters before a zero matrix have a zero gradient
        total, parts = DfdHr().loss(network(crops), Batch({}, LABELS))
        optimiser.zero_grad()
        total.backward()
        # Distributed training waits for every gradient.
        assert not [name for name, value in trained.items() if value.grad is None]
        optimiser.step()
    assert all(torch.isfinite(part) for part in parts.values())
    for name, value in network.named_parameters():
        assert value.requires_grad or torch.equal(value, before[name]), name
    predicted = network.eval().predict(crops=crops)
    assert predicted["kept"].shape == (len(crops), len(network.branch.routed), 4)
    with torch.no_grad():
        masked = network.exportable().predict(crops=crops)
    for name, values in predicted.items():
        torch.testing.assert_close(values, masked[name], rtol=0, atol=1e-5)


@torch.no_grad()
def test_run_global_gives_the_routing_of_the_full_network(crops):
    network = build().eval()
    for name in network.branch.layer_judges:
        network.branch.layer_judges[name] = HalfExit()
    output, routed = network(crops), network.run_global(crops)
    assert len(set(output.depth.tolist())) > 1
    assert torch.equal(routed.depth, output.depth)
    assert torch.equal(routed.kept, output.kept)


def test_separate_branches_share_only_the_backbone():
    shared, separate = build(), build(share_branches=False)
    assert count(separate) - count(shared) == count(shared.branch)
    split_only = build(share_branches=False, routed="split")
    assert len(split_only.branch.layer_judges) == len(split_only.branch.token_judges) == 0
    assert len(split_only.branch.adapters) == len(split_only.split_branch.adapters) == 5


def test_with_routed_split_only_tiles_are_routed(crops):
    network = build(routed="split", share_branches=False, judge_bias=-50.0).eval()
    output = network(crops)
    assert output.depth.tolist() == [5.0] * len(crops)
    assert output.kept.all()
    rows = []
    handle = network.backbone.blocks[4].register_forward_pre_hook(
        lambda _, inputs: rows.append(len(inputs[0]))
    )
    network(crops)
    handle.remove()
    assert rows == [len(crops)]


@pytest.mark.parametrize("wrong", [{"preset": "best"}, {"hr_blocks": [7]}, {"keep": 2}, {"heads": 3}])
def test_a_wrong_value_of_the_network_is_a_usage_error(wrong):
    with pytest.raises(UsageError):
        build(**wrong)


def test_a_temperature_of_zero_is_a_usage_error():
    with pytest.raises(UsageError, match="temperature"):
        DfdHr(soft_rank_tau=0)


def test_the_recipe_has_every_setting_and_null_for_those_of_presets():
    recipe = load_recipe("dfd-hr")
    settings = {
        name: value for name, value in recipe.network.items() if name not in ("backbone", "tuning", "preset")
    }
    assert set(settings) == {field.name for field in dataclasses.fields(Settings)}
    assert {name for name, value in settings.items() if value is None} == set(PRESETS["release"])
    defaults = dataclasses.asdict(Settings())
    assert all(value == defaults[name] for name, value in settings.items() if value is not None)
    assert recipe.loss == dataclasses.asdict(DfdHr())
    assert recipe.crop.input_side == 448
    released = load_recipe("dfd-hr", overrides=["network.preset=release", "network.hr_blocks=[-3,-2]"])
    assert released.network["hr_blocks"] == [-3, -2]


def test_a_step_in_bfloat16_is_finite_with_hard_decisions(crops):
    network = build().train()
    with torch.autocast("cpu", torch.bfloat16):
        output = network(crops)
    total, parts = DfdHr().loss(output, Batch({}, LABELS))
    total.backward()
    assert all(torch.isfinite(part) for part in parts.values())
    assert (output.depth == output.depth.round()).all()
    assert set(output.kept.unique().tolist()) <= {0.0, 1.0}
