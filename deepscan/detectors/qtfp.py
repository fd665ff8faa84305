"""QTFP (CVPR 2026): queries pool the patch tokens, trained with patch contrast and attention alignment."""

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
    """K queries attend to the patch tokens; their mean is the crop's feature (QTFP, Sec. 3, query eq.).

    The attention has projections and no norm: the paper's parameter counts (4.20 M for a width of 1024) are
    those of a standard multi-head attention with biases.

    Args:
        width: Width D of the tokens.
        queries: Number K of queries.
        heads: Attention heads, a divisor of the width.

    Raises:
        ValueError: The number of queries is below 1.
    """

    def __init__(self, width: int, queries: int, heads: int) -> None:
        super().__init__()
        if queries < 1:
            raise ValueError(f"queries must be at least 1, not {queries}")
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Pool patches (B, P, D) to (B, D); also return the attention averaged over heads, (B, K, P)."""
        queries = self.queries.expand(patches.shape[0], -1, -1)
        pooled, weights = self.attention(queries, patches, patches, need_weights=True)
        return pooled.mean(dim=1), weights


@dataclass(frozen=True, slots=True, eq=False)
class QtfpOutput(Output):
    """Output of a `QtfpNetwork`.

    Attributes:
        attention: Attention of the K queries to the P patches, shape (B, K, P), rows summing to 1; without
            queries that of the CLS token, with K = 1.
        pooled: The global token, the mean of the queries' outputs, shape (B, D); None without queries.
        tokens: The backbone's tokens, for the losses.
        backbone: The backbone, for penalties on its weights.
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
        backbone: The backbone. Parts whose output is not used are frozen.
        queries: Number K of queries.
        heads: Attention heads of the pooling, a divisor of the backbone's width.
        fusion: Feature that is classified: the `global` token of the queries, as in the paper; the `cls`
            token, without queries; or both (supplement, Table 1): their mean (`avg`), a mean with learnt
            weights (`weighted`), or their concatenation (`concat`).
        norm: Whether patches are taken `after` the backbone's final norm or `before` it. Neither paper nor
            code says; CLIP itself normalises before use.

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
        # The alignment losses detach the CLS token and its attention.
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
            weights = self.mix.softmax(dim=0)
            return weights[0] * cls + weights[1] * pooled
        return pooled


@DETECTORS.register("qtfp")
@dataclass(frozen=True)
class Qtfp(Classifier[QtfpOutput]):
    """The method QTFP: L = L_CLS + 0.14 L_FLCL + 1.0 L_RAAL (QTFP, total loss eq.).

    Attributes:
        contrast: `flcl`; `macl`, its oracle that uses the forgery masks (supplement, Sec. 2.1); or `none`.
        lambda_flcl: Weight of the contrast, for `macl` too.
        tau: Temperature of the contrast.
        weighting: Weighting of FLCL's anchors, see `anchor_weights`.
        tau_w: Temperature of the anchors' weights.
        max_anchor_tokens: Number of anchors drawn from a batch's fake patches, None for all of them.
        alignment: On real crops, `attention` aligns the queries' attention with the CLS token's (RAAL),
            `token` aligns the global token with the CLS token (supplement, Table 4); or `none`.
        alignment_metric: Distance of attentions: `kl`, `l1` or `l2` (supplement, Table 3).
        lambda_raal: Weight of the alignment, for `token` too.
        lambda_orth: Weight of Effort's penalty on non-orthogonal singular vectors; 0 in QTFP.
        lambda_keepsv: Weight of Effort's penalty on changes of the matrices' energy; 0 in QTFP.
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
                    f"set for example: loss.{name}={get_args(allowed)[0]}",
                )
        if self.tau <= 0 or self.tau_w <= 0:
            raise UsageError(
                f"tau and tau_w must be above 0, not {self.tau} and {self.tau_w}",
                "set for example: loss.tau=0.1 loss.tau_w=0.1",
            )
        if self.max_anchor_tokens is not None and self.max_anchor_tokens < 1:
            raise UsageError(
                f"max_anchor_tokens must be at least 1, not {self.max_anchor_tokens}",
                "set loss.max_anchor_tokens=null for no limit",
            )

    def loss(self, output: QtfpOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss in float32, and its parts.

        The parts that are on are named `cls`, `flcl` or `macl`, `raal` or `token`, `orth` and `keepsv`; `snr`
        is a diagnostic, NaN for a batch of one class.

        Args:
            output: The network's output for the batch.
            batch: The samples; MACL needs their masks.

        Raises:
            UsageError: A part that is on lacks what it needs: masks, queries or a tuning by Effort.
        """
        with exact(output.logits):
            weighted = self._parts(output, batch)
            total = torch.stack([weight * part for weight, part in weighted.values()]).sum()
            parts = {name: part.detach() for name, (_, part) in weighted.items()}
            return total, {**parts, "snr": separation(output.tokens.patches.float(), batch.labels)}

    @property
    def wants_masks(self) -> bool:
        """Whether the contrast needs masks."""
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
                    "the contrast macl needs forgery masks, and no picture of the data has one",
                    "give masks in the column mask of faces.csv, or set loss.contrast=flcl",
                )
            contrast = mask_contrast(patches, labels, batch.masks, self.tau, self.max_anchor_tokens)
            parts["macl"] = (self.lambda_flcl, contrast)
        if self.alignment != "none":
            name = "raal" if self.alignment == "attention" else "token"
            parts[name] = (self.lambda_raal, self._alignment(output, labels))
        if self.lambda_orth or self.lambda_keepsv:
            orth, ksv = penalties(output.backbone)
            parts |= {"orth": (self.lambda_orth, orth), "keepsv": (self.lambda_keepsv, ksv)}
        return parts

    def _alignment(self, output: QtfpOutput, labels: Tensor) -> Tensor:
        tokens = output.tokens
        if output.pooled is None:
            raise UsageError(
                "a network without queries cannot be aligned with the CLS token", "set loss.alignment=none"
            )
        if self.alignment == "token":
            return token_alignment(output.pooled, tokens.cls, labels)
        return attention_alignment(output.attention, tokens.attention, labels, self.alignment_metric)
