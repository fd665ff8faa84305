"""The contract of every backbone: normalised crops in, tokens out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A backbone's last layer, after its final norm.

    Attributes:
        cls: The CLS token, shape (B, D); what stands for it where a backbone has none.
        patches: The patch tokens in reading order, prefix and register tokens left out, shape (B, P, D).
        attention: What the CLS token (or the pooling's query) pays each patch in the last block's
            self-attention: averaged over heads, other columns removed, renormalised, shape (B, P), each row
            summing to 1. Uniform where the CLS token is the mean of the patches.
    """

    cls: Tensor
    patches: Tensor
    attention: Tensor

    def __post_init__(self) -> None:
        if self.cls.ndim != 2 or self.patches.ndim != 3 or self.attention.ndim != 2:
            raise ValueError(
                "tokens are cls (B, D), patches (B, P, D), attention (B, P), not "
                f"{tuple(self.cls.shape)}, {tuple(self.patches.shape)}, {tuple(self.attention.shape)}"
            )
        if self.patches.shape[1] != self.attention.shape[1] or self.patches.shape[2] != self.cls.shape[1]:
            raise ValueError(
                f"patches {tuple(self.patches.shape)} do not go with cls {tuple(self.cls.shape)} "
                f"and attention {tuple(self.attention.shape)}"
            )


class Backbone(nn.Module, ABC):
    """A network that turns normalised crops (B, 3, S, S) into `Tokens`.

    A convolutional network and a transformer are both one. What needs the blocks of a transformer asks
    `vit.as_transformer` for them, which refuses any other by name.

    Attributes:
        side: Side S in pixels of the crops that it takes.
        grid: Patches G along a side; P = G * G.
        width: Width D of its tokens.
        depth: Layers L that `layers` gives: a transformer's blocks, 1 for a convolutional network.
        averages: Whether `Tokens.cls` is the mean of `Tokens.patches` after the final norm.
        cls: The CLS token that it learns, shape (1, 1, D); None where something else stands for it.
        ln_post: The final norm; an identity where there is none.
        projection: Linear map of the CLS token; an identity where there is none.
        projected: Width of what `projection` gives.
    """

    averages: ClassVar[bool] = False
    side: int
    grid: int
    width: int
    depth: int
    cls: nn.Parameter | None
    ln_post: nn.Module
    projection: nn.Module
    projected: int

    @abstractmethod
    def forward(self, crops: Tensor, normed: bool = True) -> Tokens:
        """Return the tokens of normalised crops.

        Args:
            crops: Shape (B, 3, S, S), float.
            normed: Whether the patches are taken after the final norm, or as they enter it; the CLS token, or
                what stands for it, has passed it either way.
        """

    @abstractmethod
    def layers(self, crops: Tensor) -> Tensor:
        """Return the CLS token after each layer and the final norm, shape (B, L, D).

        A backbone without a CLS token gives the mean of its tokens.
        """

    def freeze_unread(self, *, projected: bool, cls: bool = True, normed: bool = True) -> None:
        """Stop the training of parts whose output nobody reads, in place.

        Args:
            projected: Whether what `projection` gives is read.
            cls: Whether `Tokens.cls` is read.
            normed: Whether the patches are read after the final norm.
        """
        if not projected:
            self.projection.requires_grad_(False)
        if not (cls or normed):
            self.ln_post.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what does not train stays in evaluation mode, so that it stays the same function."""
        trains = any(value.requires_grad for value in self.parameters())
        super().train(mode and trains)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self
