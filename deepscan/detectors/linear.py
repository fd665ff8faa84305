"""Baselines: a head on the CLS token of a frozen, partly tuned or fully trained backbone."""

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
    """Build the head from the CLS token to logits.

    Args:
        backbone: The backbone.
        feature: `cls`, the token after the final norm, or `projected`, its projection.
        layers: 1 for a linear layer; more for a perceptron with ReLU and layers as wide as the feature (MLP-k
            of DFD-HR, supplement, Table A).

    Raises:
        ValueError: An argument is out of range.
    """
    if feature not in get_args(Feature) or layers < 1:
        raise ValueError(
            f"feature {feature!r}, layers {layers}: choose from {', '.join(get_args(Feature))}; 1 or more"
        )
    width = backbone.projected if feature == "projected" else backbone.width
    steps: list[nn.Module] = []
    for inputs, outputs in pairwise([*[width] * layers, 2]):
        steps += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


def feature_of(backbone: Backbone, tokens: Tokens, feature: Feature) -> Tensor:
    """Return the input of `make_head`'s head from a backbone's tokens, shape (B, D)."""
    value: Tensor = backbone.projection(tokens.cls) if feature == "projected" else tokens.cls
    return value


@dataclass(frozen=True, slots=True, eq=False)
class LinearOutput(Output):
    """Output of a `LinearNetwork`.

    Attributes:
        tokens: The backbone's tokens.
        backbone: The backbone, for penalties on its weights.
        margins: Logit of fake minus logit of real for each patch, shape (B, 1, P), if the crop's margin is
            their mean; otherwise None.
    """

    tokens: Tokens
    backbone: Backbone
    margins: Tensor | None = None

    @property
    def explanation(self) -> dict[str, Tensor]:
        """Each patch's margin, if the score is their mean; otherwise the CLS token's attention."""
        if self.margins is not None:
            return {"margins": self.margins}
        return {"attention": self.tokens.attention[:, None]}


class LinearNetwork(Network):
    """A tuned backbone and a head on its CLS token.

    Args:
        backbone: The backbone, with its tuning.
        feature: See `make_head`.
        layers: See `make_head`.
    """

    def __init__(self, backbone: Backbone, feature: Feature = "cls", layers: int = 1) -> None:
        super().__init__()
        self.backbone, self.feature = backbone, feature
        self.head = make_head(backbone, feature, layers)
        backbone.freeze_unread(projected=feature == "projected")

    def forward(self, crops: Tensor) -> LinearOutput:
        """Return the output for normalised crops, shape (B, 3, S, S)."""
        tokens: Tokens = self.backbone(crops)
        feature = feature_of(self.backbone, tokens, self.feature)
        margins = None
        if self.backbone.averages and self.feature == "cls" and len(self.head) == 1:
            # The head is linear, so its output for the mean is the mean of its outputs for the patches.
            margins = self.head(tokens.patches).diff(dim=-1).transpose(1, 2)
        return LinearOutput(self.head(feature), tokens, self.backbone, margins)


class FrozenLinearNetwork(FrozenNetwork):
    """A frozen backbone and a head on its CLS token.

    Args:
        backbone: The backbone, frozen.
        feature: See `make_head`.
        layers: See `make_head`.

    Raises:
        ValueError: The backbone is not frozen, or an argument is out of range.
    """

    def __init__(self, backbone: Backbone, feature: Feature = "projected", layers: int = 1) -> None:
        super().__init__(backbone)
        self.feature, self.head = feature, make_head(backbone, feature, layers)

    @torch.no_grad()
    def extract(self, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the CLS token or its projection, shape (B, D), and its attention."""
        tokens: Tokens = self.backbone(inputs["crops"])
        feature = feature_of(self.backbone, tokens, self.feature)
        return feature, {"attention": tokens.attention[:, None]}


@DETECTORS.register("unifd")
@dataclass(frozen=True)
class UniFD(Classifier[FrozenOutput]):
    """UniFD (CVPR 2023): a linear probe of CLIP's projected CLS token.

    The paper uses binary cross-entropy on one logit. Cross-entropy on two logits is the same function of
    their difference, which gradient descent changes twice as fast.
    """

    network_type: ClassVar = FrozenLinearNetwork
    tuning: ClassVar = "frozen"


@DETECTORS.register("lora")
@DETECTORS.register("fft")
@dataclass(frozen=True)
class Linear(Classifier[LinearOutput]):
    """Classifies the CLS token of a backbone that trains as the recipe's tuning says."""

    network_type: ClassVar = LinearNetwork

    def build(self, network: Mapping[str, Any], weights: str = "random") -> Network:
        """Build a `LinearNetwork`; weights of `network:FILE` fill its head too."""
        built = super().build(network, weights)
        if weights.startswith(NETWORK):
            assert isinstance(built, LinearNetwork)
            path = Path(weights.removeprefix(NETWORK))
            fill(built.head, stored(path, "head."), [], f"the head in {path}", hint="correct network.layers")
        return built


@DETECTORS.register("effort")
@dataclass(frozen=True)
class Effort(Linear):
    """Effort (ICML 2025): each matrix of attention trains in its smallest singular direction.

    Attributes:
        lambda_orth: Weight of the penalty on non-orthogonal singular vectors; this and the next are 0 in the
            released code.
        lambda_keepsv: Weight of the penalty on changes of the matrices' energy.
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
            orth, ksv = penalties(output.backbone)
        total = total + self.lambda_orth * orth + self.lambda_keepsv * ksv
        return total, {**parts, "orth": orth.detach(), "keepsv": ksv.detach()}
