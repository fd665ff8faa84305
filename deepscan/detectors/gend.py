"""GenD (WACV 2026): trains only a backbone's norms and a linear head on its CLS token, scaled to length 1."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from deepscan.backbones.backbone import Backbone, Tokens
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch, Classifier, Network, Output, exact
from deepscan.detectors.linear import Feature, feature_of, make_head
from deepscan.errors import UsageError


@dataclass(frozen=True, slots=True, eq=False)
class GenDOutput(Output):
    """Output of a `GenDNetwork`.

    Attributes:
        tokens: The backbone's tokens.
        embedding: Each crop's feature, scaled to length 1, shape (B, D), float32.
    """

    tokens: Tokens
    embedding: Tensor

    @property
    def explanation(self) -> dict[str, Tensor]:
        """The CLS token's attention."""
        return {"attention": self.tokens.attention[:, None]}


class GenDNetwork(Network):
    """A tuned backbone and a head on its CLS token, scaled to length 1.

    Args:
        backbone: The backbone, with its tuning.
        feature: See `make_head`.
        layers: See `make_head`.
        normalise: Whether the head gets the feature scaled to length 1 or unchanged.
    """

    def __init__(
        self, backbone: Backbone, feature: Feature = "cls", layers: int = 1, normalise: bool = True
    ) -> None:
        super().__init__()
        self.backbone, self.feature, self.normalise = backbone, feature, normalise
        self.head = make_head(backbone, feature, layers)
        backbone.freeze_unread(projected=feature == "projected")

    def forward(self, crops: Tensor) -> GenDOutput:
        """Return the output for normalised crops, shape (B, 3, S, S)."""
        tokens: Tokens = self.backbone(crops)
        feature = feature_of(self.backbone, tokens, self.feature)
        # In float32: the rounding of 16 bits is larger than the differences that the losses depend on.
        embedding = F.normalize(feature.float(), dim=1)
        logits = self.head(embedding.to(feature.dtype) if self.normalise else feature)
        return GenDOutput(logits, tokens, embedding)


def uniformity(embedding: Tensor) -> Tensor:
    """Return how unevenly a batch is spread over the sphere, a scalar of at most 0; 0 for a single crop.

    It is log E exp(-2 ||x - y||^2) over all pairs (Wang and Isola, ICML 2020, Sec. 4.1, t = 2).

    Args:
        embedding: Shape (B, D), each of length 1.
    """
    distances = _distances(embedding)
    return (-2 * distances).exp().mean().log() if len(distances) else embedding.sum() * 0


def alignment(embedding: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared distance of crops with equal labels, a scalar in [0, 4]; 0 without a pair.

    It is E ||x - y||^2 over pairs (Wang and Isola, ICML 2020, Sec. 4.1, alpha = 2), for GenD those of equal
    labels.

    Args:
        embedding: Shape (B, D), each of length 1.
        labels: Shape (B,).
    """
    row, column = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    distances = _distances(embedding)[labels[row] == labels[column]]
    return distances.mean() if len(distances) else embedding.sum() * 0


def _distances(embedding: Tensor) -> Tensor:
    # From products of unit vectors: the square root in a norm has no gradient where two vectors are equal.
    row, column = torch.triu_indices(len(embedding), len(embedding), 1, device=embedding.device)
    return 2 - 2 * (embedding @ embedding.T)[row, column]


@DETECTORS.register("gend")
@dataclass(frozen=True)
class GenD(Classifier[GenDOutput]):
    """GenD: cross-entropy and two losses that spread the crops over the sphere and gather each label.

    The default weights are those of the released code's experiments on CLIP, not checked against the paper's
    tables.

    Attributes:
        lambda_uniformity: Weight of `uniformity`.
        lambda_alignment: Weight of `alignment`.
    """

    network_type: ClassVar = GenDNetwork
    tuning: ClassVar = "norm"
    lambda_uniformity: float = 0.5
    lambda_alignment: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.lambda_uniformity, self.lambda_alignment) < 0:
            raise UsageError(
                "lambda_uniformity and lambda_alignment must be at least 0",
                "set for example: loss.lambda_uniformity=0.5 loss.lambda_alignment=0.1",
            )

    def loss(self, output: GenDOutput, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss, in float32; its parts are `cls`, `uniformity` and `alignment`."""
        total, parts = super().loss(output, batch)
        with exact(output.embedding):
            uniform, aligned = uniformity(output.embedding), alignment(output.embedding, batch.labels)
        total = total + self.lambda_uniformity * uniform + self.lambda_alignment * aligned
        return total, {**parts, "uniformity": uniform.detach(), "alignment": aligned.detach()}
