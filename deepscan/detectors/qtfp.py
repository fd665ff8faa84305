"""QTFP (CVPR 2026): queries pool the patch tokens; patch contrast and attention alignment train it."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from deepscan.backbones.backbone import Backbone, Tokens
from deepscan.backbones.effort import penalties
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import (
    Batch,
    Classifier,
    Network,
    Output,
    cross_entropy,
    exact,
)
from deepscan.detectors.qtfp_losses import (
    attention_alignment,
    mask_contrast,
    patch_contrast,
    separation,
    token_alignment,
)
from deepscan.errors import UsageError

Fusion = Literal["global", "cls", "avg", "weighted", "concat"]
Norm = Literal["after", "before"]
Contrast = Literal["flcl", "macl", "none"]
Weighting = Literal["sigmoid", "softmax"]
Alignment = Literal["attention", "token", "none"]
AlignmentMetric = Literal["kl", "l1", "l2"]


class QueryPooling(nn.Module):
    """K queries attend to the patch tokens; their mean is the picture's feature (QTFP, Sec. 3, query eq.).

    The attention is projected: the paper's parameter counts (4.20 M on a width of 1024, over every host)
    are those of a standard multi-head attention with biases, and leave no room for a norm around it.

    Args:
        width: Width D of the tokens.
        queries: Number K of queries.
        heads: Attention heads, a divisor of the width.

    Raises:
        ValueError: There is no query.
    """

    def __init__(self, width: int, queries: int, heads: int) -> None:
        super().__init__()
        if queries < 1:
            raise ValueError(f"queries must be at least 1, not {queries}")
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
        attention: Where each of K queries looked among the P patches, shape (B, K, P), rows summing to 1; of
            a network without queries, where its CLS token looked, K being 1.
        pooled: The global token, the mean of what the queries gathered, shape (B, D); None without queries.
        tokens: The backbone's tokens, for the losses.
        backbone: The backbone, for the penalties on its weights.
    """

    attention: Tensor
    pooled: Tensor | None
    tokens: Tokens
    backbone: Backbone

    @property
    def explanation(self) -> dict[str, Tensor]:
        """The queries' attention."""
        return {"attention": self.attention}


class QtfpNetwork(Network):
    """Backbone, query pooling and a linear head (QTFP, Sec. 3).

    Args:
        backbone: The backbone. Parts of it that nothing here reads do not train.
        queries: Number K of queries.
        heads: Attention heads of the pooling, a divisor of the backbone's width.
        fusion: What is classified: the `global` token of the queries alone, as the paper does; the `cls`
            token alone, without queries; or both (supplement, Table 1): their mean (`avg`), their mean with
            learnt weights (`weighted`), or one beside the other (`concat`).
        norm: Whether patches are taken `after` the backbone's final norm or `before` it. No source says;
            CLIP itself norms before use.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        backbone: Backbone,
        queries: int = 4,
        heads: int = 8,
        fusion: Fusion = "global",
        norm: Norm = "after",
    ) -> None:
        super().__init__()
        if fusion not in get_args(Fusion) or norm not in get_args(Norm):
            raise ValueError(
                f"fusion {fusion!r}, norm {norm!r}: choose from {', '.join(get_args(Fusion))} "
                f"and {', '.join(get_args(Norm))}"
            )
        self.backbone, self.fusion, self.normed = backbone, fusion, norm == "after"
        self.pooling = None if fusion == "cls" else QueryPooling(backbone.width, queries, heads)
        self.mix = nn.Parameter(torch.zeros(2)) if fusion == "weighted" else None
        self.head = nn.Linear(backbone.width * (2 if fusion == "concat" else 1), 2)
        # The alignments take CLS and its attention as they are; no gradient comes that way.
        backbone.freeze_unread(projected=False, cls=fusion != "global", normed=self.normed)

    def forward(self, crops: Tensor) -> QtfpOutput:
        """Return the output for normalised crops, shape (B, 3, S, S)."""
        tokens = self.backbone(crops, self.normed)
        pooled, attention = None, tokens.attention[:, None]
        if self.pooling is not None:
            pooled, attention = self.pooling(tokens.patches)
        return QtfpOutput(
            self.head(self._fused(tokens.cls, pooled)), attention, pooled, tokens, self.backbone
        )

    def _fused(self, cls: Tensor, pooled: Tensor | None) -> Tensor:
        if pooled is None:
            return cls
        if self.fusion == "concat":
            return torch.cat((cls, pooled), dim=1)
        if self.fusion == "avg":
            return (cls + pooled) / 2
        if self.mix is not None:
            share = self.mix.softmax(dim=0)
            return share[0] * cls + share[1] * pooled
        return pooled


@DETECTORS.register("qtfp")
@dataclass(frozen=True)
class Qtfp(Classifier[QtfpOutput]):
    """The method QTFP: L = L_CLS + 0.14 L_FLCL + 1.0 L_RAAL (QTFP, total loss eq.).

    Attributes:
        contrast: `flcl`; its oracle `macl`, which reads the forgery masks (supplement, Sec. 2.1); or `none`.
        lambda_flcl: Weight of the contrast, whichever it is.
        tau: Temperature of the contrast.
        weighting: How FLCL's anchors are weighted, as `anchor_weights` takes it.
        tau_w: Temperature of the anchors' weights.
        max_anchor_tokens: Anchors drawn from a batch's fake patches, None for all of them.
        alignment: On real pictures, `attention` brings the queries to look where the CLS token does (RAAL),
            `token` brings the global token to the CLS token (supplement, Table 4); or `none`.
        alignment_metric: How far attentions are apart: `kl`, `l1` or `l2` (supplement, Table 3).
        lambda_raal: Weight of the alignment, whichever it is.
        lambda_orth: Weight of Effort's penalty on singular vectors that are not orthogonal; none in QTFP.
        lambda_keepsv: Weight of Effort's penalty on weights whose energy changes; none in QTFP.
    """

    network_type: ClassVar = QtfpNetwork
    contrast: Contrast = "flcl"
    lambda_flcl: float = 0.14
    tau: float = 0.1
    weighting: Weighting = "sigmoid"
    tau_w: float = 0.1
    max_anchor_tokens: int | None = None
    alignment: Alignment = "attention"
    alignment_metric: AlignmentMetric = "kl"
    lambda_raal: float = 1.0
    lambda_orth: float = 0.0
    lambda_keepsv: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (
            ("contrast", Contrast),
            ("weighting", Weighting),
            ("alignment", Alignment),
            ("alignment_metric", AlignmentMetric),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise UsageError(
                    f"{name} must be one of {', '.join(get_args(allowed))}, not {getattr(self, name)!r}",
                    f"correct loss.{name}",
                )
        if self.tau <= 0 or self.tau_w <= 0:
            raise UsageError(
                f"temperatures must be positive, not {self.tau}, {self.tau_w}", "correct loss.tau"
            )
        if self.max_anchor_tokens is not None and self.max_anchor_tokens < 1:
            raise UsageError(
                f"max_anchor_tokens must be at least 1, not {self.max_anchor_tokens}",
                "set loss.max_anchor_tokens=null for no limit",
            )

    def loss(self, output: QtfpOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss, in float32 whatever the output's precision, and its parts.

        The parts are named `cls`, `flcl` or `macl`, `raal` or `token`, `orth` and `keepsv`, as far as they
        are on; `snr` is a diagnostic, NaN for a batch of one class.

        Args:
            output: What the network gave for the batch.
            batch: The samples; with masks, if the contrast is MACL.

        Raises:
            UsageError: A part that is on has nothing to work on: masks, queries or a tuning by Effort.
        """
        with exact(output.logits):
            weighted = self._parts(output, batch)
            total = torch.stack([weight * part for weight, part in weighted.values()]).sum()
            parts = {name: part.detach() for name, (_, part) in weighted.items()}
            return total, {**parts, "snr": separation(output.tokens.patches.float(), batch.labels)}

    @property
    def wants_masks(self) -> bool:
        """Whether the contrast is the one that reads masks."""
        return self.contrast == "macl"

    def _parts(self, output: QtfpOutput, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        labels, patches = batch.labels, output.tokens.patches.float()
        parts = {"cls": (1.0, cross_entropy(output, batch, self.label_smoothing))}
        if self.contrast == "flcl":
            contrast = patch_contrast(
                patches, labels, self.tau, self.tau_w, self.max_anchor_tokens, self.weighting
            )
            parts["flcl"] = (self.lambda_flcl, contrast)
        if self.contrast == "macl":
            if batch.masks is None:
                raise UsageError(
                    "MACL reads what was forged in each fake, and no picture of the data has a mask",
                    "name masks in the column mask of faces.csv, or set loss.contrast=flcl",
                )
            contrast = mask_contrast(patches, labels, batch.masks, self.tau, self.max_anchor_tokens)
            parts["macl"] = (self.lambda_flcl, contrast)
        if self.alignment != "none":
            name = "raal" if self.alignment == "attention" else "token"
            parts[name] = (self.lambda_raal, self._alignment(output, labels))
        if self.lambda_orth or self.lambda_keepsv:
            turned, grown = penalties(output.backbone)
            parts |= {"orth": (self.lambda_orth, turned), "keepsv": (self.lambda_keepsv, grown)}
        return parts

    def _alignment(self, output: QtfpOutput, labels: Tensor) -> Tensor:
        tokens = output.tokens
        if output.pooled is None:
            raise UsageError(
                "a network without queries has nothing to align to the CLS token", "set loss.alignment=none"
            )
        if self.alignment == "token":
            return token_alignment(output.pooled, tokens.cls, labels)
        return attention_alignment(output.attention, tokens.attention, labels, self.alignment_metric)
