"""Effort: the smallest singular triplets and the penalties on them."""

import pytest
import torch
from torch import nn

from deepscan.backbones.effort import EffortLinear, penalties, smallest_triplets
from deepscan.backbones.tuning import tune
from deepscan.backbones.weights import build_backbone
from deepscan.errors import UsageError
from tests.backbones.tiny import TINY


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(7)


@pytest.mark.parametrize("shape", [(24, 24), (40, 24), (24, 40)])
@pytest.mark.parametrize("rank", [1, 3])
def test_the_triplets_are_the_last_of_a_full_svd(shape, rank):
    weight = torch.randn(shape)
    u, s, v = smallest_triplets(weight, rank)
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(s, values[-rank:])
    # The sign of a pair of vectors is arbitrary; their product is not.
    torch.testing.assert_close((u * s) @ v, (left[:, -rank:] * values[-rank:]) @ right[-rank:])
    torch.testing.assert_close(u.T @ u, torch.eye(rank), atol=1e-6, rtol=0)
    torch.testing.assert_close(v @ v.T, torch.eye(rank), atol=1e-6, rtol=0)


def test_the_vectors_are_orthogonal_without_full_rank_too():
    weight = torch.randn(24, 20) @ torch.randn(20, 24)
    u, s, v = smallest_triplets(weight, 2)
    assert s.max() < 1e-5
    torch.testing.assert_close(u.T @ u, torch.eye(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(v @ v.T, torch.eye(2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_map_is_unchanged_and_its_frozen_part_lacks_the_triplets(rank):
    linear = nn.Linear(24, 24)
    tuned = EffortLinear(linear, rank)
    x = torch.randn(5, 24)
    torch.testing.assert_close(tuned(x), linear(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tuned.folded().weight, linear.weight, atol=1e-6, rtol=0)
    values = torch.linalg.svdvals(tuned.main)
    assert values[-rank:].max() < 1e-5
    torch.testing.assert_close(values[:-rank], torch.linalg.svdvals(linear.weight)[:-rank])


def by_definition(tuned, weight):
    """Return both penalties by Effort's equations, from all singular vectors."""
    rank = len(tuned.s)
    left, _, right = torch.linalg.svd(tuned.main)
    left, right = left[:, :-rank], right[:-rank]
    u, v = torch.cat((left, tuned.u), dim=1), torch.cat((right, tuned.v))
    orth = sum(torch.linalg.norm(side @ side.T - torch.eye(24)) for side in (u, v)) / 2
    whole = tuned.main + (tuned.u * tuned.s) @ tuned.v
    return orth, (whole.square().sum() - weight.square().sum()).abs()


@pytest.mark.parametrize("rank", [1, 3])
def test_penalties_match_the_papers_equations(rank):
    linear = nn.Linear(24, 24)
    tuned = EffortLinear(linear, rank)
    # The square root of a sum of rounding errors.
    assert tuned.orth_loss() < 1e-5
    assert tuned.ksv_loss() < 1e-5
    with torch.no_grad():
        for value in (tuned.u, tuned.s, tuned.v):
            value.add_(0.3 * torch.randn_like(value))
    orth, ksv = by_definition(tuned, linear.weight)
    assert min(orth, ksv) > 0.01
    torch.testing.assert_close(tuned.orth_loss(), orth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tuned.ksv_loss(), ksv, atol=1e-4, rtol=1e-4)


def test_a_backbones_penalties_are_means_over_its_matrices_and_train_it():
    backbone = build_backbone(TINY["clip-vit-l14"])
    tune(backbone, {"type": "effort", "targets": ["q", "mlp.0"]})
    tuned = [module for module in backbone.modules() if isinstance(module, EffortLinear)]
    assert len(tuned) == 6
    # The gradient is finite at the start, where both penalties are zero.
    sum(penalties(backbone)).backward()
    assert all(value.grad.isfinite().all() for value in backbone.parameters() if value.requires_grad)
    with torch.no_grad():
        for module in tuned:
            module.u += 0.1
            module.s += 0.1
    orth, ksv = penalties(backbone)
    torch.testing.assert_close(orth, sum(module.orth_loss() for module in tuned) / 6)
    torch.testing.assert_close(ksv, sum(module.ksv_loss() for module in tuned) / 6)
    (orth + ksv).backward()
    assert all(value.grad.isfinite().all() for value in backbone.parameters() if value.requires_grad)
    assert tuned[0].u.grad.abs().max() > 0


def test_penalties_of_a_backbone_without_effort_are_refused():
    with pytest.raises(UsageError, match="Effort"):
        penalties(build_backbone(TINY["clip-vit-l14"]))
