"""CoRIT (arXiv 2603.24057): region tokens from the contrast of a crop with its self-blended counterpart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.vit import VisionTransformer
from deepscan.detectors import DETECTORS
from deepscan.detectors.corit_masks import Pooling, Refinement, Threshold, pooled
from deepscan.detectors.detector import (
    Batch,
    Classifier,
    FrozenNetwork,
    FrozenOutput,
    require_steps,
)
from deepscan.errors import UsageError
from deepscan.faces.regions import REGIONS

RegionStart = Literal["means", "zeros", "cls"]
HeadKind = Literal["linear", "projected", "perceptron", "attention"]


class CrossAttention(nn.Module):
    """The last layer's tokens attend to those of earlier layers (CoRIT, Eq. 25); then a linear layer.

    Args:
        width: Width D of the tokens.
        tokens: Number T of tokens of each layer.
        heads: Attention heads, a divisor of the width.
    """

    def __init__(self, width: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.out = nn.Linear(tokens * width, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits, shape (B, 2), for the tokens of all L layers in order, shape (B, L T, D)."""
        earlier, last = features[:, : -self.tokens], features[:, -self.tokens :]
        attended, _ = self.attention(last, earlier, earlier, need_weights=False)
        logits: Tensor = self.out(attended.flatten(1))
        return logits


class CoritNetwork(FrozenNetwork):
    """A frozen backbone over each crop and its self-blended counterpart, and a head (CoRIT, Sec. IV).

    Both pass through the backbone in parallel. After every block the mean of a region's patches whose
    contrast (counterpart minus crop) follows the region's is added to the region's token. The head classifies
    the CLS and region tokens of a middle and the last block. Only the head trains.

    Args:
        backbone: The backbone, frozen.
        rsi: Whether to add region tokens (regional signal injection, Sec. IV-C).
        rrm: Whether region tokens pool only the patches that the contrast selects (region refinement mask,
            Sec. IV-B) rather than whole regions; if not, no counterpart is used.
        hri: Whether to classify the tokens of all `layers` (hierarchical representation integration, Sec.
            IV-D) or only of the last one.
        regions: Regions that get a token.
        pooling: Pooling of patches, `average` or `max`.
        threshold: See `Refinement`.
        tau: See `Refinement`.
        start: Region tokens before the first block: the region's `means`, `zeros`, or a copy of the `cls`
            token.
        shared: Whether the counterpart gets region tokens too, with the same masks, so that their effect on
            the patches cancels in the contrast.
        layers: Numbers, from 1, of the blocks whose tokens are classified; None for three quarters of the
            depth and the last block (18 and 24 in the paper). Later blocks do not run.
        head: `linear` on all tokens; `projected`, the same on the projected tokens; `perceptron` with one
            hidden layer; `attention`, see `CrossAttention`.
        hidden: Width of the perceptron's hidden layer.
        heads: Heads of the cross-attention.

    Raises:
        ValueError: The backbone is not frozen, or an argument is out of range.
        UsageError: The backbone does not accept extra tokens.
    """

    inputs = ("crops", "counterparts", "regions")
    backbone: VisionTransformer

    def __init__(
        self,
        backbone: Backbone,
        rsi: bool = True,
        rrm: bool = True,
        hri: bool = True,
        regions: Sequence[str] = REGIONS,
        pooling: Pooling = "average",
        threshold: Threshold = "relative",
        tau: float = 0.1,
        start: RegionStart = "means",
        shared: bool = True,
        layers: Sequence[int] | None = None,
        head: HeadKind = "linear",
        hidden: int = 256,
        heads: int = 8,
    ) -> None:
        super().__init__(require_steps(backbone, "CoRIT"))
        for name, value, kinds in (("pooling", pooling, Pooling), ("start", start, RegionStart)):
            if value not in get_args(kinds):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kinds))}, not {value!r}")
        chosen = [REGIONS.index(name) for name in regions if name in REGIONS]
        if not regions or len(set(chosen)) < len(regions):
            raise ValueError(f"regions must be distinct names of {', '.join(REGIONS)}, not {list(regions)}")
        depth = backbone.depth
        numbers = [max(1, depth * 3 // 4), depth] if layers is None else list(layers)
        if not numbers or numbers != sorted({*numbers} & {*range(1, depth + 1)}):
            raise ValueError(f"layers must be in ascending order, from 1 to {depth}, not {numbers}")
        self.rsi, self.rrm, self.shared = rsi, rsi and rrm, shared
        self.chosen = chosen if rsi else []
        self.pooling, self.start = pooling, start
        self.refinement = Refinement(threshold, tau)
        #: Numbers, from 1, of the blocks whose tokens are classified.
        self.layers = tuple(numbers if hri else numbers[-1:])
        self.project = head == "projected"
        self.head = _head(backbone, head, len(self.layers), 1 + len(self.chosen), hidden, heads)

    @torch.no_grad()
    def extract(self, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the CLS and region tokens of each layer after the final norm, shape (B, L (1 + K), D).

        Args:
            **inputs: `crops` and `counterparts`, normalised, shape (B, 3, S, S), and `regions`, 0 or 1, in
                the order of `REGIONS`, shape (B, 3, P).

        Returns:
            The tokens, and an explanation of the last layer, depending on the switches: `masks` of the K
            regions and `projections` onto their anchors, both of shape (B, K, P), and `empty`, the number of
            a crop's regions that had no patch and were replaced by the whole crop, shape (B,).

        Raises:
            UsageError: The regions' grid differs from the backbone's.
        """
        backbone = self.backbone
        regions, explanation = self._regions(inputs["regions"])
        tokens, masks, projections = self._run_blocks(inputs, regions)
        if projections is not None:
            explanation["projections"] = projections
        if self.rsi:
            explanation["masks"] = masks[-1]
        features = backbone.ln_post(torch.cat(tokens, dim=1))
        return backbone.projection(features) if self.project else features, explanation

    @torch.no_grad()
    def layer_masks(self, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the regions, shape (B, K, P), and their masks after each block, shape (L, B, K, P).

        Args:
            **inputs: See `extract`.

        Raises:
            UsageError: The regions' grid differs from the backbone's, or there are no region tokens.
        """
        if not self.rsi:
            raise UsageError(
                "this model has no region tokens, and so no masks", "name a model trained with rsi: true"
            )
        regions, _ = self._regions(inputs["regions"])
        return regions, torch.stack(self._run_blocks(inputs, regions)[1])

    def _run_blocks(
        self, inputs: Mapping[str, Tensor], regions: Tensor
    ) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Return the tokens of each of `layers`, the masks after each block, and the last projections."""
        backbone, batch = self.backbone, inputs["crops"].shape[0]
        streams = self._embed(inputs, regions)
        positions = [
            backbone.rotary_table(stream.shape[1] - backbone.prefix - backbone.grid**2) for stream in streams
        ]
        tokens, masks, projections = [], [], None
        for number, block in enumerate(backbone.blocks[: self.layers[-1]], 1):
            streams = [block(x, rotary) for x, rotary in zip(streams, positions, strict=True)]
            if self.rsi:
                kept = regions
                if self.rrm:
                    kept, projections = self.refinement(self._contrast(streams), regions)
                streams[0] = self._inject(streams[0], kept)
                masks.append(kept)
            if number in self.layers:
                tokens.append(self._classified_tokens(streams[0][:batch]))
        return tokens, masks, projections

    def _regions(self, given: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the regions with a token, shape (B, K, P), and `empty`, how many of them had no patch."""
        count = self.backbone.grid**2
        if given.shape[-1] != count:
            raise UsageError(
                f"the regions have {given.shape[-1]} patches, but the backbone has {count}",
                f"set inputs.grid={self.backbone.grid}",
            )
        if not self.rsi:
            return given, {}
        regions = given[:, self.chosen].float()
        empty = regions.sum(dim=2) == 0
        regions = torch.where(empty[..., None], 1.0, regions)
        return regions, {"empty": empty.float().sum(dim=1)}

    def _embed(self, inputs: Mapping[str, Tensor], regions: Tensor) -> list[Tensor]:
        """Return the tokens before the first block: crops and counterparts in one batch, or in two."""
        crops = inputs["crops"]
        if not self.rrm:
            return [self._with_regions(self.backbone.embed(crops), regions)]
        x = self.backbone.embed(torch.cat((crops, inputs["counterparts"])))
        if self.shared:
            return [self._with_regions(x, torch.cat((regions, regions)))]
        batch = crops.shape[0]
        return [self._with_regions(x[:batch], regions), x[batch:]]

    def _with_regions(self, x: Tensor, regions: Tensor) -> Tensor:
        if not self.rsi:
            return x
        if self.start == "means":
            tokens = pooled(self._patches(x).float(), regions, self.pooling).to(x.dtype)
        else:
            cls = x[:, :1].expand(-1, len(self.chosen), -1)
            tokens = cls if self.start == "cls" else torch.zeros_like(cls)
        return torch.cat((x, tokens), dim=1)

    def _patches(self, x: Tensor) -> Tensor:
        return x[:, self.backbone.prefix : self.backbone.prefix + self.backbone.grid**2]

    def _contrast(self, streams: Sequence[Tensor]) -> Tensor:
        """Return the counterparts' patches minus the crops', shape (B, P, D), float32 (Eq. 18)."""
        if not self.shared:
            return self._patches(streams[1]).float() - self._patches(streams[0]).float()
        patches = self._patches(streams[0]).float()
        batch = patches.shape[0] // 2
        return patches[batch:] - patches[:batch]

    def _inject(self, x: Tensor, masks: Tensor) -> Tensor:
        """Add the masked patches, pooled, to the region tokens; return all tokens (Eq. 21 and 23)."""
        start = self.backbone.prefix + self.backbone.grid**2
        both = torch.cat((masks, masks)) if self.rrm and self.shared else masks
        signal = pooled(self._patches(x).float(), both, self.pooling)
        return torch.cat((x[:, :start], x[:, start:] + signal.to(x.dtype)), dim=1)

    def _classified_tokens(self, x: Tensor) -> Tensor:
        """Return the CLS and region tokens."""
        return torch.cat((x[:, :1], x[:, self.backbone.prefix + self.backbone.grid**2 :]), dim=1)


def _head(backbone: Backbone, kind: HeadKind, layers: int, tokens: int, hidden: int, heads: int) -> nn.Module:
    if kind not in get_args(HeadKind):
        raise ValueError(f"head must be one of {', '.join(get_args(HeadKind))}, not {kind!r}")
    if kind == "attention":
        if layers < 2:
            raise ValueError("the head `attention` needs hri and at least two layers")
        return CrossAttention(backbone.width, tokens, heads)
    if kind == "projected" and isinstance(backbone.projection, nn.Identity):
        raise ValueError("the head `projected` needs a backbone with a projection")
    width = layers * tokens * (backbone.projected if kind == "projected" else backbone.width)
    steps: list[nn.Module] = [nn.Flatten()]
    if kind == "perceptron":
        steps += [nn.Linear(width, hidden), nn.GELU()]
        width = hidden
    return nn.Sequential(*steps, nn.Linear(width, 2))


@DETECTORS.register("corit")
@dataclass(frozen=True)
class Corit(Classifier[FrozenOutput]):
    """The method CoRIT: cross-entropy, minimised with sharpness-aware minimisation by its recipe."""

    network_type: ClassVar = CoritNetwork
    tuning: ClassVar = "frozen"

    def loss(self, output: FrozenOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy; the parts are `cls` and `kept`.

        `kept` is the share of a crop's patches in any of the last layer's masks; it is missing if the
        features come from a cache or there are no masks.
        """
        classified, parts = super().loss(output, batch)
        if (masks := output.maps.get("masks")) is not None:
            parts["kept"] = masks.amax(dim=1).mean()
        return classified, parts
