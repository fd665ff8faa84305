"""Which samples exit a routed backbone and which tokens stay, compared with a loop over both."""

import math

import pytest
import torch
from torch import nn

from deepscan.backbones.attention import Rotary
from deepscan.backbones.vit import VisionTransformer
from deepscan.detectors.dfd_hr_routing import Branch, LayerJudge, decide, top_indices
from deepscan.detectors.dfd_hr_settings import PRESETS, Settings, settings_of
from tests.backbones.tiny import count

SAMPLES = 6
#: Blocks 1 and 2 are routed; blocks 0 and 3 run for all samples.
ROUTED = (1, 2)


class Forced(nn.Module):
    """A layer judge with fixed decisions."""

    def __init__(self, stays):
        super().__init__()
        self.stays = torch.tensor(stays)

    def forward(self, inputs):
        return torch.where(self.stays, 50.0, -50.0)


@pytest.fixture
def backbone():
    """A backbone of 4 x 4 patches with rotary positions, a CLS token and two registers."""
    torch.manual_seed(0)
    backbone = VisionTransformer(
        nn.Conv2d(3, 16, 4, 4),
        side=16,
        grid=4,
        width=16,
        depth=4,
        heads=2,
        hidden=16,
        prefix=3,
        rotary=Rotary(),
    )
    angles = torch.randn(1, 16, 4).repeat(1, 1, 2)
    backbone.rotary[:, 3:] = torch.cat((angles.sin(), angles.cos()), dim=-1)
    return backbone


@pytest.fixture
def pictures():
    return torch.randn(SAMPLES, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def branch_of(backbone, *stays, **settings):
    """Build a branch whose experts are not the identity, with forced layer judges where given."""
    torch.manual_seed(3)
    settings = {"hidden": 4, "judge_hidden": 4, "adapter_init": "default", "hr_blocks": ROUTED, **settings}
    branch = Branch(backbone, Settings(**settings)).eval()
    for number, decisions in zip(ROUTED, stays, strict=False):
        branch.layer_judges[str(number)] = Forced(decisions)
    return branch


def run(branch, backbone, pictures, **arguments):
    """Return the branch's output, and the tokens that enter the last block."""
    entering = []
    handle = backbone.blocks[3].register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
    output = branch(backbone, pictures, **arguments)
    handle.remove()
    return output, entering[0]


def by_loop(branch, backbone, pictures):
    """Return the tokens that should enter the last block, and those that routed blocks should process."""
    settings, tokens, processed = branch.settings, [], []
    for picture in pictures:
        x = backbone.blocks[0](backbone.embed(picture[None]), backbone.rotary, branch._adapters(0))
        stays, rows = True, []
        for number in ROUTED:
            stays = stays and branch.layer_judges[str(number)](x[:, 0]).item() > 0
            first = 0 if settings.candidates == "all" else 3
            scores = branch.token_judges[str(number)](x)[0, first:, 0]
            best = sorted(range(len(scores)), key=lambda i: -scores[i].item())[: int(0.75 * len(scores))]
            selected = [*range(first), *sorted(first + i for i in best)] if stays else []
            rows.append([float(i in selected) for i in range(3, 19)])
            if not stays:
                continue
            weights = torch.ones(len(selected), 1)
            weights[first:, 0] += torch.softmax(scores[[i - first for i in selected[first:]]], dim=0)
            part = x[:, selected] * weights if settings.reweight == "pre" else x[:, selected]
            part = backbone.blocks[number](part, backbone.rotary[:, selected], branch._adapters(number))
            x = x.clone()
            x[:, selected] = part * weights if settings.reweight == "post" else part
        tokens.append(x)
        processed.append(rows)
    return torch.cat(tokens), torch.tensor(processed)


@torch.no_grad()
@pytest.mark.parametrize("reweight", ["post", "pre", "none"])
@pytest.mark.parametrize("candidates", ["all", "patches"])
def test_routing_matches_a_loop_over_samples_and_tokens(backbone, pictures, reweight, candidates):
    branch = branch_of(backbone, reweight=reweight, candidates=candidates, judge_bias=0.0)
    # Some samples exit at each routed block and some at none.
    x = backbone.embed(pictures)
    for number in (0, *ROUTED):
        if number in ROUTED:
            judge = branch.layer_judges[str(number)]
            judge.bias -= judge(x[:, 0]).sort().values[number : number + 2].mean()
        x = backbone.blocks[number](x, backbone.rotary, branch._adapters(number))
    tokens, processed = by_loop(branch, backbone, pictures)
    output, entering = run(branch, backbone, pictures)
    assert set(output.depth.tolist()) == {2, 3, 4}
    torch.testing.assert_close(entering, tokens, rtol=0, atol=1e-5)
    assert torch.equal(output.kept, processed)


EXITS = {
    "some": ([True, False, True, False, True, False], [True, True, False, True, False, False]),
    "all": ([False] * SAMPLES, [True] * SAMPLES),
    "none": ([True] * SAMPLES, [True] * SAMPLES),
}


@torch.no_grad()
@pytest.mark.parametrize("exits", EXITS)
@pytest.mark.parametrize("selection", ["learned", "learned+weight", "attention", "none"])
def test_skipping_exited_samples_gives_the_same_as_masking_them(backbone, pictures, exits, selection):
    branch = branch_of(backbone, *EXITS[exits], selection=selection)
    query = torch.randn(SAMPLES, 16)
    skipped, skipped_tokens = run(branch, backbone, pictures, query=query)
    masked, masked_tokens = run(branch, backbone, pictures, query=query, masked=True)
    torch.testing.assert_close(skipped.cls, masked.cls, rtol=0, atol=1e-5)
    torch.testing.assert_close(skipped_tokens, masked_tokens, rtol=0, atol=1e-5)
    assert torch.equal(skipped.kept, masked.kept)
    assert torch.equal(skipped.depth, masked.depth)
    first, second = (torch.tensor(stays).float() for stays in EXITS[exits])
    assert torch.equal(skipped.depth, 2 + first + first * second)


@torch.no_grad()
@pytest.mark.parametrize("form", ["skipped", "masked", "training"])
def test_tokens_that_a_block_does_not_process_are_bitwise_unchanged(backbone, pictures, form):
    branch = branch_of(backbone, [True, False] * 3, [False] * SAMPLES, gate_noise=False, candidates="patches")
    before = backbone.blocks[0](backbone.embed(pictures), backbone.rotary, branch._adapters(0))
    branch.train(form == "training")
    output, entering = run(branch, backbone, pictures, masked=form != "skipped")
    processed = torch.cat((output.kept[:, 0, :1].expand(-1, 3), output.kept[:, 0]), dim=1) > 0
    processed[:, :3] = torch.tensor([True, False] * 3)[:, None]
    assert processed.sum(dim=1).tolist() == [3 + 12, 0] * 3
    assert torch.equal(entering[~processed], before[~processed])
    assert (entering[processed] != before[processed]).any(dim=1).all()


@torch.no_grad()
def test_an_exited_sample_is_not_computed(backbone, pictures):
    branch = branch_of(backbone, [True, False] * 3, [True, True, False, False, False, False])
    rows = []
    handles = [
        block.register_forward_pre_hook(lambda _, inputs: rows.append(tuple(inputs[0].shape[:2])))
        for block in backbone.blocks
    ]
    branch(backbone, pictures)
    assert rows == [(6, 19), (3, 14), (1, 14), (6, 19)]
    rows.clear()
    branch(backbone, pictures, masked=True)
    assert rows == [(6, 19), (6, 14), (6, 14), (6, 19)]
    rows.clear()
    branch_of(backbone, [False] * SAMPLES)(backbone, pictures)
    assert rows == [(6, 19), (6, 19)]
    for handle in handles:
        handle.remove()


def test_an_exit_is_final(backbone, pictures):
    branch = branch_of(backbone, [False, True] * 3, [True] * SAMPLES)
    assert branch(backbone, pictures).depth.tolist() == [2.0, 4.0] * 3


@pytest.mark.parametrize("gumbel", ["paper", "logistic"])
def test_decisions_in_training_are_hard_with_a_gradient(gumbel):
    torch.manual_seed(0)
    logits = torch.zeros(20_000, requires_grad=True)
    stays = decide(logits, Settings(gumbel=gumbel), training=True)
    assert set(stays.tolist()) == {0.0, 1.0}
    # P(Gumbel > 0) = 1 - exp(-1); the logistic is symmetric. Four standard deviations of the mean are 0.014.
    expected = {"paper": 1 - math.exp(-1), "logistic": 0.5}[gumbel]
    assert abs(stays.mean().item() - expected) < 0.014
    stays.sum().backward()
    assert (logits.grad > 0).all()


def test_without_gumbel_training_is_soft_and_evaluation_hard():
    logits = torch.tensor([-1.0, 0.5])
    settings = Settings(gumbel="none", gumbel_tau=0.5)
    assert torch.equal(decide(logits, settings, training=True), torch.sigmoid(2 * logits))
    assert decide(logits, settings, training=False).tolist() == [0.0, 1.0]


def test_an_index_gate_is_hard_without_a_gradient():
    logits = torch.randn(100, requires_grad=True)
    stays = decide(logits, Settings(layer_gate="index"), training=True)
    assert set(stays.tolist()) == {0.0, 1.0}
    assert not stays.requires_grad
    quiet = decide(logits, Settings(layer_gate="index", gumbel="none"), training=True)
    assert torch.equal(quiet, (logits > 0).float())


def test_the_temperature_changes_gradients_but_no_decision():
    logits = torch.randn(100, requires_grad=True)
    slopes = []
    for tau in (0.5, 2.0):
        torch.manual_seed(0)
        stays = decide(logits, Settings(gumbel_tau=tau), training=True)
        slopes.append((stays.detach(), *torch.autograd.grad(stays.sum(), logits)))
    assert torch.equal(slopes[0][0], slopes[1][0])
    assert not torch.allclose(slopes[0][1], slopes[1][1])


def test_top_indices_are_in_ascending_order():
    scores = torch.tensor([[0.1, 5.0, -1.0, 3.0, 4.0], [9.0, 8.0, 7.0, 6.0, 5.0]])
    assert top_indices(scores, 3).tolist() == [[1, 3, 4], [0, 1, 2]]


def test_a_judges_bias_starts_at_its_value_or_is_none():
    assert LayerJudge(8, 4, 1.0)(torch.zeros(3, 8)).tolist() == [1.0] * 3
    assert LayerJudge(8, 4, None).bias is None


def test_with_judge_input_mean_a_judge_gets_the_mean_of_all_tokens(backbone, pictures):
    judged = []
    branch = branch_of(backbone, judge_input="mean")
    branch.layer_judges["1"].register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0]))
    branch(backbone, pictures)
    before = backbone.blocks[0](backbone.embed(pictures), backbone.rotary, branch._adapters(0))
    torch.testing.assert_close(judged[0], before.mean(dim=1))


def test_routed_blocks_can_share_judges(backbone):
    branch = branch_of(backbone, share_layer_judges=True, share_token_judges=True)
    own = branch_of(backbone)
    assert 2 * count(branch.layer_judges) == count(own.layer_judges)
    assert 2 * count(branch.token_judges) == count(own.token_judges)


@pytest.mark.parametrize("selection", ["learned+weight", "attention"])
def test_a_block_processes_the_tokens_with_the_highest_scores(backbone, pictures, selection):
    branch = branch_of(backbone, [True] * SAMPLES, [True] * SAMPLES, selection=selection)
    # With a judge of zeros, the selected tokens are those nearest to the query; attention has no judge.
    assert len(branch.token_judges) == (0 if selection == "attention" else 2)
    for judge in branch.token_judges.values():
        nn.init.zeros_(judge.weight)
    query = torch.randn(SAMPLES, 16)
    before = backbone.blocks[0](backbone.embed(pictures), backbone.rotary, branch._adapters(0))
    if selection == "attention":
        scores = backbone.blocks[1].cls_attention(before, backbone.rotary)
    else:
        scores = torch.cosine_similarity(before, query[:, None], dim=-1)
    best = torch.zeros(SAMPLES, 19).scatter(1, scores.topk(14).indices, 1.0)
    assert torch.equal(branch(backbone, pictures, query).kept[:, 0], best[:, 3:])


def test_rankings_are_of_the_tokens_before_the_block_and_of_active_samples(backbone, pictures):
    branch = branch_of(backbone, [True, False] * 3, [True] * SAMPLES, gate_noise=False).train()
    query = torch.randn(SAMPLES, 16)
    rankings = branch(backbone, pictures, query, masked=True).rankings
    before = backbone.blocks[0](backbone.embed(pictures), backbone.rotary, branch._adapters(0))
    assert len(rankings) == 2
    torch.testing.assert_close(rankings[0].scores, branch.token_judges["1"](before)[..., 0])
    torch.testing.assert_close(rankings[0].target, torch.cosine_similarity(before, query[:, None], dim=-1))
    assert not rankings[0].target.requires_grad
    assert rankings[0].active.tolist() == rankings[1].active.tolist() == [True, False] * 3
    assert branch(backbone, pictures, masked=True).rankings == ()
    assert branch.eval()(backbone, pictures, query, masked=True).rankings == ()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"gumbel": "normal"}, "gumbel"),
        ({"split": "no"}, "split"),
        ({"keep": 0.0}, "keep"),
        ({"keep": 1.5}, "keep"),
        ({"gumbel_tau": 0.0}, "gumbel_tau"),
        ({"experts": -1}, "experts"),
        ({"judge_bias": "no"}, "judge_bias"),
        ({"split": False, "routed": "split"}, "routed"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings, name):
    with pytest.raises(ValueError, match=name):
        Settings(**settings)


@pytest.mark.parametrize("blocks", [[], [4], [-5], [1, 1], [3, -1]])
def test_blocks_that_the_backbone_does_not_have_are_refused(blocks):
    with pytest.raises(ValueError, match="hr_blocks"):
        Settings(hr_blocks=blocks).routed_blocks(4)


def test_only_routed_blocks_can_have_a_rank_loss():
    assert Settings().ranked_blocks(24) == (20, 21, 22, 23)
    assert settings_of("release", {}).ranked_blocks(24) == (20,)
    with pytest.raises(ValueError, match="rank_blocks"):
        Settings(rank_blocks=[0]).ranked_blocks(24)


def test_a_setting_overrides_the_preset_and_none_does_not():
    assert settings_of("paper", dict.fromkeys(PRESETS["release"])) == Settings()
    release = settings_of("release", {"ranks": "soft", "gate_noise": None})
    assert (release.ranks, release.gate_noise, release.layer_gate) == ("soft", False, "index")
    with pytest.raises(ValueError, match="preset"):
        settings_of("published", {})
