"""The contract of every backbone: normalised crops in, tokens out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A backbone's last layer, after its final norm.

    Attributes:
        cls: The CLS token, or the pooled token of a backbone without one, shape (B, D).
        patches: The patch tokens in reading order, prefix and register tokens left out, shape (B, P, D).
        attention: Attention of the CLS token (or the pooling query) to each patch in the last block:
            averaged over heads, other columns removed, renormalised so that each row sums to 1, shape
            (B, P). Uniform where the CLS token is the mean of the patches.
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
                f"patches {tuple(self.patches.shape)} do not match cls {tuple(self.cls.shape)} "
                f"and attention {tuple(self.attention.shape)}"
            )


class Backbone(nn.Module, ABC):
    """A network that turns normalised crops (B, 3, S, S) into `Tokens`.

    Convolutional networks and transformers both implement it. Code that needs transformer blocks calls
    `vit.as_transformer`, which refuses every other backbone.

    Attributes:
        side: Side S of the input crops, in pixels.
        grid: Patches G along a side; P = G * G.
        width: Width D of the tokens.
        depth: Number L of layers that `layers` returns: a transformer's blocks, 1 for a convolutional
            network.
        averages: Whether `Tokens.cls` is the mean of `Tokens.patches` after the final norm.
        cls: The learnt CLS token, shape (1, 1, D); None if `Tokens.cls` is pooled.
        ln_post: The final norm, or an identity.
        projection: Linear map of the CLS token, or an identity.
        projected: Output width of `projection`.
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
            normed: Whether the patches are taken after the final norm or before it. The CLS token is always
                taken after it.
        """

    @abstractmethod
    def layers(self, crops: Tensor) -> Tensor:
        """Return the CLS token after each layer and the final norm, shape (B, L, D).

        A backbone without a CLS token returns the mean of its tokens.
        """

    def freeze_unread(self, *, projected: bool, cls: bool = True, normed: bool = True) -> None:
        """Freeze the parts whose output is not used, in place.

        Args:
            projected: Whether the output of `projection` is used.
            cls: Whether `Tokens.cls` is used.
            normed: Whether the patches are used after the final norm.
        """
        if not projected:
            self.projection.requires_grad_(False)
        if not (cls or normed):
            self.ln_post.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen parts stay in evaluation mode, so that their function does not change."""
        trains = any(value.requires_grad for value in self.parameters())
        super().train(mode and trains)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self
