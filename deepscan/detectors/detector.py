"""The contract that every detection method keeps."""

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

#: The columns of the logits, and the labels of a training sample.
REAL, FAKE = 0, 1
#: A training sample's forged part is not known.
UNKNOWN = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a network says about a batch of crops; a method adds what its loss and its explanation need.

    Attributes:
        logits: Real, fake, shape (B, 2).
    """

    logits: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.logits.shape[1] != 2:
            raise ValueError(f"logits are (B, 2), not {tuple(self.logits.shape)}")

    @property
    def probability(self) -> Tensor:
        """Probability of fake, shape (B,)."""
        return torch.softmax(self.logits.float(), dim=1)[:, FAKE]

    @property
    def explanation(self) -> dict[str, Tensor]:
        """What an engine hands on beside the probability, float, by name.

        Shape (B,) is a number a crop, shape (B, M, P) are M maps over the P patches in reading order.
        """
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Training samples, ready for a network.

    Attributes:
        inputs: By the names of the network's arguments; the first axis of each is the batch.
        labels: 0 for real, 1 for fake, shape (B,), int64.
        masks: How far each pixel was forged, in [0, 1], `UNKNOWN` all over where that is not known, shape
            (B, S, S), float32; None where no method asks.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    masks: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        moved = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        masks = None if self.masks is None else self.masks.to(device)
        return Batch(moved, self.labels.to(device), masks)


class Network(nn.Module, ABC):
    """A network that judges crops; called with the inputs that it names, it returns its `Output`.

    Attributes:
        inputs: Names of what it takes, in order: `crops`, normalised, shape (B, 3, S, S), comes first.
        backbone: Its backbone.
        export_note: What an exported file must say of how it computes, empty where there is nothing to say.
    """

    inputs: tuple[str, ...] = ("crops",)
    backbone: Backbone
    export_note: str = ""

    @property
    def side(self) -> int:
        """Side S in pixels of the crops that it takes."""
        return self.backbone.side

    def predict(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Return what an engine hands on: `probability`, shape (B,), and the explanation by name."""
        output: Output = self(**inputs)
        return {"probability": output.probability, **output.explanation}

    def exportable(self) -> "Network":
        """Return the network in a form without choices that depend on its inputs, to be traced.

        It gives the same outputs; where that costs what the network would have saved, its method says so.
        """
        return self


@dataclass(frozen=True, slots=True, eq=False)
class FrozenOutput(Output):
    """What a `FrozenNetwork` says.

    Attributes:
        maps: The explanation; empty where the features came from a cache.
    """

    maps: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def explanation(self) -> dict[str, Tensor]:
        """What the frozen part saw."""
        return dict(self.maps)


class FrozenNetwork(Network):
    """A network whose head, which alone trains, sees only what its frozen backbone makes of the inputs.

    Then what the backbone makes can be kept on disk, and an epoch costs no pass through it.

    Args:
        backbone: The backbone.

    Raises:
        ValueError: The backbone trains.
    """

    head: nn.Module

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        if any(value.requires_grad for value in backbone.parameters()):
            raise ValueError(
                "the backbone must not train: state the tuning type frozen, or take a method that trains it, "
                "such as fft"
            )
        self.backbone = backbone

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what trains; the backbone stays as it is in a scan."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, **inputs: Tensor) -> FrozenOutput:
        """Return the output for the inputs that the network names."""
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
    """A method: the network that it builds and the loss that it trains it with.

    A method is one file: a frozen dataclass whose fields are the settings of its loss, decorated with
    `DETECTORS.register(name)`, beside a recipe of the same name in `training/recipes`.

    Attributes:
        network_type: Class of its network, which takes the backbone and what else `network` states.
        tuning: How the backbone is tuned where `network` does not state it.
    """

    network_type: ClassVar[type[Network]]
    tuning: ClassVar[str] = "fft"

    def build(self, network: Mapping[str, Any], weights: str = "random") -> Network:
        """Return a network.

        Args:
            network: What the recipe and the card state under `network`: `backbone`, `tuning`, and arguments
                of the network.
            weights: Where the backbone's weights come from, as `weights.build_backbone` takes it; the rest is
                random.

        Raises:
            UsageError: A key or a value is not one that the method or its backbone knows.
            MissingError: The weights, or a package, cannot be had.
            ContractError: The weights do not fit.
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
        """Whether the loss reads the batch's masks."""
        return False

    @abstractmethod
    def loss(self, output: Out, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to minimise and its parts, detached, for the log.

        Args:
            output: What the network gave for the batch.
            batch: The samples.
        """


@dataclass(frozen=True)
class Classifier(DetectionMethod[Out]):
    """A method that trains by cross-entropy.

    Attributes:
        label_smoothing: Of the cross-entropy.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise UsageError(
                f"label_smoothing must be in [0, 1], not {self.label_smoothing}",
                "correct loss.label_smoothing",
            )

    def loss(self, output: Out, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy, in float32; its one part is `cls`."""
        classified = cross_entropy(output, batch, self.label_smoothing)
        return classified, {"cls": classified.detach()}


def exact(x: Tensor) -> torch.autocast:
    """Return a context in which products are computed in the tensors' own precision."""
    return torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False)


def cross_entropy(output: Output, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of a batch, in float32."""
    with exact(output.logits):
        return F.cross_entropy(output.logits.float(), batch.labels, label_smoothing=label_smoothing)


def require_steps(backbone: Backbone, method: str) -> VisionTransformer:
    """Return a backbone that a method can drive step by step with tokens of its own.

    Raises:
        UsageError: It has no transformer blocks, pools its tokens, or has a relative position bias.
    """
    transformer = as_transformer(backbone, method, STEPWISE)
    hint = f"choose a backbone from: {', '.join(STEPWISE)}; or --method qtfp"
    if transformer.pool is not None:
        raise UsageError(
            f"{method} classifies the CLS token, and this backbone pools its tokens instead", hint
        )
    if transformer.relative:
        raise UsageError(
            f"{method} adds or drops tokens, which a backbone with relative position bias cannot do", hint
        )
    return transformer
