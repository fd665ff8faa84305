"""CoRIT: its masks, tokens and heads, checked numerically."""

import numpy as np
import pytest
import torch
from torch import nn

from deepscan.backbones.attention import Rotary
from deepscan.backbones.vit import VisionTransformer
from deepscan.backbones.weights import build_backbone
from deepscan.crop_recipe import CropRecipe
from deepscan.detectors.corit import Corit, CoritNetwork
from deepscan.detectors.corit_inputs import CoritPreprocessor
from deepscan.detectors.detector import Batch, FrozenOutput
from deepscan.errors import UsageError
from deepscan.faces.blend import self_blended
from deepscan.metrics.binary import auc
from tests.backbones.tiny import count
from tests.detectors.tiny import REGIONS


def small_backbone(*, side=16, patch=4, width=16, depth=4, **arguments):
    torch.manual_seed(0)
    stem = nn.Conv2d(3, width, patch, patch)
    settings = {"heads": 4, "hidden": 32, "pre_norm": True, **arguments}
    built = VisionTransformer(stem, side=side, grid=side // patch, width=width, depth=depth, **settings)
    return built.requires_grad_(False)


def network(backbone=None, **arguments):
    built = CoritNetwork(backbone or small_backbone(), **arguments).eval()
    torch.manual_seed(1)
    return built


def sample(count=3, seed=2):
    torch.manual_seed(seed)
    crops = torch.randn(count, 3, 16, 16)
    counterparts = crops.clone()
    counterparts[:, :, 4:12, 4:12] += 0.5 * torch.randn(count, 3, 8, 8)
    return {"crops": crops, "counterparts": counterparts, "regions": REGIONS.repeat(count, 1, 1)}


def test_the_head_has_the_papers_size():
    with torch.device("meta"):
        large = build_backbone({"name": "clip-vit-l14"}).requires_grad_(False)

        def trained(**arguments):
            return count(CoritNetwork(large, **arguments), trained=True)

        assert trained(rsi=False, hri=False) == 2_050
        assert trained(hri=False) == 8_194
        assert trained(rsi=False) == 4_098
        assert trained() == 16_386
        assert trained(regions=["F"]) == 2 * 2 * 2 * 1024 + 2
        assert trained(head="projected") == 8 * 768 * 2 + 2
        # A standard attention of that width, and a linear layer on the four query tokens.
        assert trained(head="attention") == 4_198_400 + 8_194
        assert CoritNetwork(large).layers == (18, 24)


def reference(built, inputs, shared, tau):
    """Compute the features by the paper's equations, crop by crop and region by region."""
    backbone, rows, features = built.backbone, REGIONS[0] > 0, []
    for crop, counterpart in zip(inputs["crops"], inputs["counterparts"], strict=True):
        x, y = backbone.embed(crop[None])[0], backbone.embed(counterpart[None])[0]
        x = torch.cat((x, torch.stack([x[1:17][row].mean(0) for row in rows])))
        if shared:
            y = torch.cat((y, torch.stack([y[1:17][row].mean(0) for row in rows])))
        tokens = []
        for number, block in enumerate(backbone.blocks, 1):
            x, y = block(x[None])[0], block(y[None])[0]
            contrast, x, y = y[1:17] - x[1:17], x.clone(), y.clone()
            for k, row in enumerate(rows):
                centroid = contrast[row].mean(dim=0)
                along = contrast @ (centroid / centroid.norm())
                kept = row & (along > tau * along[row].mean())
                x[17 + k] += x[1:17][kept].mean(dim=0)
                if shared:
                    y[17 + k] += y[1:17][kept].mean(dim=0)
            if number in built.layers:
                tokens += [x[:1], x[17:]]
        features.append(backbone.ln_post(torch.cat(tokens)))
    return torch.stack(features)


@pytest.mark.parametrize("tau", [0.1, 1.0])
@pytest.mark.parametrize("shared", [True, False])
def test_the_features_match_the_papers_equations(shared, tau):
    built, inputs = network(shared=shared, tau=tau), sample()
    features, explanation = built.extract(**inputs)
    assert features.shape == (3, 2 * 4, 16)
    # float32 sums in a different order, over four blocks.
    torch.testing.assert_close(features, reference(built, inputs, shared, tau), atol=1e-4, rtol=1e-4)
    assert (explanation["masks"] <= inputs["regions"]).all()
    assert explanation["masks"].any()
    # In a random backbone all patches have a similar contrast by the last block: only a high threshold
    # separates them.
    assert explanation["masks"].equal(inputs["regions"]) == (tau == 0.1)
    assert not explanation["empty"].any()
    means = (explanation["projections"] * inputs["regions"]).sum(dim=2) / inputs["regions"].sum(dim=2)
    assert (means > 0).all()


def test_a_crops_features_do_not_depend_on_its_batch():
    built, inputs = network(), sample()
    whole, _ = built.extract(**inputs)
    alone, _ = built.extract(**{name: value[1:2] for name, value in inputs.items()})
    # Matrix products of another size sum in a different order.
    torch.testing.assert_close(alone[0], whole[1], atol=1e-5, rtol=1e-4)


def test_with_all_parts_off_it_is_a_probe_of_the_cls_token():
    plain, inputs = network(rsi=False, hri=False), sample()
    features, explanation = plain.extract(**inputs)
    torch.testing.assert_close(features[:, 0], plain.backbone(inputs["crops"]).cls)
    assert features.shape == (3, 1, 16)
    assert explanation == {}
    other = {**sample(seed=3), "crops": inputs["crops"], "regions": inputs["regions"].flip(1)}
    assert torch.equal(plain.extract(**other)[0], features)
    assert network(rsi=False).extract(**inputs)[0].shape == (3, 2, 16)


def test_without_refinement_the_counterpart_is_not_used():
    inputs, other = sample(), sample(seed=3)
    built = network(rrm=False)
    features, explanation = built.extract(**inputs)
    assert torch.equal(built.extract(**{**other, "crops": inputs["crops"]})[0], features)
    assert torch.equal(explanation["masks"], inputs["regions"])
    assert "projections" not in explanation
    refined = network()
    assert not torch.equal(refined.extract(**inputs)[0], features)
    assert not torch.equal(
        refined.extract(**{**other, "crops": inputs["crops"]})[0], refined.extract(**inputs)[0]
    )


def test_region_tokens_follow_their_regions_and_change_the_cls_token():
    built, inputs = network(), sample()
    features, _ = built.extract(**inputs)
    swapped, _ = built.extract(**{**inputs, "regions": inputs["regions"].flip(1)})
    order = [0, 3, 2, 1, 4, 7, 6, 5]
    # Region tokens have no position: swapping two regions swaps their tokens and changes nothing else.
    torch.testing.assert_close(swapped, features[:, order], atol=1e-5, rtol=1e-4)
    without, _ = network(rsi=False).extract(**inputs)
    assert not torch.allclose(features[:, 0], without[:, 0], atol=1e-3)


def test_the_last_layers_features_end_those_of_all_layers():
    inputs = sample()
    both, last = (network(hri=hri).extract(**inputs)[0] for hri in (True, False))
    assert torch.equal(both[:, 4:], last)
    # Stopping after the third block gives the first half.
    assert torch.equal(network(layers=[3]).extract(**inputs)[0], both[:, :4])
    assert network(layers=[1, 2, 4]).extract(**inputs)[0].shape == (3, 12, 16)


@pytest.mark.parametrize("names", [["F"], ["Bd", "Bg"], ["Bg", "F"]])
def test_any_subset_of_regions_can_have_tokens(names):
    built, inputs = network(regions=names), sample()
    features, explanation = built.extract(**inputs)
    assert features.shape == (3, 2 * (1 + len(names)), 16)
    assert explanation["projections"].shape == (3, len(names), 16)
    rows = [("F", "Bd", "Bg").index(name) for name in names]
    assert (explanation["masks"] <= inputs["regions"][:, rows]).all()


@pytest.mark.parametrize(
    "settings",
    [{"pooling": "max"}, {"start": "zeros"}, {"start": "cls"}, {"tau": 1.3}, {"threshold": "cosine"}],
)
def test_every_switch_changes_the_features(settings):
    inputs = sample()
    features, _ = network(**settings).extract(**inputs)
    assert torch.isfinite(features).all()
    assert not torch.allclose(features, network().extract(**inputs)[0], atol=1e-3)


def test_layer_masks_has_the_masks_of_every_layer():
    inputs = sample()
    built = network(tau=1.0)
    regions, masks = built.layer_masks(**inputs)
    assert torch.equal(regions, inputs["regions"])
    assert masks.shape == (4, 3, 3, 16)
    assert torch.equal(masks[-1], built.extract(**inputs)[1]["masks"])
    # An earlier layer's masks are those of a model that stops there.
    assert torch.equal(masks[1], network(tau=1.0, layers=[2]).extract(**inputs)[1]["masks"])
    assert not torch.equal(masks[0], masks[-1])
    assert all(torch.equal(mask, regions) for mask in network(rrm=False).layer_masks(**inputs)[1])
    with pytest.raises(UsageError, match="no region tokens"):
        network(rsi=False).layer_masks(**inputs)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_an_empty_region_is_replaced_by_the_whole_crop_and_counted(pooling):
    inputs = sample()
    inputs["regions"][1, 2] = 0
    built = network(pooling=pooling, rrm=False)
    features, explanation = built.extract(**inputs)
    assert explanation["empty"].tolist() == [0, 1, 0]
    assert explanation["masks"][1, 2].all()
    inputs["regions"][1, 2] = 1
    assert torch.equal(built.extract(**inputs)[0], features)
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_a_counterpart_equal_to_its_crop_injects_nothing(pooling):
    inputs = sample()
    inputs["counterparts"] = inputs["crops"]
    features, explanation = network(pooling=pooling).extract(**inputs)
    assert torch.isfinite(features).all()
    assert not explanation["masks"].any()


@pytest.mark.parametrize("head", ["linear", "perceptron", "attention", "projected"])
def test_only_the_head_trains_and_cached_features_train_it_equally(head):
    built = network(small_backbone(projection=8), head=head, heads=2, tau=1.0).train()
    assert not built.backbone.training
    inputs, labels = sample(), torch.tensor([0, 1, 0])
    output = built(**inputs)
    live, parts = Corit().loss(output, Batch(inputs, labels))
    features, _ = built.extract(**inputs)
    cached, fewer = Corit().loss(FrozenOutput(built.classify(features)), Batch({}, labels))
    assert torch.equal(live, cached)
    assert not features.requires_grad
    live.backward()
    assert all((value.grad is not None) == value.requires_grad for value in built.parameters())
    assert {name for name, value in built.named_parameters() if value.requires_grad} == {
        f"head.{name}" for name, _ in built.head.named_parameters()
    }
    assert 0 < parts["kept"] < 1
    assert set(fewer) == {"cls"}


def test_the_contrast_is_taken_in_float32_under_autocast():
    built, inputs = network(), sample()
    exact, _ = built.extract(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        features, explanation = built.extract(**inputs)
    assert explanation["projections"].dtype == torch.float32
    # bfloat16 has 8 bits, and the blocks' errors add up; a patch near its threshold may also flip.
    assert (features - exact).abs().mean() < 0.05


def test_a_backbone_with_registers_and_rotary_positions_works():
    base = small_backbone(prefix=3, rotary=Rotary(), positions=False)
    features, explanation = network(base).extract(**sample())
    assert features.shape == (3, 8, 16)
    assert explanation["masks"].shape == (3, 3, 16)
    plain, _ = network(base, rsi=False).extract(**sample())
    torch.testing.assert_close(plain[:, -1], base(sample()["crops"]).cls)


@pytest.mark.parametrize(
    "settings",
    [
        {"regions": []},
        {"regions": ["F", "F"]},
        {"regions": ["F", "face"]},
        {"layers": [3, 2]},
        {"layers": [0, 4]},
        {"layers": [5]},
        {"layers": []},
        {"threshold": "mean"},
        {"pooling": "sum"},
        {"start": "random"},
        {"head": "cubic"},
    ],
)
def test_arguments_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        CoritNetwork(small_backbone(), **settings)


def test_invalid_heads_are_refused():
    with pytest.raises(ValueError, match="projection"):
        CoritNetwork(small_backbone(), head="projected")
    with pytest.raises(ValueError, match="hri"):
        CoritNetwork(small_backbone(), head="attention", hri=False)


def test_unsuitable_backbones_are_refused():
    with pytest.raises(ValueError, match="frozen"):
        CoritNetwork(small_backbone().requires_grad_(True))
    with pytest.raises(UsageError, match="CLS"):
        CoritNetwork(small_backbone(prefix=0))
    with pytest.raises(UsageError, match="relative"):
        CoritNetwork(small_backbone(relative=True, positions=False))


def test_regions_of_another_grid_are_a_usage_error():
    inputs = sample()
    inputs["regions"] = torch.ones(3, 3, 9)
    with pytest.raises(UsageError) as raised:
        network().extract(**inputs)
    assert "inputs.grid=4" in raised.value.hint


def faces(count, seed):
    """Return skin-coloured ellipses on coloured backgrounds, every second self-blended, and labels."""
    rng, recipe = np.random.default_rng(seed), CropRecipe(side=64)
    y, x = (np.indices((64, 64)) + 0.5) / 64
    inside = ((((x - 0.5) / 0.28) ** 2 + ((y - 0.56) / 0.36) ** 2) < 1)[..., None]
    pictures = []
    for index in range(count):
        skin = np.array([190, 140, 110]) + rng.normal(0, 4, 3)
        picture = np.where(inside, skin, rng.uniform(30, 225, 3)) + rng.normal(0, 12, (64, 64, 3))
        picture = picture.clip(0, 255).astype(np.uint8)
        pictures.append(self_blended(picture, recipe, rng)[0] if index % 2 else picture)
    return np.stack(pictures), torch.arange(count) % 2


@pytest.mark.slow
def test_a_probe_learns_blending_from_the_features_of_a_random_backbone():
    built = network(small_backbone(side=64, patch=8, width=32, hidden=64))
    inputs = CoritPreprocessor(CropRecipe(side=64), (0.5,) * 3, (0.25,) * 3, grid=8)
    splits = []
    for seed in (1, 2):
        crops, labels = faces(160, seed)
        tensors = {name: torch.from_numpy(values) for name, values in inputs(crops).items()}
        splits.append((built.extract(**tensors)[0], labels))
    (train, labels), (test, test_labels) = splits
    mean, deviation = train.mean(dim=0), train.std(dim=0) + 1e-3
    optimiser = torch.optim.Adam(built.head.parameters(), 0.01, weight_decay=0.03)
    for _ in range(80):
        loss, _ = Corit().loss(FrozenOutput(built.classify((train - mean) / deviation)), Batch({}, labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    scores = FrozenOutput(built.classify((test - mean) / deviation)).probability.detach()
    # Three standard errors of an AUC of 160 crops above chance; 0.71 was measured.
    assert auc(test_labels.numpy(), scores.numpy()) > 0.63
