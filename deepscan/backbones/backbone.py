"""What every backbone gives: a CLS token, patch tokens, and where the CLS token looked."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A backbone's last layer, after its final norm.

    Attributes:
        cls: The CLS token, shape (B, D); of a tower that pools, what its pool gives.
        patches: The patch tokens in reading order, prefix and register tokens left out, shape (B, P, D).
        attention: What the CLS token (or the map pooling's query) pays each patch in the last block's
            self-attention: averaged over heads, other columns removed, renormalised, shape (B, P), each row
            summing to 1.
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
