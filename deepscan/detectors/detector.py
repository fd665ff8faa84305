"""The contract of every detection method."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepscan.backbones import STEPWISE
from deepscan.backbones.backbone import Backbone
from deepscan.backbones.tuning import tune
from deepscan.backbones.vit import VisionTransformer, as_transformer
from deepscan.backbones.weights import build_backbone
from deepscan.errors import UsageError

#: Columns of the logits and labels of training samples.
REAL, FAKE = 0, 1
#: Value of a mask whose forged part is unknown.
UNKNOWN = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A network's output for a batch of crops; methods add what their loss and explanation need.

    Attributes:
        logits: Logits of real and fake, shape (B, 2).
    """

    logits: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.logits.shape[1] != 2:
            raise ValueError(f"logits must be (B, 2), not {tuple(self.logits.shape)}")

    @property
    def probability(self) -> Tensor:
        """Probability of fake, shape (B,)."""
        return torch.softmax(self.logits.float(), dim=1)[:, FAKE]

    @property
    def explanation(self) -> dict[str, Tensor]:
        """Outputs of an engine in addition to the probability, float, by name.

        Shape (B,) is one number for each crop; shape (B, M, P) is M maps over the P patches in reading order.
        """
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Training samples, ready for a network.

    Attributes:
        inputs: Inputs by the names of the network's arguments; the first axis of each is the batch.
        labels: 0 for real, 1 for fake, shape (B,), int64.
        masks: How much each pixel was forged, in [0, 1], or `UNKNOWN` everywhere, shape (B, S, S), float32;
            None if the method needs no masks.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    masks: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        masks = None if self.masks is None else self.masks.to(device)
        return Batch(inputs, self.labels.to(device), masks)


class Network(nn.Module, ABC):
    """A network that scores crops; called with its inputs by name, it returns its `Output`.

    Attributes:
        inputs: Names of its inputs in order; `crops`, normalised, shape (B, 3, S, S), comes first.
        backbone: Its backbone.
        export_note: Note for the exported file on how it differs in computation; empty for none.
    """

    inputs: tuple[str, ...] = ("crops",)
    backbone: Backbone
    export_note: str = ""

    @property
    def side(self) -> int:
        """Side S of the input crops, in pixels."""
        return self.backbone.side

    def predict(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Return an engine's outputs: `probability`, shape (B,), and the explanation by name."""
        output: Output = self(**inputs)
        return {"probability": output.probability, **output.explanation}

    def exportable(self) -> "Network":
        """Return the network without control flow that depends on its inputs, for tracing.

        Its outputs are the same. A network that loses savings in this form sets `export_note`.
        """
        return self


@dataclass(frozen=True, slots=True, eq=False)
class FrozenOutput(Output):
    """Output of a `FrozenNetwork`.

    Attributes:
        maps: The explanation; empty if the features came from a cache.
    """

    maps: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def explanation(self) -> dict[str, Tensor]:
        """The explanation from the frozen part."""
        return dict(self.maps)


class FrozenNetwork(Network):
    """A network that trains only a head on the features of a frozen backbone.

    The features can be cached on disk, so that an epoch needs no pass through the backbone.

    Args:
        backbone: The backbone, frozen.

    Raises:
        ValueError: The backbone is not frozen.
    """

    head: nn.Module

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        if any(value.requires_grad for value in backbone.parameters()):
            raise ValueError(
                "the backbone must not train: set tuning.type to frozen, or use a method that trains it, "
                "such as fft"
            )
        self.backbone = backbone

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the head; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, **inputs: Tensor) -> FrozenOutput:
        """Return the output for inputs by name."""
        features, explanation = self.extract(**inputs)
        return FrozenOutput(self.classify(features), explanation)

    @abstractmethod
    def extract(self, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features, shape (B, ...), without gradients, and the explanation."""

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits, shape (B, 2), of features."""
        logits: Tensor = self.head(features)
        return logits


Out = TypeVar("Out", bound=Output)


class DetectionMethod(ABC, Generic[Out]):
    """A method: its network and its training loss.

    A method is a frozen dataclass whose fields are the settings of its loss, decorated with
    `DETECTORS.register(name)`, and a recipe of the same name in `training/recipes`.

    Attributes:
        network_type: Class of its network, which takes the backbone and the other keys of `network`.
        tuning: Type of tuning if `network` has none.
    """

    network_type: ClassVar[type[Network]]
    tuning: ClassVar[str] = "fft"

    def build(self, network: Mapping[str, Any], weights: str = "random") -> Network:
        """Build a network.

        Args:
            network: `network` of a recipe or a card: `backbone`, `tuning`, and arguments of the network.
            weights: Source of the backbone's weights, see `weights.build_backbone`; the rest is random.

        Raises:
            UsageError: A key or a value is invalid.
            MissingError: The weights or a package are missing.
            ContractError: The weights do not match the backbone.
        """
        arguments = dict(network)
        backbone = build_backbone(arguments.pop("backbone", {}), weights)
        tune(backbone, arguments.pop("tuning", {"type": self.tuning}))
        try:
            return self.network_type(backbone, **arguments)
        except (TypeError, ValueError, AssertionError) as error:
            raise UsageError(
                f"bad arguments for {self.network_type.__name__}: {error}", "correct `network` in the recipe"
            )

    @property
    def wants_masks(self) -> bool:
        """Whether the loss needs the batch's masks."""
        return False

    @abstractmethod
    def loss(self, output: Out, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to minimise and its parts, detached, for the log.

        Args:
            output: The network's output for the batch.
            batch: The samples.
        """


@dataclass(frozen=True)
class Classifier(DetectionMethod[Out]):
    """A method that trains by cross-entropy.

    Attributes:
        label_smoothing: Label smoothing of the cross-entropy, in [0, 1].
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise UsageError(
                f"label_smoothing must be in [0, 1], not {self.label_smoothing}",
                "set for example: loss.label_smoothing=0.1",
            )

    def loss(self, output: Out, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy in float32; its only part is `cls`."""
        classified = cross_entropy(output, batch, self.label_smoothing)
        return classified, {"cls": classified.detach()}


def exact(x: Tensor) -> torch.autocast:
    """Return a context without autocast: products use the tensors' own precision."""
    return torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False)


def cross_entropy(output: Output, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of a batch, in float32."""
    with exact(output.logits):
        return F.cross_entropy(output.logits.float(), batch.labels, label_smoothing=label_smoothing)


def require_steps(backbone: Backbone, method: str) -> VisionTransformer:
    """Return the backbone as a transformer into which a method can put its own tokens.

    Raises:
        UsageError: The backbone has no transformer blocks, pools its tokens, or has a relative position bias.
    """
    transformer = as_transformer(backbone, method, STEPWISE)
    hint = f"choose a backbone from: {', '.join(STEPWISE)}; or --method qtfp"
    if transformer.pool is not None:
        raise UsageError(f"{method} classifies the CLS token, but this backbone pools its tokens", hint)
    if transformer.relative:
        raise UsageError(
            f"{method} adds or drops tokens, which a backbone with relative position bias cannot do", hint
        )
    return transformer
