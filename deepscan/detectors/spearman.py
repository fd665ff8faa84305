"""Differentiable rank correlation."""

import torch
from torch import Tensor

#: Added to variances, so that constant values have a correlation of 0 and a gradient of 0.
EPS = 1e-8


def soft_ranks(values: Tensor, tau: float = 0.1) -> Tensor:
    """Return soft ranks of values within their row: rank_i = sum_j sigmoid((v_i - v_j) / tau).

    Values are standardised first, so that the temperature has the same meaning for every row. As tau goes to
    0, they become the ranks from 1, up to a constant.

    Args:
        values: Shape (B, N), float; N * N numbers are needed for each row.
        tau: Temperature, in standard deviations of a row.
    """
    values = _standardised(values.float())
    return torch.sigmoid((values[:, :, None] - values[:, None]) / tau).sum(dim=2)


def hard_ranks(values: Tensor) -> Tensor:
    """Return ranks of values within their row, from 0, shape (B, N), float, without a gradient.

    Ties share their mean rank.
    """
    values = values.detach()
    return (0.5 + 0.5 * (values[:, :, None] - values[:, None]).sign()).sum(dim=2) - 0.5


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Pearson's correlation of each row of two (B, N), shape (B,); 0 if a row is constant."""
    return (_standardised(first.float()) * _standardised(second.float())).mean(dim=1)


def spearman(scores: Tensor, target: Tensor, tau: float = 0.1, hard: bool = False) -> Tensor:
    """Return Spearman's rank correlation of scores with a target, row by row, in [-1, 1], shape (B,).

    Args:
        scores: Shape (B, N); they get the gradient.
        target: Shape (B, N); only its ranks matter, and they have no gradient.
        tau: Temperature of the scores' soft ranks.
        hard: Whether the scores' ranks are hard: exact, but without a gradient.
    """
    ranks = hard_ranks(scores) if hard else soft_ranks(scores, tau)
    return correlation(ranks, hard_ranks(target))


def _standardised(values: Tensor) -> Tensor:
    centred = values - values.mean(dim=1, keepdim=True)
    return centred * (centred.square().mean(dim=1, keepdim=True) + EPS).rsqrt()
