"""RandCLS against PreCLS: training a random and a pre-trained CLS token in a frozen backbone."""

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
#: The compared tokens: the model's own, and a random one.
ARMS = ("PreCLS", "RandCLS")
#: Number of crops in a training step.
TRAIN_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class ClsEpoch:
    """Results of a token after an epoch, on held-out crops.

    Attributes:
        arm: One of `ARMS`.
        epoch: Number of training epochs, from 0.
        auc: AUC of a linear head on the token.
        attention: Attention of the token, shape (N, P), rows summing to 1.
    """

    arm: str
    epoch: int
    auc: float
    attention: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CropHalves:
    """Training and held-out crops without common groups.

    Attributes:
        labels: 0 for real, 1 for fake, shape (N,).
        learnt: Rows to train on.
        held_out: Rows to test on.
    """

    labels: NDArray[np.int64]
    learnt: NDArray[np.int64]
    held_out: NDArray[np.int64]

    def passes(self, epochs: int) -> int:
        """Return the number of crops passed through the backbone to train both tokens for some epochs."""
        return len(ARMS) * (epochs * len(self.learnt) + (epochs + 1) * len(self.held_out))

    @property
    def whole(self) -> bool:
        """Whether both halves have both labels."""
        return all(len(np.unique(self.labels[rows])) == 2 for rows in (self.learnt, self.held_out))


def split_halves(crops: Sequence[DrawnCrop], seed: int) -> CropHalves:
    """Split crops into random halves without common groups."""
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
    """Train both tokens and return their results after each epoch (QTFP, Fig. 2b).

    The token and a linear head on it are trained with cross-entropy and Adam; the backbone is frozen. Both
    arms start with the same zero head and see the same batches. The random token replaces the sum of the
    token and its position embedding, with the same magnitude. The network is restored at the end.

    Args:
        opened: The network, whose backbone has a CLS token.
        halves: The crops.
        pixels: Pixels of the crops, RGB, shape (N, S, S, 3), uint8.
        epochs: Number of training epochs.
        lr: Learning rate.
        seed: Seed of the random token and of the order of the crops.
        on_progress: Called after each batch with its number of crops.

    Raises:
        UsageError: The backbone has no transformer blocks.
    """
    backbone = as_transformer(opened.network.backbone, "RandCLS against PreCLS")
    original = backbone.cls
    assert original is not None
    position = torch.zeros_like(original) if backbone.position is None else backbone.position[:, :1].detach()
    noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(seed)).to(original)
    magnitude = (original.detach() + position).square().mean().sqrt()
    starts = (original.detach(), noise * magnitude - position)
    points: list[ClsEpoch] = []
    trained = [value for value in backbone.parameters() if value.requires_grad]
    backbone.requires_grad_(False)
    try:
        for arm, start in zip(ARMS, starts, strict=True):
            backbone.cls = nn.Parameter(start.clone())
            head = nn.Linear(backbone.width, 2).to(original.device)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            optimiser = torch.optim.Adam([backbone.cls, *head.parameters()], lr)
            rng = np.random.default_rng(seed)
            points.append(_evaluate(arm, 0, opened, head, halves, pixels, on_progress))
            for epoch in range(1, epochs + 1):
                for rows in _parts(rng.permutation(halves.learnt)):
                    _train_step(opened, head, pixels[rows], halves.labels[rows], optimiser)
                    on_progress(len(rows))
                points.append(_evaluate(arm, epoch, opened, head, halves, pixels, on_progress))
    finally:
        backbone.cls = original
        for value in trained:
            value.requires_grad_(True)
    return points


def _train_step(
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
def _evaluate(
    arm: str,
    epoch: int,
    opened: OpenNetwork,
    head: nn.Module,
    halves: CropHalves,
    pixels: Pixels,
    on_progress: Callable[[int], None],
) -> ClsEpoch:
    margins, attentions = [], []
    for rows in _parts(halves.held_out):
        tokens = opened.network.backbone(opened.prepare(pixels[rows])["crops"])
        logits = head(tokens.cls).double()
        margins.append(logits[:, FAKE] - logits[:, REAL])
        attentions.append(tokens.attention.double().cpu().numpy())
        on_progress(len(rows))
    auc, _ = auc_and_loss(halves.labels[halves.held_out], torch.cat(margins))
    return ClsEpoch(arm, epoch, auc, np.concatenate(attentions))


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + TRAIN_BATCH] for start in range(0, len(rows), TRAIN_BATCH)]
