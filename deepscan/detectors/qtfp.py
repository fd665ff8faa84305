"""QTFP (CVPR 2026): queries pool the patch tokens; patch contrast and attention alignment train it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepscan.backbones.tokens import Tokens
from deepscan.backbones.vit import VisionTransformer
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import FAKE, REAL, Batch, Detector, Network, Output, assemble, split_network
from deepscan.errors import UsageError


class QueryPooling(nn.Module):
    """K queries attend to the patch tokens; their mean is the picture's feature (QTFP, Sec. 3, query eq.).

    The attention is projected: the paper's parameter counts (4.20 M on a width of 1024, over every host)
    are those of a standard multi-head attention with biases, and leave no room for a norm around it.

    Args:
        width: Width D of the tokens.
        queries: Number K of queries.
        heads: Attention heads, a divisor of the width.
    """

    def __init__(self, width: int, queries: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return features, shape (B, D), and head-averaged weights, shape (B, K, P), of patches (B, P, D)."""
        queries = self.queries.expand(patches.shape[0], -1, -1)
        pooled, weights = self.attention(queries, patches, patches, need_weights=True)
        return pooled.mean(dim=1), weights


@dataclass(frozen=True, slots=True, eq=False)
class QtfpOutput(Output):
    """What a `QtfpNetwork` says.

    Attributes:
        attention: Where each of K queries looked among the P patches, shape (B, K, P), rows summing to 1.
        tokens: The backbone's tokens, for the losses.
    """

    attention: Tensor
    tokens: Tokens

    @property
    def evidence(self) -> dict[str, Tensor]:
        """The queries' attention."""
        return {"attention": self.attention}


class QtfpNetwork(Network):
    """Backbone, query pooling and a linear head; the CLS token is not classified (QTFP, Sec. 3)."""

    def __init__(self, backbone: VisionTransformer, queries: int = 4, heads: int = 8) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = QueryPooling(backbone.width, queries, heads)
        self.head = nn.Linear(backbone.width, 2)

    def forward(self, crops: Tensor) -> QtfpOutput:
        """Return the output for normalised crops, shape (B, 3, S, S)."""
        tokens = self.backbone(crops)
        feature, attention = self.pooling(tokens.patches)
        return QtfpOutput(self.head(feature), attention, tokens)


@DETECTORS.register("qtfp")
@dataclass(frozen=True)
class Qtfp(Detector[QtfpOutput]):
    """The method QTFP: L = L_CLS + 0.14 L_FLCL + 1.0 L_RAAL (QTFP, total loss eq.).

    Attributes:
        lambda_flcl: Weight of the patch contrast.
        lambda_raal: Weight of the attention alignment.
        tau: Temperature of the contrast.
        tau_w: Temperature of the anchors' weights.
        max_anchor_tokens: Anchors drawn from a batch's fake patches, None for all of them.
        label_smoothing: Of the cross-entropy.
    """

    lambda_flcl: float = 0.14
    lambda_raal: float = 1.0
    tau: float = 0.1
    tau_w: float = 0.1
    max_anchor_tokens: int | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.tau <= 0 or self.tau_w <= 0:
            raise UsageError(
                f"temperatures must be positive, not {self.tau}, {self.tau_w}", "correct loss.tau"
            )

    def build(self, network: Mapping[str, Any], weights: str = "random") -> Network:
        """Return a `QtfpNetwork`; `network` states `backbone`, `tuning`, `queries` and `heads`."""
        return assemble(QtfpNetwork, *split_network(network, weights))

    def loss(self, output: QtfpOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss; the parts are `cls`, `flcl`, `raal` and the diagnostic `snr`."""
        labels = batch.labels
        patches = output.tokens.patches.float()
        classified = F.cross_entropy(output.logits.float(), labels, label_smoothing=self.label_smoothing)
        contrast = patch_contrast(patches, labels, self.tau, self.tau_w, self.max_anchor_tokens)
        alignment = attention_alignment(output.attention, output.tokens.attention, labels)
        total = classified + self.lambda_flcl * contrast + self.lambda_raal * alignment
        parts = {"cls": classified, "flcl": contrast, "raal": alignment, "snr": separation(patches, labels)}
        return total, {name: part.detach() for name, part in parts.items()}


def anchor_weights(anchors: Tensor, real_mean: Tensor, fake_mean: Tensor, tau_w: float) -> Tensor:
    """Return how much each anchor counts, in (0, 1): sigmoid(delta / tau_w) (QTFP, weighting eq.).

    delta is the cosine to the fakes' mean less the cosine to the reals' mean.

    Args:
        anchors: Patch tokens, shape (N, D).
        real_mean: Mean patch token of the real pictures, shape (D,).
        fake_mean: Mean patch token of the fake pictures, shape (D,).
        tau_w: Temperature.
    """
    delta = F.cosine_similarity(anchors, fake_mean, dim=-1) - F.cosine_similarity(anchors, real_mean, dim=-1)
    return torch.sigmoid(delta / tau_w)


def patch_contrast(
    patches: Tensor, labels: Tensor, tau: float, tau_w: float, max_anchor_tokens: int | None = None
) -> Tensor:
    """Return L_FLCL, at least 0: fake patches are drawn together, away from real ones (QTFP, FLCL eq.).

    The paper's numerator and denominator index different sets. Here an anchor's positives are all other
    patches of fake pictures in the batch and its denominator all other patches, so that the ratio is at
    most 1. Means and weights are detached, or the loss would fall by shrinking the weights.

    Args:
        patches: Patch tokens, shape (B, P, D), float32.
        labels: 0 or 1, shape (B,).
        tau: Temperature of the similarities.
        tau_w: Temperature of the weights.
        max_anchor_tokens: Anchors drawn at random, None for all.

    Returns:
        A scalar; 0 for a batch without both classes.
    """
    fake, real = patches[labels == FAKE].flatten(0, 1), patches[labels == REAL].flatten(0, 1)
    # An anchor needs another fake patch as its positive.
    if len(fake) < 2 or not len(real):
        return patches.new_zeros(())
    with torch.no_grad():
        weights = anchor_weights(fake, real.mean(0), fake.mean(0), tau_w)
    fake, real = F.normalize(fake, dim=-1), F.normalize(real, dim=-1)
    chosen = torch.arange(len(fake), device=fake.device)
    if max_anchor_tokens is not None and len(fake) > max_anchor_tokens:
        chosen = torch.randperm(len(fake), device=fake.device)[:max_anchor_tokens]
    anchors = fake[chosen]
    to_fake = (anchors @ fake.T / tau).scatter(1, chosen[:, None], -torch.inf)
    positive = to_fake.logsumexp(dim=1)
    everything = torch.logaddexp(positive, (anchors @ real.T / tau).logsumexp(dim=1))
    return (weights[chosen] * (everything - positive)).mean()


def attention_alignment(queries: Tensor, cls: Tensor, labels: Tensor) -> Tensor:
    """Return L_RAAL, the mean KL(queries || CLS) over queries of real pictures (QTFP, RAAL eq.).

    Args:
        queries: Attention of the queries, shape (B, K, P), rows summing to 1.
        cls: Attention of the CLS token, shape (B, P), rows summing to 1; detached here.
        labels: 0 or 1, shape (B,).

    Returns:
        A scalar; 0 for a batch without a real picture.
    """
    real = labels == REAL
    if not real.any():
        return queries.new_zeros((), dtype=torch.float32)
    given = queries[real].float().clamp_min(1e-8)
    anchor = cls[real].detach().float().clamp_min(1e-8)[:, None]
    return (given * (given.log() - anchor.log())).sum(dim=-1).mean()


@torch.no_grad()
def separation(patches: Tensor, labels: Tensor) -> Tensor:
    """Return the SNR of the two classes' patch tokens (QTFP, supplement); above 1 is informative.

    ||dmu|| / sigma, sigma being the standard deviation along dmu, the classes' variances averaged.

    Args:
        patches: Patch tokens, shape (B, P, D), float32.
        labels: 0 or 1, shape (B,).

    Returns:
        A scalar; NaN for a batch without both classes.
    """
    fake, real = patches[labels == FAKE].flatten(0, 1), patches[labels == REAL].flatten(0, 1)
    if not len(fake) or not len(real):
        return patches.new_tensor(torch.nan)
    gap = real.mean(0) - fake.mean(0)
    distance = gap.norm().clamp_min(1e-12)
    along = gap / distance
    spread = ((real @ along).var(correction=0) + (fake @ along).var(correction=0)) / 2
    snr: Tensor = distance / spread.sqrt().clamp_min(1e-12)
    return snr
