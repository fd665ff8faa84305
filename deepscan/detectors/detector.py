"""The contract that every detection method keeps."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.tokens import Backbone, Tokens
from deepscan.errors import UsageError

#: The columns of the logits, and the labels of a training sample.
REAL, FAKE = 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a network says about a batch of crops.

    Attributes:
        logits: Real, fake, shape (B, 2).
        attention: Where each of K queries looked among the P patches, shape (B, K, P), rows summing to 1.
        tokens: The backbone's tokens, for the losses.
    """

    logits: Tensor
    attention: Tensor
    tokens: Tokens

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.logits.shape[1] != 2 or self.attention.ndim != 3:
            raise ValueError(
                "an output is logits (B, 2) and attention (B, K, P), not "
                f"{tuple(self.logits.shape)} and {tuple(self.attention.shape)}"
            )

    @property
    def probability(self) -> Tensor:
        """Probability of fake, shape (B,)."""
        return torch.softmax(self.logits.float(), dim=1)[:, FAKE]


class Network(nn.Module, ABC):
    """A network that judges normalised crops, shape (B, 3, S, S)."""

    @abstractmethod
    def forward(self, crops: Tensor) -> Output:
        """Return the output for normalised crops, shape (B, 3, S, S)."""

    def predict(self, crops: Tensor) -> dict[str, Tensor]:
        """Return what an engine hands on: `probability`, shape (B,), and `attention`, shape (B, K, P)."""
        output: Output = self(crops)
        return {"probability": output.probability, "attention": output.attention}


class Detector(ABC):
    """A method: the network that it builds and the loss that it trains it with.

    A method is one file: a frozen dataclass whose fields are the settings of its loss, decorated with
    `DETECTORS.register(name)`, beside a recipe of the same name in `training/recipes`.
    """

    @abstractmethod
    def build(self, network: Mapping[str, Any]) -> Network:
        """Return a network with random weights.

        Args:
            network: What the recipe and the card state under `network`.

        Raises:
            UsageError: A key or a value is not one that the method or its backbone knows.
        """

    @abstractmethod
    def loss(self, output: Output, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to minimise and its parts for the log.

        Args:
            output: What the network gave.
            labels: 0 for real, 1 for fake, shape (B,), int64.
        """


def build_backbone(stated: Mapping[str, Any]) -> Backbone:
    """Return the backbone that a network's `backbone` states: its name and its arguments.

    Raises:
        UsageError: The name, a key or a value is wrong.
    """
    arguments = dict(stated)
    name = arguments.pop("name", None)
    if name is None:
        raise UsageError("the network's backbone has no name", f"choose from: {', '.join(BACKBONES.names)}")
    builder = BACKBONES.get(name)
    try:
        return builder(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad arguments for backbone {name!r}: {error}", "correct network.backbone")
