"""DFD-HR (CVPR 2026): a crop and its four tiles, with early exits and token selection in the last blocks."""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.vit import VisionTransformer
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import (
    FAKE,
    REAL,
    Batch,
    DetectionMethod,
    Network,
    Output,
    cross_entropy,
    require_steps,
)
from deepscan.detectors.dfd_hr_routing import Branch, Ranking, RoutedOutput
from deepscan.detectors.dfd_hr_settings import settings_of
from deepscan.detectors.spearman import spearman
from deepscan.errors import ContractError, UsageError

#: Tiles along a side of the crop.
TILES = 2


def tiles_of(crops: Tensor) -> Tensor:
    """Split crops (B, 3, 2S, 2S) into 2 x 2 tiles, shape (4B, 3, S, S).

    All top left tiles come first, then top right, bottom left and bottom right.
    """
    batch, channels, height, width = crops.shape
    split = crops.reshape(batch, channels, TILES, height // TILES, TILES, width // TILES)
    return split.permute(2, 4, 0, 1, 3, 5).flatten(0, 2)


def halved(crops: Tensor) -> Tensor:
    """Resize crops to half their side: bicubic, corners not aligned, no antialiasing, borders repeated.

    Halfway between pixels the cubic kernel (a = -0.75) has the same four taps everywhere. They are written
    out because TensorRT documents no cubic resize.

    Args:
        crops: Shape (B, 3, 2S, 2S), float.
    """
    for axis in (2, 3):
        crops = crops.movedim(axis, 0)
        even, odd = crops[0::2], crops[1::2]
        before, after = torch.cat((even[:1], odd[:-1])), torch.cat((even[1:], odd[-1:]))
        crops = ((even + odd) * (19 / 32) - (before + after) * (3 / 32)).movedim(0, axis)
    return crops


class TilePooling(nn.Module):
    """Pools the tiles' vectors into one (DFD-HR, multi-scale fusion).

    Args:
        width: Width D of the vectors.
        heads: Attention heads, a divisor of the width.
        kind: `query`: a learnt query attends to them; `self`: they attend to each other and are averaged.
    """

    def __init__(self, width: int, heads: int, kind: Literal["query", "self"]) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width)) if kind == "query" else None
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tiles: Tensor) -> Tensor:
        """Pool the tiles' vectors, shape (B, 4, D), to shape (B, D)."""
        queries = tiles if self.query is None else self.query.expand(tiles.shape[0], -1, -1)
        pooled: Tensor = self.attention(queries, tiles, tiles, need_weights=False)[0]
        return pooled.mean(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class DfdHrOutput(Output):
    """Output of a `DfdHrNetwork`.

    Attributes:
        depth: Number of blocks that each sample passed in the global branch, shape (B,).
        kept: Patches that each of the m routed blocks of the global branch processed, 1 or 0, shape (B, m,
            P); 0 for samples that had exited.
        rankings: Rankings by the split branch's token judges, for the loss; empty in evaluation.
        hard_ranks: Whether the rank loss uses hard ranks.
    """

    depth: Tensor
    kept: Tensor
    rankings: tuple[Ranking, ...]
    hard_ranks: bool

    @property
    def explanation(self) -> dict[str, Tensor]:
        """Each sample's depth and the patches that routed blocks processed."""
        return {"depth": self.depth, "kept": self.kept}


class DfdHrNetwork(Network):
    """A crop at half its size and its tiles at full size, through a backbone with routing (DFD-HR, Sec. 3).

    It takes crops of twice the backbone's side. In evaluation a sample that exits leaves the batch and costs
    nothing in later routed blocks.

    Args:
        backbone: The backbone.
        preset: `paper`, or `release` for the behaviour of the released code.
        choices: Attributes of `Settings`; None for the preset's value.

    Raises:
        TypeError: An attribute is unknown.
        ValueError: A value is out of range.
        UsageError: The backbone does not accept extra tokens.
    """

    backbone: VisionTransformer
    export_note = "exits are masked: a sample that has exited is still computed, so exits save no time"

    def __init__(self, backbone: Backbone, preset: str = "paper", **choices: Any) -> None:
        super().__init__()
        settings = settings_of(preset, choices)
        self.settings, self.backbone = settings, require_steps(backbone, "DFD-HR")
        #: Whether exited samples are still computed and masked, for a graph without control flow.
        self.masked = False
        separate = settings.split and not settings.share_branches
        judged, compared = settings.routed == "both" or not separate, settings.split and not separate
        self.branch = Branch(self.backbone, settings, judged=judged, compared=compared)
        self.split_branch = Branch(self.backbone, settings) if separate else None
        width = backbone.projected
        self.pooling = TilePooling(width, settings.heads, settings.pooling) if settings.split else None
        self.head = nn.Linear(2 * width if settings.split else width, 2)

    @property
    def side(self) -> int:
        """Side of the input crops in pixels: twice the backbone's."""
        return TILES * self.backbone.side

    def forward(self, crops: Tensor) -> DfdHrOutput:
        """Return the output for normalised crops, shape (B, 3, 2S, 2S).

        Raises:
            ContractError: The crops' side is not twice the backbone's.
        """
        whole = self.run_global(crops)
        feature, rankings = self._project(whole.cls), ()
        if self.pooling is not None:
            query = whole.cls.detach().repeat(TILES**2, 1)
            branch = self.split_branch or self.branch
            parts = branch(self.backbone, tiles_of(crops), query, masked=self.masked or self.training)
            tiles = self._project(parts.cls).reshape(TILES**2, crops.shape[0], -1).transpose(0, 1)
            feature, rankings = torch.cat((feature, self.pooling(tiles)), dim=1), parts.rankings
        hard = self.settings.ranks == "hard"
        return DfdHrOutput(self.head(feature), whole.depth, whole.kept, rankings, hard)

    def run_global(self, crops: Tensor) -> RoutedOutput:
        """Run only the global branch, for crops (B, 3, 2S, 2S), which are halved.

        Raises:
            ContractError: The crops' side is not twice the backbone's.
        """
        backbone = self.backbone
        if crops.shape[2:] != (self.side, self.side):
            height, width = crops.shape[2:]
            raise ContractError(
                f"DFD-HR needs crops of {self.side} x {self.side} pixels, twice its backbone's side, "
                f"not {height} x {width}",
                f"set crop.resize: {self.side}",
            )
        routed, masked = self.settings.routed == "both", self.masked or self.training
        output: RoutedOutput = self.branch(backbone, halved(crops), routed=routed, masked=masked)
        return output

    def exportable(self) -> Network:
        """Return the network on the same weights with masked exits: every sample costs the whole depth."""
        network = copy.copy(self)
        network.masked = True
        return network

    def _project(self, cls: Tensor) -> Tensor:
        projected: Tensor = self.backbone.projection(self.backbone.ln_post(cls))
        return projected


@DETECTORS.register("dfd-hr")
@dataclass(frozen=True)
class DfdHr(DetectionMethod[DfdHrOutput]):
    """The method DFD-HR: L = CE + 0.1 (1/m) sum_i L_rank,i (DFD-HR, loss eq.).

    Attributes:
        rank_weight: Weight of the rank loss.
        soft_rank_tau: Temperature of the soft ranks, in standard deviations of the scores, above 0.
    """

    network_type: ClassVar = DfdHrNetwork
    tuning: ClassVar = "frozen"
    rank_weight: float = 0.1
    soft_rank_tau: float = 0.1

    def __post_init__(self) -> None:
        if self.soft_rank_tau <= 0:
            raise UsageError(
                f"soft_rank_tau, a temperature, must be above 0, not {self.soft_rank_tau}",
                "set for example: loss.soft_rank_tau=0.1",
            )

    def loss(self, output: DfdHrOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss; the parts are `cls`, `rank`, and statistics of the routing.

        `depth_real` and `depth_fake` are the mean depth of each class, NaN for a class that the batch lacks;
        `kept` is the mean share of patches that routed blocks processed. The rank loss is 0 in evaluation.
        """
        labels = batch.labels
        classified = cross_entropy(output, batch)
        losses = [rank_loss(ranking, self.soft_rank_tau, output.hard_ranks) for ranking in output.rankings]
        rank = torch.stack(losses).mean() if losses else classified.new_zeros(())
        parts = {
            "cls": classified,
            "rank": rank,
            "depth_real": output.depth[labels == REAL].mean(),
            "depth_fake": output.depth[labels == FAKE].mean(),
            "kept": output.kept.mean(),
        }
        return classified + self.rank_weight * rank, {name: part.detach() for name, part in parts.items()}


def rank_loss(ranking: Ranking, tau: float, hard: bool = False) -> Tensor:
    """Return 1 minus Spearman's correlation of a token judge's scores, in [0, 2] (DFD-HR, rank loss).

    Args:
        ranking: The scores, their target, and the active samples.
        tau: Temperature of the soft ranks.
        hard: Whether ranks are hard, without a gradient.

    Returns:
        A scalar, the mean over the active samples; 0 if all have exited.
    """
    active = ranking.active.float()
    losses = 1 - spearman(ranking.scores, ranking.target, tau, hard)
    return (losses * active).sum() / active.sum().clamp_min(1)
