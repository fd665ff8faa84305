"""Soft ranks and Spearman's correlation."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from deepscan.detectors.spearman import hard_ranks, soft_ranks, spearman


@pytest.fixture
def rows():
    """Scores of 257 tokens for 16 crops on different scales, with correlations to targets from -1 to 1."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(16, 257))
    strength = np.linspace(-1, 1, 16)[:, None]
    scores = strength * target + (1 - abs(strength)) * rng.normal(size=(16, 257))
    scales = np.logspace(-2, 2, 16)[:, None]
    return torch.tensor(scores * scales + 5, dtype=torch.float32), torch.tensor(target, dtype=torch.float32)


# Soft ranks are blurred by a tenth of a standard deviation. Hard ranks are whole numbers; only the float32
# rounding of the mean over 257 remains.
@pytest.mark.parametrize(("hard", "tolerance"), [(False, 0.01), (True, 1e-5)])
def test_the_correlation_matches_scipys(rows, hard, tolerance):
    exact = [spearmanr(s, t).statistic for s, t in zip(*rows, strict=True)]
    np.testing.assert_allclose(spearman(*rows, hard=hard).numpy(), exact, atol=tolerance)


def test_hard_ranks_match_scipys_including_ties():
    values = torch.tensor([[3.0, 1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(hard_ranks(values).numpy(), rankdata(values.numpy(), axis=1) - 1)


def test_soft_ranks_approach_hard_ranks_at_low_temperature():
    values = torch.randn(2, 9)
    # A value's sigmoid with itself is a half, which ranks from 0 do not include.
    torch.testing.assert_close(soft_ranks(values, 1e-4) - 0.5, hard_ranks(values))


def test_only_scores_get_a_gradient_and_following_it_raises_the_correlation(rows):
    scores, target = (part[8:9].clone().requires_grad_() for part in rows)
    before = spearman(scores, target)
    before.sum().backward()
    assert scores.grad.abs().min() > 0
    assert target.grad is None
    after = spearman(scores.detach() + 0.1 * scores.grad.sign() * scores.std(), target)
    assert after > before


def test_hard_ranks_have_no_gradient(rows):
    scores, target = rows
    assert not spearman(scores.requires_grad_(), target, hard=True).requires_grad


def test_constant_scores_have_no_correlation_and_a_finite_gradient():
    scores = torch.zeros(1, 5, requires_grad=True)
    rho = spearman(scores, torch.arange(5.0)[None])
    rho.sum().backward()
    assert rho.item() == 0
    assert torch.isfinite(scores.grad).all()
