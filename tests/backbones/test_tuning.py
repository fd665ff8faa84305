"""Every tuning starts as the identity, trains only its own parameters, and folds into plain weights."""

import copy
import re
import sys

import pytest
import torch

from deepscan.backbones.tuning import TUNINGS, fold, tune
from deepscan.backbones.weights import build_backbone
from deepscan.errors import MissingError, UsageError
from tests.backbones.tiny import COMPACT, TINY, count

CLIP, DINO = TINY["clip-vit-l14"], TINY["dinov3-vit-l16"]
#: Arguments that the tiny backbones need.
ARGUMENTS = {"partial": {"blocks": 2}, "oft": {"block": 16}}
#: Tuning -> pattern of the backbone's own parameters that train; below, the names of those that it adds.
OWN = {
    "fft": r".*",
    "frozen": r"(?!)",
    "norm": r".*ln_\w+\.(weight|bias)",
    "bias": r".*\.bias",
    "partial": r"(blocks\.[12]|ln_post)\..*",
}
ADDED = {
    "effort": ("u", "s", "v"),
    "lora": ("lora_A.default.weight", "lora_B.default.weight"),
    "dora": ("lora_A.default.weight", "lora_B.default.weight", "lora_magnitude_vector.default.weight"),
    "loha": tuple(f"hada_w{factor}_{side}.default" for factor in (1, 2) for side in "ab"),
    "lokr": ("lokr_w1.default", "lokr_w2.default"),
    "ia3": ("ia3_l.default",),
    "oft": ("oft_R.default.weight",),
}
ADDED |= dict.fromkeys(("gaussian-lora", "pissa", "olora", "rslora"), ADDED["lora"])
MATRICES = ("attention.q", "attention.k", "attention.v", "attention.out", "mlp.0", "mlp.2")
WHERE = {"effort": MATRICES[:4], "ia3": ("attention.k", "attention.v", "mlp.2")}


@pytest.fixture(params=TUNINGS.names)
def kind(request):
    return request.param


def tuned(kind, settings=CLIP, **arguments):
    torch.manual_seed(5)
    backbone = build_backbone(settings).eval()
    tune(backbone, {"type": kind, **ARGUMENTS.get(kind, {}), **arguments})
    return backbone.eval()


def trainable(backbone):
    return {name for name, value in backbone.named_parameters() if value.requires_grad}


def outputs(backbone, crops):
    tokens = backbone(crops)
    return torch.cat((tokens.patches.flatten(), backbone.projection(tokens.cls).flatten()))


def take_step(backbone, crops):
    """Take one large gradient step on all outputs of the backbone."""
    torch.manual_seed(6)
    out = outputs(backbone, crops)
    (out * torch.randn_like(out)).sum().backward()
    with torch.no_grad():
        for value in backbone.parameters():
            if value.grad is not None:
                value.sub_(0.1 * value.grad / value.grad.norm().clamp_min(1e-6))
                value.grad = None


def test_the_outputs_do_not_change_at_the_start(kind):
    torch.manual_seed(5)
    plain, backbone, crops = build_backbone(CLIP).eval(), tuned(kind), torch.randn(2, 3, 42, 42)
    # Tunings that decompose the weights add a rounding error.
    torch.testing.assert_close(outputs(backbone, crops), outputs(plain, crops), atol=1e-5, rtol=1e-5)


def test_only_its_own_parameters_train(kind):
    backbone = tuned(kind)
    if kind in OWN:
        names = [name for name, _ in build_backbone(CLIP).named_parameters()]
        expected = {name for name in names if re.fullmatch(OWN[kind], name)}
    else:
        expected = {
            f"blocks.{block}.{matrix}.{name}"
            for block in range(3)
            for matrix in WHERE.get(kind, MATRICES)
            for name in ADDED[kind]
        }
    assert trainable(backbone) == expected


def test_every_trainable_parameter_gets_a_gradient(kind):
    backbone, crops = tuned(kind), torch.randn(2, 3, 42, 42)
    if kind == "frozen":
        assert not outputs(backbone, crops).requires_grad
        return
    # LoRA's first matrix gets none in the first step, because the second is still 0.
    take_step(backbone, crops)
    out = outputs(backbone, crops)
    (out * torch.randn_like(out)).sum().backward()
    without = {name for name in trainable(backbone) if not backbone.get_parameter(name).grad.abs().max() > 0}
    # A key's bias shifts all logits of a query equally, which changes nothing.
    assert not {name for name in without if not name.endswith("attention.k.bias")}


@pytest.mark.parametrize("settings", [CLIP, DINO], ids=["clip", "dinov3"])
def test_it_folds_into_a_plain_backbone(kind, settings):
    backbone, crops = tuned(kind, settings), torch.randn(2, 3, settings["side"], settings["side"])
    before = outputs(backbone, crops).detach()
    if kind != "frozen":
        take_step(backbone, crops)
    after = outputs(backbone, crops).detach()
    assert kind == "frozen" or (after - before).abs().max() > 1e-2
    fold(backbone)
    plain = build_backbone(settings).eval()
    plain.load_state_dict(backbone.state_dict())
    for folded in (backbone, plain):
        # Products are summed in a different order.
        torch.testing.assert_close(outputs(folded, crops).detach(), after, atol=1e-4, rtol=1e-4)


def test_a_tuned_checkpoint_loads_into_a_meta_backbone(kind):
    backbone, crops = tuned(kind), torch.randn(2, 3, 42, 42)
    if kind != "frozen":
        take_step(backbone, crops)
    with torch.device("meta"):
        empty = tuned(kind)
    assert all(value.is_meta for value in (*empty.parameters(), *empty.buffers()))
    empty.load_state_dict(backbone.state_dict(), assign=True)
    assert torch.equal(outputs(empty, crops), outputs(backbone, crops))
    assert trainable(empty) == trainable(backbone)


def test_a_deep_copy_keeps_the_tuning(kind):
    backbone, crops = tuned(kind), torch.randn(2, 3, 42, 42)
    copied = copy.deepcopy(backbone)
    assert torch.equal(outputs(copied, crops), outputs(backbone, crops))
    assert trainable(copied) == trainable(backbone)


@pytest.mark.parametrize("kind", ["lora", "effort"])
def test_the_attention_pool_is_not_tuned(kind):
    backbone = tuned(kind, TINY["siglip2-vit-l16"])
    assert all(name.startswith("blocks.") for name in trainable(backbone))


def test_lora_leaves_the_compact_backbones_convolutions_unchanged():
    backbone = tuned("lora", COMPACT).train()
    before = copy.deepcopy(backbone.stem.state_dict())
    backbone(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in backbone.stem.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"type": "effort"}, 196_704),
        ({"type": "lora", "rank": 4}, 1_769_472),
        ({"type": "norm"}, 102_400),
        ({"type": "frozen"}, 0),
    ],
    ids=lambda settings: settings["type"] if isinstance(settings, dict) else "",
)
def test_the_papers_backbone_has_the_papers_number_of_trained_parameters(settings, parameters):
    with torch.device("meta"):
        backbone = build_backbone({"name": "clip-vit-l14", "projection": 0})
        tune(backbone, settings)
    assert count(backbone, trained=True) == parameters


def factors(kind, **arguments):
    """Return a matrix of a backbone, and its peft layer's scale and two factors."""
    layer = tuned(kind, **arguments).blocks[0].attention.q
    torch.manual_seed(5)
    weight = build_backbone(CLIP).blocks[0].attention.q.weight
    return weight, layer.scaling["default"], layer.lora_A["default"].weight, layer.lora_B["default"].weight


def test_alpha_scales_what_lora_adds():
    assert [factors("lora", rank=4, alpha=alpha)[1] for alpha in (None, 8)] == [1, 2]
    assert [factors("rslora", rank=4, alpha=alpha)[1] for alpha in (None, 8)] == [2, 4]


def test_lora_kinds_are_initialised_as_in_their_papers():
    _, _, down, up = factors("gaussian-lora", rank=8)
    # 256 draws with a standard deviation of 1 / rank.
    assert down.std().item() == pytest.approx(1 / 8, rel=0.2)
    assert not up.any()
    weight, scale, down, up = factors("pissa")
    left, values, right = torch.linalg.svd(weight)
    torch.testing.assert_close(scale * up @ down, (left[:, :4] * values[:4]) @ right[:4])
    weight, _, _, up = factors("olora")
    torch.testing.assert_close(up.T @ up, torch.eye(4))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"type": "effrot"}, "effrot"),
        ({}, "no type"),
        ({"type": "effort", "no_such_key": 1}, "no_such_key"),
        ({"type": "effort", "rank": 0}, "rank must be 1 to 32, not 0"),
        ({"type": "effort", "rank": 33}, "rank must be 1 to 32, not 33"),
        ({"type": "effort", "targets": ["w"]}, "targets must be"),
        ({"type": "effort", "targets": []}, "targets must be"),
        ({"type": "lora", "targets": "q"}, "targets must be"),
        ({"type": "lora", "rank": 0}, "r"),
        ({"type": "partial", "blocks": 4}, "blocks must be 1 to 3"),
        ({"type": "fft", "rank": 1}, "rank"),
    ],
)
def test_bad_settings_are_usage_errors(wrong, message):
    with pytest.raises(UsageError, match=message):
        tune(build_backbone(CLIP), wrong)


def test_lora_without_peft_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingError, match="peft") as raised:
        tune(build_backbone(CLIP), {"type": "lora"})
    assert "[peft]" in raised.value.hint


def test_a_broken_peft_is_reported_with_its_error(monkeypatch, tmp_path):
    (tmp_path / "peft.py").write_text("raise ImportError('cannot import name HybridCache')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    with pytest.raises(MissingError, match="HybridCache"):
        tune(build_backbone(CLIP), {"type": "lora"})
