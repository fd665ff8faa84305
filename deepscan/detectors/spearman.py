"""Rank correlation with a gradient."""

import torch
from torch import Tensor

#: Added to variances, so that values that are all the same have a correlation of 0 and a gradient of 0.
EPS = 1e-8


def soft_ranks(values: Tensor, tau: float = 0.1) -> Tensor:
    """Return the ranks of values within their row, softly: rank_i = sum_j sigmoid((v_i - v_j) / tau).

    Values are standardised first, so that the temperature means the same for every row. Up to a constant
    these are the ranks from 1 as tau goes to 0.

    Args:
        values: Shape (B, N), float; N * N numbers are held for each row.
        tau: Temperature, in standard deviations of a row.
    """
    values = _standardised(values.float())
    return torch.sigmoid((values[:, :, None] - values[:, None]) / tau).sum(dim=2)


def hard_ranks(values: Tensor) -> Tensor:
    """Return the ranks of values within their row, from 0, shape (B, N), float; ties share their mean rank.

    They have no gradient.
    """
    values = values.detach()
    return (0.5 + 0.5 * (values[:, :, None] - values[:, None]).sign()).sum(dim=2) - 0.5


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Pearson's correlation of rows, shape (B,), of (B, N) each; 0 where one is constant."""
    return (_standardised(first.float()) * _standardised(second.float())).mean(dim=1)


def spearman(scores: Tensor, target: Tensor, tau: float = 0.1, hard: bool = False) -> Tensor:
    """Return Spearman's rank correlation of scores with a target, row by row, in [-1, 1], shape (B,).

    Args:
        scores: Shape (B, N); what the gradient goes to.
        target: Shape (B, N); only its ranks count, and they have no gradient.
        tau: Temperature of the scores' soft ranks.
        hard: Whether the scores' ranks are hard, which is exact and gives no gradient.
    """
    ranks = hard_ranks(scores) if hard else soft_ranks(scores, tau)
    return correlation(ranks, hard_ranks(target))


def _standardised(values: Tensor) -> Tensor:
    centred = values - values.mean(dim=1, keepdim=True)
    return centred * (centred.square().mean(dim=1, keepdim=True) + EPS).rsqrt()
