"""An imported model has the scores of its publisher's network, which `replicas` implements."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepscan.detectors.preprocess import normalised
from deepscan.engines.scorer import Scorer
from deepscan.models.importing import Origin, import_model
from tests.models import replicas, rotary_replicas
from tests.models.replicas import CLIP_MEAN, CLIP_STD, HALF_MEAN, HALF_STD, IMAGENET_MEAN, IMAGENET_STD

# Both sides use float32 and sum in a different order; a real error is a thousand times as large.
CLOSE = 2e-5
CLIP, HALF, IMAGENET = (CLIP_MEAN, CLIP_STD), (HALF_MEAN, HALF_STD), (IMAGENET_MEAN, IMAGENET_STD)


def noise(side, count):
    """Noisy crops of different colours."""
    rng = np.random.default_rng(side)
    flat = rng.integers(60, 190, (count, 1, 1, 3)) + rng.integers(-50, 51, (count, side, side, 3))
    return np.clip(flat, 0, 255).astype(np.uint8)


def imported(weights, folder, suffix=".pth", name="mine", **origin):
    path = folder / f"published{suffix}"
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return import_model(Origin(path, **origin), name, folder / "store")


@torch.no_grad()
def assert_same_scores(card, forward, normalisation=CLIP, count=4):
    """Compare a model's scores with those of a forward pass that returns the logits of real and fake."""
    crops = noise(card.crop.input_side, count)
    expected = forward(torch.from_numpy(normalised(crops, *normalisation))).softmax(dim=1)[:, 1].numpy()
    # Scores that hardly differ would agree with any error.
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(Scorer(card, device="cpu").score(crops), expected, atol=CLOSE)


def test_gend(tmp_path):
    weights = replicas.gend()
    card = imported(weights, tmp_path, ".safetensors")
    assert (card.method, card.crop.interpolation, card.network["normalise"]) == ("gend", "native", True)
    assert_same_scores(card, partial(replicas.gend_logits, weights))


@pytest.mark.parametrize("head", ["LinearNorm", "linear"])
def test_gend_reads_its_head_from_the_config(head, tmp_path):
    weights = replicas.gend(seed=3)
    (tmp_path / "config.json").write_text(f'{{"architectures": ["GenD"], "head": "{head}"}}')
    card = imported(weights, tmp_path, ".safetensors")
    assert "assumed" not in card.source
    assert_same_scores(card, partial(replicas.gend_logits, weights, normalise=head == "LinearNorm"))


@pytest.mark.parametrize("layer", ["layer", "model.layer"])
def test_gend_on_dinov3(layer, tmp_path):
    weights = rotary_replicas.gend_dinov3(layer=layer)
    card = imported(weights, tmp_path, ".safetensors")
    assert_same_scores(card, partial(rotary_replicas.gend_dinov3_logits, weights), IMAGENET, count=3)


@pytest.mark.parametrize("grid", [24, 16])
def test_gend_on_pe(grid, tmp_path):
    """With positions for the grid that PE was trained on, or for the one that it is used with."""
    weights = rotary_replicas.gend_pe(grid=grid)
    card = imported(weights, tmp_path, ".safetensors")
    assert card.crop.input_side == 224
    assert_same_scores(card, partial(rotary_replicas.gend_pe_logits, weights), HALF, count=3)


@pytest.mark.parametrize("head", ["LinearNorm", "linear"])
def test_gends_predecessor(head, tmp_path):
    weights = replicas.predecessor()
    wrapped = {"state_dict": weights, "hyper_parameters": {"head": head, "lr": 1e-4}, "epoch": 3}
    card = imported(wrapped, tmp_path, ".ckpt")
    assert card.crop.interpolation == "linear"
    assert_same_scores(card, partial(replicas.predecessor_logits, weights, normalise=head == "LinearNorm"))


@pytest.mark.parametrize(("rank", "kept", "prefix"), [(1, False, "module."), (2, True, "")])
def test_effort(rank, kept, prefix, tmp_path):
    """With any rank, with and without later code's tensors and the prefix of parallel training."""
    weights = replicas.effort(rank=rank, kept=kept)
    card = imported({prefix + name: value for name, value in weights.items()}, tmp_path)
    assert_same_scores(card, partial(replicas.effort_logits, weights))


def two_logits(head, seed, crops):
    """UniFD's single logit, whose sigmoid is its score, and a constant logit of 0."""
    logit = replicas.unifd_logit(head, seed, crops)
    return torch.stack((torch.zeros_like(logit), logit), dim=1)


def test_unifd(tmp_path):
    """A head on a backbone from another file."""
    torch.save(replicas.open_clip(seed=5), tmp_path / "clip.pt")
    head = replicas.unifd()
    card = imported(head, tmp_path, backbone=tmp_path / "clip.pt")
    assert_same_scores(card, partial(two_logits, head, 5))
    assert card.source["tower"]["file"] == "clip.pt"


def test_unifd_from_a_file_of_its_trainer(tmp_path):
    """Backbone and head in one file."""
    head = replicas.unifd()
    whole = {f"model.{name}": value for name, value in replicas.open_clip(seed=5).items()}
    whole |= {f"fc.{name}": value for name, value in head.items()}
    assert_same_scores(imported({"model": whole, "total_steps": 9}, tmp_path), partial(two_logits, head, 5))


def test_dfd_hr(tmp_path):
    """At twice the backbone's side, with samples that exit at each routed block and some that stay."""
    weights, depths = replicas.dfd_hr(seed=8), []

    def forward(crops):
        logits, passed = replicas.dfd_hr_logits(weights, crops)
        depths.extend(passed)
        return logits

    assert_same_scores(
        imported({f"module.{name}": value for name, value in weights.items()}, tmp_path), forward, count=6
    )
    assert len(set(depths)) > 2


@torch.no_grad()
def test_half_precision_weights_become_float32(tmp_path):
    weights = {name: value.half() for name, value in replicas.gend().items()}
    card = imported(weights, tmp_path, ".safetensors")
    # The stored weights are exactly the half-precision values.
    assert_same_scores(
        card, partial(replicas.gend_logits, {name: value.float() for name, value in weights.items()})
    )


def test_fused_attention_is_split(tmp_path):
    weights = replicas.gend()
    fused = {name: value for name, value in weights.items() if not re.search(r"\.[qkv]_proj\.", name)}
    for index in range(replicas.DEPTH):
        stem = f"feature_extractor.vision_model.encoder.layers.{index}.self_attn"
        for kind in ("weight", "bias"):
            parts = [weights[f"{stem}.{name}_proj.{kind}"] for name in "qkv"]
            fused[f"{stem}.in_proj_{kind}"] = torch.cat(parts)
    assert_same_scores(imported(fused, tmp_path, ".safetensors"), partial(replicas.gend_logits, weights))


def test_position_ids_of_older_versions_are_ignored(tmp_path):
    weights = replicas.gend()
    spare = {"feature_extractor.vision_model.embeddings.position_ids": torch.arange(10)[None]}
    assert_same_scores(imported({**weights, **spare}, tmp_path), partial(replicas.gend_logits, weights))
