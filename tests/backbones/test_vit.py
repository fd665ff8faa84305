"""Every backbone has the outputs of its publisher's own class."""

import contextlib

import open_clip
import pytest
import timm
import torch

from deepscan.backbones import BACKBONES, STEPWISE, TRANSFORMERS, normalisation
from deepscan.backbones.attention import rotated
from deepscan.backbones.published import PUBLISHED
from deepscan.backbones.timm import reference
from deepscan.backbones.weights import build_backbone
from deepscan.detectors.detector import require_steps
from deepscan.errors import UsageError
from tests.backbones.tiny import COMPACT, TINY, count, publishers, publishers_file

# Both sides are float32 and sum in a different order.
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def filled(name, tmp_path):
    """Return the publisher's model and our backbone with its weights, read from a file."""
    return publishers(name), build_backbone(TINY[name], publishers_file(name, tmp_path)).eval()


def of_open_clip(visual, crops):
    """Return open_clip's projected CLS token, its patches and the CLS row of the last block's attention."""
    visual.output_tokens = True
    last = visual.transformer.resblocks[-1]
    captured = {}
    last.ln_1.register_forward_hook(lambda module, inputs, out: captured.setdefault("x", out))
    projected, patches = visual(crops)
    _, row = last.attn(captured["x"], captured["x"], captured["x"], need_weights=True)
    return projected, patches, row[:, 0, 1:]


def of_timm(model, crops):
    """Return timm's CLS or pooled token, its patches and the CLS row of the last block's attention."""
    last, captured = model.blocks[-1].attn, {}
    last.fused_attn = False
    last.attn_drop.register_forward_hook(lambda module, inputs, out: captured.setdefault("row", out))
    tokens = model.forward_features(crops)
    prefix, pool = model.num_prefix_tokens, getattr(model, "attn_pool", None)
    if pool is not None:
        q = pool.q(pool.latent).reshape(1, 1, pool.num_heads, -1).transpose(1, 2)
        k = pool.kv(tokens).reshape(len(crops), -1, 2, pool.num_heads, pool.head_dim)[:, :, 0].transpose(1, 2)
        row = torch.softmax(q @ k.transpose(2, 3) * pool.scale, dim=-1).mean(dim=1)[:, 0]
        return pool(tokens), tokens[:, prefix:], row[:, prefix:]
    # BEiT's only norm comes after the mean; ours is applied to each token.
    tokens = model.fc_norm(tokens) if isinstance(model, timm.models.beit.Beit) else tokens
    return tokens[:, 0], tokens[:, prefix:], captured["row"].mean(dim=1)[:, 0, prefix:]


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_tokens_are_the_publishers(name, tmp_path):
    theirs, ours = filled(name, tmp_path)
    crops = torch.randn(2, 3, ours.side, ours.side)
    tokens = ours(crops)
    if name.startswith("clip-"):
        cls, patches, row = of_open_clip(theirs.visual, crops)
        torch.testing.assert_close(ours.projection(tokens.cls), cls, **CLOSE)
        assert ours.projected == cls.shape[1] != ours.width
    else:
        cls, patches, row = of_timm(theirs, crops)
        torch.testing.assert_close(tokens.cls, cls, **CLOSE)
        assert ours.projected == cls.shape[1]
    # 3 x 3 patches: neither the CLS token nor a register is among them.
    assert patches.shape[1] == tokens.patches.shape[1] == ours.grid**2 == 9
    torch.testing.assert_close(tokens.patches, patches, **CLOSE)
    torch.testing.assert_close(tokens.attention, row / row.sum(dim=1, keepdim=True), **CLOSE)


@pytest.mark.parametrize("name", TINY)
def test_norms_have_the_publishers_epsilon(name):
    # Random tokens are too large for their outputs to show it.
    theirs, ours = publishers(name), build_backbone(TINY[name])
    if name.startswith("clip-"):
        first = theirs.visual.transformer.resblocks[0].ln_1
    else:
        first = theirs.blocks[0].norm1
    assert {module.eps for module in ours.modules() if isinstance(module, torch.nn.LayerNorm)} == {first.eps}


@pytest.mark.parametrize("name", ["clip-vit-l14", "dinov3-vit-l16", "pe-core-vit-l14"])
@torch.no_grad()
def test_blocks_accept_any_subset_of_the_tokens_in_any_order(name, tmp_path):
    _, backbone = filled(name, tmp_path)
    x, rotary, block = (
        backbone.embed(torch.randn(2, 3, backbone.side, backbone.side)),
        backbone.rotary_table(),
        backbone.blocks[1],
    )

    def run_block(order, among):
        rows = None if rotary is None else rotary[:, order]
        assert set(among.tolist()) <= set(order.tolist())
        out = block(x[:, order], rows)
        return out[:, [order.tolist().index(token) for token in among.tolist()]]

    every = torch.arange(x.shape[1])
    torch.testing.assert_close(run_block(every.flip(0), every), block(x, rotary), **CLOSE)
    subset = torch.tensor([0, 7, 3, 8])
    torch.testing.assert_close(run_block(subset, subset), run_block(subset.flip(0), subset), **CLOSE)
    # Missing tokens get no attention; and with a rotary table, positions matter.
    assert (run_block(subset, subset) - block(x, rotary)[:, subset]).abs().max() > 1e-3
    if rotary is not None:
        misplaced = block(x[:, subset], rotary[:, : len(subset)])
        assert (run_block(subset, subset) - misplaced).abs().max() > 1e-3


@torch.no_grad()
def test_extra_tokens_have_no_position():
    backbone = build_backbone(TINY["dinov3-vit-l16"])
    table = backbone.rotary_table(2)
    assert table.shape[1] == 1 + 4 + 9 + 2
    queries = torch.randn(1, 4, table.shape[1], 8)
    change = (rotated(queries, table) - queries).abs().amax(dim=(0, 1, 3))
    # Prefix and extra tokens are unchanged; of the 3 x 3 patches only the middle one has position 0.
    assert (change > 0).nonzero().flatten().tolist() == [5, 6, 7, 8, 10, 11, 12, 13]
    assert build_backbone(TINY["clip-vit-l14"]).rotary_table(2) is None


@pytest.mark.parametrize("settings", [*TINY.values(), COMPACT], ids=lambda settings: settings["name"])
@torch.no_grad()
def test_a_checkpoint_loads_into_a_meta_backbone(settings):
    backbone = build_backbone(settings).eval()
    with torch.device("meta"):
        empty = build_backbone(settings).eval()
    empty.load_state_dict(backbone.state_dict(), assign=True)
    crops = torch.randn(2, 3, backbone.side, backbone.side)
    assert torch.equal(empty(crops).patches, backbone(crops).patches)


@pytest.mark.parametrize("name", TINY)
def test_full_size_backbones_have_the_publishers_parameters(name):
    model = PUBLISHED[name].model
    with torch.device("meta"):
        backbone = build_backbone({"name": name})
        if name.startswith("clip-"):
            config = open_clip.get_model_config(model)
            config["text_cfg"]["layers"] = 1
            theirs = open_clip.CLIP(**config).visual
        else:
            theirs = reference(model, backbone)
    assert count(backbone) == count(theirs)
    assert backbone.side == PUBLISHED[name].sizes["side"]


def test_the_papers_backbone_has_its_number_of_parameters():
    with torch.device("meta"):
        backbone = build_backbone({"name": "clip-vit-l14"})
        bare = build_backbone({"name": "clip-vit-l14", "projection": 0})
        tokens = backbone.embed(torch.zeros(1, 3, 224, 224))
    assert (count(backbone), count(bare)) == (303_966_208, 303_179_776)
    assert tokens.shape == (1, 257, 1024)
    assert (backbone.projected, bare.projected) == (768, 1024)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_matches_the_publishers_configurations(name):
    entry = PUBLISHED[name]
    if entry.layout == "open_clip":
        config = open_clip.get_pretrained_cfg(entry.model, "openai")
        assert config["quick_gelu"]
        assert config["hf_hub"] == f"{entry.repository}/"
        assert entry.files[0] == open_clip.constants.HF_SAFE_WEIGHTS_NAME
        assert normalisation(name) == (config["mean"], config["std"])
    else:
        config = timm.get_pretrained_cfg(entry.model)
        assert config.hf_hub_id == entry.repository
        assert entry.files[0] == timm.models._hub.HF_SAFE_WEIGHTS_NAME
        assert normalisation(name) == (config.mean, config.std)


def test_every_backbone_has_a_normalisation():
    for name in BACKBONES.names:
        mean, std = normalisation(name)
        assert len(mean) == len(std) == 3
    with pytest.raises(UsageError) as raised:
        normalisation("clip-vit-l16")
    assert "clip-vit-l14" in raised.value.hint


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "clip-vit-l14", "side": 225}, "multiple of 14"),
        ({"name": "clip-vit-l14", "heads": 7}, "divide"),
        ({"name": "clip-vit-l14", "depth": 0}, "blocks"),
        ({"name": "dinov3-vit-l16", "width": 12, "heads": 2}, "multiple of 4"),
        ({"name": "clip-vit-l14", "no_such_key": 1}, "no_such_key"),
        ({"side": 224}, "no name"),
    ],
)
def test_bad_settings_are_usage_errors(wrong, message):
    with torch.device("meta"), pytest.raises(UsageError, match=message):
        build_backbone(wrong)


def test_stepwise_lists_the_backbones_that_accept_extra_tokens():
    accepted = []
    for settings in (*TINY.values(), COMPACT):
        with contextlib.suppress(UsageError):
            require_steps(build_backbone(settings), "a method")
            accepted.append(settings["name"])
    assert sorted(accepted) == sorted(STEPWISE)
    assert {*TINY, COMPACT["name"]} == set(TRANSFORMERS)


def test_frozen_parts_do_not_change():
    backbone = build_backbone({**COMPACT, "drop": 0.5})
    backbone.blocks.requires_grad_(True)
    backbone.stem.requires_grad_(False)
    norm = backbone.stem[0][1]
    before = norm.running_mean.clone()
    backbone.train()(torch.randn(2, 3, 32, 32))
    assert torch.equal(norm.running_mean, before)
    assert backbone.blocks[0].drop.training
    assert not backbone.requires_grad_(False).train().blocks[0].drop.training
    backbone.requires_grad_(True).train()(torch.randn(2, 3, 32, 32))
    assert not torch.equal(norm.running_mean, before)
