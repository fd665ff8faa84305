"""CoRIT's masks: the tokens of a region whose contrast follows the region's mean contrast."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from deepscan.detectors.detector import exact

Threshold = Literal["relative", "deviation", "cosine"]
Pooling = Literal["average", "max"]
_EPS = 1e-6


def pooled(tokens: Tensor, masks: Tensor, pooling: Pooling = "average") -> Tensor:
    """Pool the tokens in each mask by their mean or maximum; 0 for an empty mask (CoRIT, Eq. 21).

    Args:
        tokens: Shape (B, P, D), float32.
        masks: 0 or 1, shape (B, K, P).
        pooling: `average` or `max`.

    Returns:
        Shape (B, K, D).
    """
    if pooling == "average":
        with exact(tokens):
            return masks @ tokens / (masks.sum(dim=2, keepdim=True) + _EPS)
    # Region by region: all at once would take K times the memory of the tokens.
    largest = [
        torch.where(mask[..., None] > 0, tokens, -torch.inf).amax(dim=1) for mask in masks.unbind(dim=1)
    ]
    return torch.where(masks.sum(dim=2, keepdim=True) > 0, torch.stack(largest, dim=1), 0.0)


def projected(contrast: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Project each token's contrast onto each region's anchor (CoRIT, Eq. 19 and Sec. IV-B2).

    The anchor is the mean contrast of the region's tokens, scaled to unit length.

    Args:
        contrast: The counterpart's tokens minus the crop's: the gradient proxy (Eq. 18), shape (B, P, D),
            float32.
        regions: 0 or 1, none of them empty, shape (B, K, P).

    Returns:
        Projections, shape (B, K, P), and the length of each region's mean contrast, shape (B, K), which is
        also the mean of its projections.
    """
    # Differences of nearly equal numbers need float32 even if the backbone uses less.
    with exact(contrast):
        centroid = regions @ contrast / regions.sum(dim=2, keepdim=True)
        length = centroid.norm(dim=2)
        anchors = centroid / length.clamp_min(1e-12)[..., None]
        return anchors @ contrast.transpose(1, 2), length


@dataclass(frozen=True, slots=True)
class Refinement:
    """Keeps the tokens of each region whose contrast follows its anchor (CoRIT, Eq. 20).

    The paper does not give the threshold's formula. In its Table XI the threshold has the same effect from 0
    to 0.9 and changes at 1, which fits one relative to the region's mean projection.

    Attributes:
        threshold: What a projection p must exceed: `relative`, tau times the mean of p over the region;
            `deviation`, that mean plus tau standard deviations; `cosine`, tau, after dividing p by the length
            of the token's contrast.
        tau: Parameter of the threshold.
    """

    threshold: Threshold = "relative"
    tau: float = 0.1

    def __post_init__(self) -> None:
        if self.threshold not in get_args(Threshold):
            raise ValueError(
                f"threshold must be one of {', '.join(get_args(Threshold))}, not {self.threshold!r}"
            )

    def __call__(self, contrast: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks within the regions, 0 or 1, and the projections, both of shape (B, K, P).

        Args:
            contrast: Shape (B, P, D), float32.
            regions: 0 or 1, none of them empty, shape (B, K, P).
        """
        projections, length = projected(contrast, regions)
        mean = length[..., None]
        if self.threshold == "relative":
            above = projections > self.tau * mean
        elif self.threshold == "deviation":
            square = (projections - mean).square() * regions
            spread = (square.sum(dim=2, keepdim=True) / regions.sum(dim=2, keepdim=True)).sqrt()
            above = projections > mean + self.tau * spread
        else:
            above = projections > self.tau * contrast.norm(dim=2)[:, None]
        return regions * above, projections
