"""The baselines: a head on the CLS token of a backbone that is frozen, tuned in part, or trained whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from deepscan.backbones.backbone import Backbone, Tokens
from deepscan.backbones.effort import penalties
from deepscan.backbones.weight_rules import fill
from deepscan.backbones.weights import NETWORK, stored
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import (
    Batch,
    Classifier,
    FrozenNetwork,
    FrozenOutput,
    Network,
    Output,
    exact,
)

Feature = Literal["cls", "projected"]


def make_head(backbone: Backbone, feature: Feature, layers: int) -> nn.Sequential:
    """Return what goes from the CLS token to logits.

    Args:
        backbone: The backbone.
        feature: `cls`, the token after the final norm, or `projected`, its projection.
        layers: 1 for a linear layer; more for a perceptron, ReLU between layers as wide as the feature
            (MLP-k of DFD-HR, supplement, Table A).

    Raises:
        ValueError: An argument is out of range.
    """
    if feature not in get_args(Feature) or layers < 1:
        raise ValueError(
            f"feature {feature!r}, layers {layers}: choose from {', '.join(get_args(Feature))}; 1 or more"
        )
    width = backbone.projected if feature == "projected" else backbone.width
    steps: list[nn.Module] = []
    for inward, outward in pairwise([*[width] * layers, 2]):
        steps += [nn.Linear(inward, outward), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


def feature_of(backbone: Backbone, tokens: Tokens, feature: Feature) -> Tensor:
    """Return what a head of `make_head` takes of a backbone's tokens, shape (B, D)."""
    seen: Tensor = backbone.projection(tokens.cls) if feature == "projected" else tokens.cls
    return seen


@dataclass(frozen=True, slots=True, eq=False)
class LinearOutput(Output):
    """What a `LinearNetwork` says.

    Attributes:
        tokens: The backbone's tokens.
        backbone: The backbone, for the penalties on its weights.
        margins: By how much the logit of fake is above that of real at each place, shape (B, 1, P), where the
            crop's own margin is their mean; None where it is not.
    """

    tokens: Tokens
    backbone: Backbone
    margins: Tensor | None = None

    @property
    def explanation(self) -> dict[str, Tensor]:
        """What each place says where the score is the mean of that, else where the CLS token looked."""
        if self.margins is not None:
            return {"margins": self.margins}
        return {"attention": self.tokens.attention[:, None]}


class LinearNetwork(Network):
    """A backbone that trains, as its tuning has it, and a head on its CLS token.

    Args:
        backbone: The backbone.
        feature: As `make_head` takes it.
        layers: As `make_head` takes it.
    """

    def __init__(self, backbone: Backbone, feature: Feature = "cls", layers: int = 1) -> None:
        super().__init__()
        self.backbone, self.feature = backbone, feature
        self.head = make_head(backbone, feature, layers)
        backbone.freeze_unread(projected=feature == "projected")

    def forward(self, crops: Tensor) -> LinearOutput:
        """Return the output for normalised crops, shape (B, 3, S, S)."""
        tokens: Tokens = self.backbone(crops)
        seen = feature_of(self.backbone, tokens, self.feature)
        margins = None
        if self.backbone.averages and self.feature == "cls" and len(self.head) == 1:
            # A linear head on a mean is the mean of the head on what it is of.
            margins = self.head(tokens.patches).diff(dim=-1).transpose(1, 2)
        return LinearOutput(self.head(seen), tokens, self.backbone, margins)


class FrozenLinearNetwork(FrozenNetwork):
    """A backbone that does not train, and a head on its CLS token.

    Args:
        backbone: The backbone.
        feature: As `make_head` takes it.
        layers: As `make_head` takes it.

    Raises:
        ValueError: The backbone trains, or an argument is out of range.
    """

    def __init__(self, backbone: Backbone, feature: Feature = "projected", layers: int = 1) -> None:
        super().__init__(backbone)
        self.feature, self.head = feature, make_head(backbone, feature, layers)

    @torch.no_grad()
    def extract(self, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the CLS token, shape (B, D) or as wide as projected, and where it looked."""
        tokens: Tokens = self.backbone(inputs["crops"])
        seen = feature_of(self.backbone, tokens, self.feature)
        return seen, {"attention": tokens.attention[:, None]}


@DETECTORS.register("unifd")
@dataclass(frozen=True)
class UniFD(Classifier[FrozenOutput]):
    """UniFD (CVPR 2023): a linear probe of CLIP's projected CLS token.

    Its own loss is binary cross-entropy on one logit. That of two logits is the same function of their
    difference, which gradient descent moves twice as far.
    """

    network_type: ClassVar = FrozenLinearNetwork
    tuning: ClassVar = "frozen"


@DETECTORS.register("lora")
@DETECTORS.register("fft")
@dataclass(frozen=True)
class Linear(Classifier[LinearOutput]):
    """Classifies the CLS token of a backbone that trains, by LoRA or whole, as the recipe tunes it."""

    network_type: ClassVar = LinearNetwork

    def build(self, network: Mapping[str, Any], weights: str = "random") -> Network:
        """Return a `LinearNetwork`, with the head of the file as well where `network:FILE` is named."""
        built = super().build(network, weights)
        if weights.startswith(NETWORK):
            assert isinstance(built, LinearNetwork)
            path = Path(weights.removeprefix(NETWORK))
            fill(built.head, stored(path, "head."), [], f"the head in {path}", hint="correct network.layers")
        return built


@DETECTORS.register("effort")
@dataclass(frozen=True)
class Effort(Linear):
    """Effort (ICML 2025): each matrix of attention trains in its least singular direction.

    Attributes:
        lambda_orth: Weight of the penalty on singular vectors that are not orthogonal; the released code has
            this one and the next switched off.
        lambda_keepsv: Weight of the penalty on weights whose energy changes.
    """

    lambda_orth: float = 0.0
    lambda_keepsv: float = 0.0

    def loss(self, output: LinearOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss, in float32; its parts are `cls` and, if on, `orth` and `keepsv`.

        Raises:
            UsageError: A penalty is on, and the backbone is not tuned by Effort.
        """
        total, parts = super().loss(output, batch)
        if not (self.lambda_orth or self.lambda_keepsv):
            return total, parts
        with exact(output.logits):
            turned, grown = penalties(output.backbone)
        total = total + self.lambda_orth * turned + self.lambda_keepsv * grown
        return total, {**parts, "orth": turned.detach(), "keepsv": grown.detach()}
