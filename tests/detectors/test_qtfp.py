"""QTFP: what its losses promise, in numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from deepscan.detectors.detector import Batch
from deepscan.detectors.qtfp import (
    Qtfp,
    QueryPooling,
    anchor_weights,
    attention_alignment,
    patch_contrast,
    separation,
)
from deepscan.errors import UsageError

LABELS = torch.tensor([0, 1, 0, 1])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_query_attention_has_the_papers_size():
    pooling = QueryPooling(width=1024, queries=4, heads=8)
    count = sum(value.numel() for value in pooling.attention.parameters())
    # QTFP, Table 5: 4.20 M more than each host.
    assert count == 4_198_400
    assert sum(value.numel() for value in pooling.parameters()) == 4_198_400 + 4 * 1024


def test_pooling_ignores_the_order_of_patches_and_averages_its_queries():
    pooling, patches = QueryPooling(16, 3, 4).eval(), torch.randn(2, 9, 16)
    feature, weights = pooling(patches)
    order = torch.randperm(9)
    shuffled, moved = pooling(patches[:, order])
    # The same sums in another order: units in the last place of float32.
    torch.testing.assert_close(shuffled, feature, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(moved, weights[:, :, order], atol=1e-6, rtol=1e-5)
    each = torch.stack([_with_query(pooling, at)(patches)[0] for at in range(3)])
    torch.testing.assert_close(each.mean(0), feature, atol=1e-6, rtol=1e-5)


def _with_query(pooling, at):
    one = QueryPooling(16, 1, 4).eval()
    one.attention.load_state_dict(pooling.attention.state_dict())
    one.queries.data = pooling.queries.data[at : at + 1]
    return one


def test_contrast_of_a_hand_made_batch():
    # A real and a fake picture of two patches each, all patches of a picture alike, the two at right angles.
    patches = torch.tensor([[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2])
    tau, tau_w = 0.5, 0.1
    loss = patch_contrast(patches, torch.tensor([0, 1]), tau, tau_w)
    # delta = 1 - 0; of the other patches one is a positive of similarity 1, two are real of similarity 0.
    weight = 1 / (1 + math.exp(-1 / tau_w))
    expected = -weight * math.log(math.exp(1 / tau) / (math.exp(1 / tau) + 2 * math.exp(0)))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_contrast_is_never_negative_and_knows_separated_classes():
    mixed = torch.randn(4, 5, 8)
    apart = mixed + torch.where(LABELS == 1, 10.0, -10.0)[:, None, None]
    far, near = patch_contrast(apart, LABELS, 0.1, 0.1), patch_contrast(mixed, LABELS, 0.1, 0.1)
    assert 0 <= far < 1e-3 < near


@pytest.mark.parametrize("label", [0, 1])
def test_contrast_ignores_a_batch_of_one_class(label):
    assert patch_contrast(torch.randn(2, 5, 8), torch.full((2,), label), 0.1, 0.1) == 0


def test_contrast_leaves_an_anchor_out_of_its_own_positives():
    # A single fake patch has no positive: nothing can be said about it, and nothing may become NaN.
    loss = patch_contrast(torch.randn(2, 1, 8), torch.tensor([0, 1]), 0.1, 0.1)
    assert loss == 0


def test_contrast_of_drawn_anchors_estimates_that_of_all():
    patches = torch.randn(4, 200, 8)
    everyone = patch_contrast(patches, LABELS, 0.1, 0.1)
    drawn = torch.stack([patch_contrast(patches, LABELS, 0.1, 0.1, 100) for _ in range(30)])
    # 30 draws of 100 from 400 anchors: the mean's standard error is their spread / sqrt(30).
    assert abs(drawn.mean() - everyone) < 4 * drawn.std() / math.sqrt(30)
    torch.testing.assert_close(patch_contrast(patches, LABELS, 0.1, 0.1, 400), everyone)


def test_weights_grow_with_delta_and_are_a_half_without_it():
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    angles = torch.linspace(0, math.pi / 2, 9)
    weights = anchor_weights(torch.stack((angles.cos(), angles.sin()), 1), real, fake, 0.1)
    assert (weights.diff() > 0).all()
    assert weights[4] == pytest.approx(0.5, abs=1e-5)


def test_weights_are_no_way_to_lower_the_contrast():
    patches = torch.randn(4, 5, 8, requires_grad=True)
    patch_contrast(patches, LABELS, 0.1, 0.1).backward()
    found = patches.grad.clone()
    with torch.no_grad():
        fake, real = patches[LABELS == 1].flatten(0, 1), patches[LABELS == 0].flatten(0, 1)
        fixed = anchor_weights(fake, real.mean(0), fake.mean(0), 0.1)
    again = patches.detach().requires_grad_()
    fake = F.normalize(again[LABELS == 1].flatten(0, 1), dim=1)
    every = F.normalize(torch.cat((again[LABELS == 1], again[LABELS == 0])).flatten(0, 1), dim=1)
    similar = (fake @ every.T / 0.1).masked_fill(torch.eye(10, 20, dtype=torch.bool), -torch.inf)
    ratio = similar[:, :10].logsumexp(1) - similar.logsumexp(1)
    (-(fixed * ratio).mean()).backward()
    # Written out with constant weights the gradient is the same; float32 sums in another order.
    torch.testing.assert_close(found, again.grad, atol=1e-6, rtol=1e-4)


def test_alignment_is_nothing_where_the_queries_look_where_cls_does():
    cls = torch.softmax(torch.randn(4, 9), dim=1)
    assert attention_alignment(cls[:, None].repeat(1, 3, 1), cls, LABELS) == pytest.approx(0, abs=1e-6)
    elsewhere = torch.softmax(torch.randn(4, 3, 9), dim=2)
    assert attention_alignment(elsewhere, cls, LABELS) > 0.01


def test_alignment_is_the_divergence_from_cls_over_real_pictures_alone():
    queries = torch.tensor([[[0.75, 0.25]], [[0.5, 0.5]]])
    cls = torch.tensor([[0.5, 0.5], [0.01, 0.99]])
    loss = attention_alignment(queries, cls, torch.tensor([0, 1]))
    assert float(loss) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)
    assert attention_alignment(queries, cls, torch.tensor([1, 1])) == 0


def test_alignment_moves_the_queries_and_not_the_backbone():
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
    # 50,000 unit normal samples a class: their means and deviations are within a hundredth of 2.5 and 1.
    assert separation(patches, torch.tensor([0, 1])) == pytest.approx(2.5, abs=0.05)
    assert torch.isnan(separation(patches, torch.tensor([1, 1])))


def test_the_total_is_the_weighted_sum():
    from tests.detectors.test_contract import TINY

    detector = Qtfp(lambda_flcl=0.3, lambda_raal=0.7)
    total, parts = detector.loss(detector.build(TINY["qtfp"])(torch.randn(4, 3, 32, 32)), Batch({}, LABELS))
    torch.testing.assert_close(total, parts["cls"] + 0.3 * parts["flcl"] + 0.7 * parts["raal"])
    assert (Qtfp().lambda_flcl, Qtfp().lambda_raal) == (0.14, 1.0)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(UsageError, match="temperatures"):
        Qtfp(tau=0)
