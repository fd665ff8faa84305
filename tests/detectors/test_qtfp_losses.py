"""QTFP's losses on tokens, checked numerically."""

import math

import pytest
import torch
import torch.nn.functional as F

from deepscan.detectors.qtfp_losses import (
    anchor_weights,
    attention_alignment,
    mask_contrast,
    patch_contrast,
    separation,
    token_alignment,
)
from tests.detectors.tiny import LABELS


def test_contrast_of_a_hand_made_batch():
    # A real and a fake crop of two equal patches each; the patches of the two are orthogonal.
    patches = torch.tensor([[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2])
    tau, tau_w = 0.5, 0.1
    loss = patch_contrast(patches, torch.tensor([0, 1]), tau, tau_w)
    # delta = 1 - 0; the other patches are one positive of similarity 1 and two real ones of similarity 0.
    weight = 1 / (1 + math.exp(-1 / tau_w))
    expected = -weight * math.log(math.exp(1 / tau) / (math.exp(1 / tau) + 2 * math.exp(0)))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_contrast_is_never_negative_and_small_for_separated_classes():
    mixed = torch.randn(4, 5, 8)
    separated = mixed + torch.where(LABELS == 1, 10.0, -10.0)[:, None, None]
    low, high = patch_contrast(separated, LABELS, 0.1, 0.1), patch_contrast(mixed, LABELS, 0.1, 0.1)
    assert 0 <= low < 1e-3 < high


# A single fake patch has no positive: the loss must be 0, not NaN.
@pytest.mark.parametrize(("labels", "count"), [([0, 0], 5), ([1, 1], 5), ([0, 1], 1)])
def test_contrast_of_one_class_or_without_positives_is_zero(labels, count):
    assert patch_contrast(torch.randn(2, count, 8), torch.tensor(labels), 0.1, 0.1) == 0


def test_contrast_of_sampled_anchors_estimates_that_of_all():
    patches = torch.randn(4, 200, 8)
    exact = patch_contrast(patches, LABELS, 0.1, 0.1)
    sampled = torch.stack([patch_contrast(patches, LABELS, 0.1, 0.1, 100) for _ in range(30)])
    # 30 samples of 100 from 400 anchors: the standard error of the mean is their deviation / sqrt(30).
    assert abs(sampled.mean() - exact) < 4 * sampled.std() / math.sqrt(30)
    torch.testing.assert_close(patch_contrast(patches, LABELS, 0.1, 0.1, 400), exact)


def test_weights_grow_with_delta_and_are_a_half_at_zero():
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    angles = torch.linspace(0, math.pi / 2, 9)
    weights = anchor_weights(torch.stack((angles.cos(), angles.sin()), 1)[None], real, fake, 0.1)[0]
    assert (weights.diff() > 0).all()
    assert weights[4] == pytest.approx(0.5, abs=1e-5)


def test_the_gradient_does_not_flow_through_the_weights():
    patches = torch.randn(4, 5, 8, requires_grad=True)
    patch_contrast(patches, LABELS, 0.1, 0.1).backward()
    gradient = patches.grad.clone()
    with torch.no_grad():
        fake, real = patches[LABELS == 1].flatten(0, 1), patches[LABELS == 0].flatten(0, 1)
        fixed = anchor_weights(patches[LABELS == 1], real.mean(0), fake.mean(0), 0.1).flatten()
    copied = patches.detach().requires_grad_()
    fake = F.normalize(copied[LABELS == 1].flatten(0, 1), dim=1)
    both = F.normalize(torch.cat((copied[LABELS == 1], copied[LABELS == 0])).flatten(0, 1), dim=1)
    similar = (fake @ both.T / 0.1).masked_fill(torch.eye(10, 20, dtype=torch.bool), -torch.inf)
    ratio = similar[:, :10].logsumexp(1) - similar.logsumexp(1)
    (-(fixed * ratio).mean()).backward()
    # Constant weights give the same gradient, up to the order of float32 sums.
    torch.testing.assert_close(gradient, copied.grad, atol=1e-6, rtol=1e-4)


def test_alignment_is_zero_for_queries_with_the_cls_tokens_attention():
    cls = torch.softmax(torch.randn(4, 9), dim=1)
    assert attention_alignment(cls[:, None].repeat(1, 3, 1), cls, LABELS) == pytest.approx(0, abs=1e-6)
    elsewhere = torch.softmax(torch.randn(4, 3, 9), dim=2)
    assert attention_alignment(elsewhere, cls, LABELS) > 0.01


def test_alignment_trains_the_queries_and_not_the_backbone():
    queries = torch.softmax(torch.randn(4, 3, 9), dim=2).requires_grad_()
    cls = torch.softmax(torch.randn(4, 9), dim=1).requires_grad_()
    attention_alignment(queries, cls, LABELS).backward()
    assert cls.grad is None
    assert queries.grad[LABELS == 0].abs().sum() > 0
    assert queries.grad[LABELS == 1].abs().sum() == 0


def test_alignment_survives_a_weight_of_zero():
    queries, cls = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0.0, 1.0]])
    # The clamp of 1e-8 bounds the divergence by log(1e8).
    loss = attention_alignment(queries, cls, torch.tensor([0]))
    assert float(loss) == pytest.approx(math.log(1e8), rel=1e-3)


def test_separation_is_the_distance_in_standard_deviations():
    patches = torch.randn(2, 50_000, 3)
    patches[1, :, 0] += 2.5
    # 50,000 unit normal samples per class: means and deviations are within a hundredth of 2.5 and 1.
    assert separation(patches, torch.tensor([0, 1])) == pytest.approx(2.5, abs=0.05)
    assert torch.isnan(separation(patches, torch.tensor([1, 1])))


def test_softmax_weights_of_a_crop_average_to_one():
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    anchors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    weights = anchor_weights(anchors, real, fake, 2.0, "softmax")
    # delta is -1 and 1 in the first crop, -1 and -1 in the second.
    share = 1 / (1 + math.exp(-2 / 2.0))
    torch.testing.assert_close(weights, torch.tensor([[2 * (1 - share), 2 * share], [1.0, 1.0]]))


def test_softmax_weights_change_the_contrast():
    patches = torch.randn(4, 5, 8)
    fakes, reals = patches[LABELS == 1], patches[LABELS == 0]
    means = reals.flatten(0, 1).mean(0), fakes.flatten(0, 1).mean(0)
    losses = [patch_contrast(patches, LABELS, 0.1, tau_w, weighting="softmax") for tau_w in (0.01, 0.1, 1e6)]
    # At a very high temperature all weights are one: the plain mean over anchors.
    assert (anchor_weights(fakes, *means, 1e6, "softmax") - 1).abs().max() < 1e-5
    forged = mask_contrast(patches[..., :4, :], LABELS, torch.ones(4, 2, 2), 0.1)
    plain = patch_contrast(patches[..., :4, :], LABELS, 0.1, 1e6, weighting="softmax")
    torch.testing.assert_close(plain, forged)
    assert len({round(float(value), 5) for value in losses}) == 3


def test_mask_contrast_of_a_hand_made_batch():
    real, forged = [1.0, 0.0], [0.0, 1.0]
    patches = torch.tensor([[real] * 4, [forged, forged, real, real]])
    masks = torch.zeros(2, 4, 4)
    masks[1, :2] = 1
    loss = mask_contrast(patches, torch.tensor([0, 1]), masks, 0.5)
    # An anchor has one positive, of similarity 1; four patches of the real crop and two outside the mask are
    # real, of similarity 0.
    expected = -math.log(math.exp(2) / (math.exp(2) + 6))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_patch_is_forged_if_the_mask_covers_half_of_it():
    patches = torch.randn(2, 4, 8)
    labels = torch.tensor([0, 1])
    masks = torch.zeros(2, 4, 4)
    masks[1, :2] = 1
    whole = mask_contrast(patches, labels, masks, 0.1)
    masks[1, 0] = 0
    assert mask_contrast(patches, labels, masks, 0.1) == whole
    masks[1, 1, 0] = 0
    # A quarter of the first patch is covered: the one remaining forged patch has no positive.
    assert mask_contrast(patches, labels, masks, 0.1) == 0


def test_fakes_with_unknown_masks_are_ignored_and_reals_need_none():
    patches, masks = torch.randn(4, 4, 8), torch.zeros(4, 2, 2)
    masks[1, 0] = 1
    known = mask_contrast(patches[:3], LABELS[:3], masks[:3], 0.1)
    assert known > 0
    masks[3], masks[2] = -1, -1
    torch.testing.assert_close(mask_contrast(patches, LABELS, masks, 0.1), known)
    assert mask_contrast(patches, LABELS, torch.full_like(masks, -1), 0.1) == 0


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("l1", 0.5), ("l2", math.sqrt(0.125)), ("kl", 0.75 * math.log(1.5) + 0.25 * math.log(0.5))],
)
def test_alignment_is_each_metrics_distance_over_real_crops(metric, expected):
    queries, cls = torch.tensor([[[0.75, 0.25]], [[0.5, 0.5]]]), torch.tensor([[0.5, 0.5], [0.01, 0.99]])
    loss = attention_alignment(queries, cls, torch.tensor([0, 1]), metric)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert attention_alignment(queries, cls, torch.tensor([1, 1]), metric) == 0


@pytest.mark.parametrize("metric", ["kl", "l1", "l2"])
def test_perfect_alignment_has_a_finite_gradient(metric):
    queries = torch.full((1, 2, 4), 0.25, requires_grad=True)
    attention_alignment(queries, torch.full((1, 4), 0.25), torch.tensor([0]), metric).backward()
    assert torch.isfinite(queries.grad).all()


def test_token_alignment_is_the_distance_on_real_crops_and_trains_only_the_global_token():
    pooled = torch.tensor([[3.0, 0.0], [9.0, 9.0]], requires_grad=True)
    cls = torch.tensor([[0.0, 4.0], [0.0, 0.0]], requires_grad=True)
    loss = token_alignment(pooled, cls, torch.tensor([0, 1]))
    assert float(loss.detach()) == 5
    loss.backward()
    assert cls.grad is None
    torch.testing.assert_close(pooled.grad, torch.tensor([[0.6, -0.8], [0.0, 0.0]]))
    assert token_alignment(pooled, cls, torch.tensor([1, 1])) == 0
