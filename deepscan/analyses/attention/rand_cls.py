"""RandCLS against PreCLS: what a random CLS token comes to in a backbone that does not train."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscan.analyses.analysis import FloatArray
from deepscan.analyses.crops import DrawnCrop, OpenNetwork
from deepscan.analyses.heads import auc_and_loss
from deepscan.backbones.vit import as_transformer
from deepscan.detectors.detector import FAKE, REAL

Pixels = NDArray[np.uint8]
#: The tokens that are compared: the model's own, and one drawn at random.
ARMS = ("PreCLS", "RandCLS")
#: Crops a step.
TRAIN_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class ClsEpoch:
    """What a token has come to after an epoch, on the crops that it has not learnt from.

    Attributes:
        arm: One of `ARMS`.
        epoch: Epochs that it has learnt, 0 for none.
        auc: Of a linear head on it.
        attention: Where it looks, shape (N, P), rows summing to 1.
    """

    arm: str
    epoch: int
    auc: float
    attention: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CropHalves:
    """Crops to learn from and crops to judge by; no group is in both.

    Attributes:
        labels: 0 for real, 1 for fake, shape (N,).
        learnt: Rows to learn from.
        held_out: The other rows.
    """

    labels: NDArray[np.int64]
    learnt: NDArray[np.int64]
    held_out: NDArray[np.int64]

    def passes(self, epochs: int) -> int:
        """Return how often a crop goes through the backbone until both tokens have learnt so many epochs."""
        return len(ARMS) * (epochs * len(self.learnt) + (epochs + 1) * len(self.held_out))

    @property
    def whole(self) -> bool:
        """Whether both halves have both labels."""
        return all(len(np.unique(self.labels[rows])) == 2 for rows in (self.learnt, self.held_out))


def split_halves(crops: Sequence[DrawnCrop], seed: int) -> CropHalves:
    """Return crops in two halves, group by group as the seed has it."""
    names = sorted({crop.group for crop in crops})
    rank = dict(zip(names, np.random.default_rng(seed).permutation(len(names)).tolist(), strict=True))
    order = np.array(sorted(range(len(crops)), key=lambda index: rank[crops[index].group]), dtype=np.int64)
    groups = [crops[index].group for index in order]
    cut = len(order) // 2
    while 0 < cut < len(order) and groups[cut] == groups[cut - 1]:
        cut += 1
    labels = np.array([crop.label for crop in crops], dtype=np.int64)
    return CropHalves(labels, order[:cut], order[cut:])


def compare_cls(
    opened: OpenNetwork,
    halves: CropHalves,
    pixels: Pixels,
    *,
    epochs: int,
    lr: float,
    seed: int,
    on_progress: Callable[[int], None] = lambda count: None,
) -> list[ClsEpoch]:
    """Return what both tokens come to, epoch by epoch (QTFP, Fig. 2b).

    The token and a linear head on it learn by cross-entropy and Adam; the backbone stays as it is. Both begin
    with the same head, of zeros, and see the same batches. What is random is all by which the token enters
    the backbone, its learnt position too, in the magnitude of the model's own. The network is left as it was.

    Args:
        opened: The network; its backbone has a CLS token.
        halves: The crops.
        pixels: RGB of these, shape (N, S, S, 3), uint8.
        epochs: How often each crop is learnt from.
        lr: Learning rate.
        seed: Of the random token and the order of the crops.
        on_progress: Called after each batch with its number of crops.

    Raises:
        UsageError: The backbone has no transformer blocks.
    """
    backbone = as_transformer(opened.network.backbone, "RandCLS against PreCLS")
    own = backbone.cls
    assert own is not None
    place = torch.zeros_like(own) if backbone.position is None else backbone.position[:, :1].detach()
    drawn = torch.randn(own.shape, generator=torch.Generator().manual_seed(seed)).to(own)
    magnitude = (own.detach() + place).square().mean().sqrt()
    starts = (own.detach(), drawn * magnitude - place)
    points: list[ClsEpoch] = []
    trained = [value for value in backbone.parameters() if value.requires_grad]
    backbone.requires_grad_(False)
    try:
        for arm, start in zip(ARMS, starts, strict=True):
            backbone.cls = nn.Parameter(start.clone())
            head = nn.Linear(backbone.width, 2).to(own.device)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            optimiser = torch.optim.Adam([backbone.cls, *head.parameters()], lr)
            rng = np.random.default_rng(seed)
            points.append(_judged(arm, 0, opened, head, halves, pixels, on_progress))
            for epoch in range(1, epochs + 1):
                for rows in _parts(rng.permutation(halves.learnt)):
                    _learn(opened, head, pixels[rows], halves.labels[rows], optimiser)
                    on_progress(len(rows))
                points.append(_judged(arm, epoch, opened, head, halves, pixels, on_progress))
    finally:
        backbone.cls = own
        for value in trained:
            value.requires_grad_(True)
    return points


def _learn(
    opened: OpenNetwork,
    head: nn.Module,
    pixels: Pixels,
    labels: NDArray[np.int64],
    optimiser: torch.optim.Optimizer,
) -> None:
    logits: Tensor = head(opened.network.backbone(opened.prepare(pixels)["crops"]).cls)
    loss = F.cross_entropy(logits, torch.from_numpy(labels).to(logits.device))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


@torch.no_grad()
def _judged(
    arm: str,
    epoch: int,
    opened: OpenNetwork,
    head: nn.Module,
    halves: CropHalves,
    pixels: Pixels,
    on_progress: Callable[[int], None],
) -> ClsEpoch:
    margins, looks = [], []
    for rows in _parts(halves.held_out):
        tokens = opened.network.backbone(opened.prepare(pixels[rows])["crops"])
        logits = head(tokens.cls).double()
        margins.append(logits[:, FAKE] - logits[:, REAL])
        looks.append(tokens.attention.double().cpu().numpy())
        on_progress(len(rows))
    auc, _ = auc_and_loss(halves.labels[halves.held_out], torch.cat(margins))
    return ClsEpoch(arm, epoch, auc, np.concatenate(looks))


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + TRAIN_BATCH] for start in range(0, len(rows), TRAIN_BATCH)]
