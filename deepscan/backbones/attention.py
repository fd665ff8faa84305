"""Self-attention with separate query, key, value and output matrices, and its position encodings."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rotated(x: Tensor, rotary: Tensor, interleaved: bool = False) -> Tensor:
    """Rotate queries or keys by their tokens' positions ("RoFormer", 2021, Sec. 3.4.2).

    Args:
        x: Shape (B, H, N, E).
        rotary: Sine and cosine of each token, concatenated, shape (B or 1, N, 2 E); a sine of 0 and a cosine
            of 1 leave a token unchanged.
        interleaved: Whether each element is paired with its neighbour, or with the one half a head away.
    """
    sine, cosine = rotary[:, None].chunk(2, dim=-1)
    if interleaved:
        first, second = x[..., ::2], x[..., 1::2]
        partner = torch.stack((-second, first), dim=-1).flatten(-2)
    else:
        first, second = x.chunk(2, dim=-1)
        partner = torch.cat((-second, first), dim=-1)
    result: Tensor = x * cosine + partner * sine
    return result.to(x.dtype)


@dataclass(frozen=True, slots=True)
class Rotary:
    """Angles by which a backbone rotates queries and keys; the defaults are DINOv3's (2025).

    Patch i of G along an axis has position reach * ((i + shift) / G - origin). Half of the pairs of a head
    rotate with the row, half with the column, with periods from 1 to nearly `base`: pair k by
    position / base^(4 k / E), in radians.

    Attributes:
        base: Base of the periods.
        reach: Length of an axis, the same for every grid.
        shift: Where a patch's position lies in the patch, from 0 (start) to 1 (end).
        origin: Where position 0 lies, as a fraction of the axis.
        columns_first: Whether a head's first half rotates with the column.
        interleaved: See `rotated`.
    """

    base: float = 100.0
    reach: float = 4 * math.pi
    shift: float = 0.5
    origin: float = 0.5
    columns_first: bool = False
    interleaved: bool = False

    def table(self, grid: int, prefix: int, size: int) -> Tensor:
        """Return the sines and cosines that `rotated` takes for a backbone's tokens.

        Prefix tokens have no position: sine 0, cosine 1.

        Args:
            grid: Patches along a side.
            prefix: Tokens before the patches.
            size: Width E of a head, a multiple of 4.

        Returns:
            Sine and cosine, concatenated, shape (1, prefix + P, 2 E), float32.

        Raises:
            ValueError: The width of a head is not a multiple of 4.
        """
        if size % 4:
            raise ValueError(f"rotary positions need a head width that is a multiple of 4, not {size}")
        along = self.reach * ((torch.arange(grid) + self.shift) / grid - self.origin)
        periods = self.base ** (torch.arange(size // 4) * 4 / size)
        row, column = torch.meshgrid(along, along, indexing="ij")
        positions = torch.stack((column, row) if self.columns_first else (row, column), dim=-1)
        angles = (positions.reshape(-1, 2, 1) / periods).flatten(1)
        angles = angles.repeat_interleave(2, dim=1) if self.interleaved else angles.repeat(1, 2)
        angles = torch.cat((angles.new_zeros(prefix, size), angles))
        return torch.cat((angles.sin(), angles.cos()), dim=1)[None]


class Attention(nn.Module):
    """Multi-head self-attention.

    Query, key, value and output are four matrices, so that each can be tuned.

    Args:
        width: Width D of the tokens.
        heads: Attention heads, a divisor of the width.
        biases: Letters of those of q, k and v that have a bias; the output always has one.
        interleaved: See `rotated`.

    Raises:
        ValueError: The heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, biases: str = "qkv", interleaved: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads, self.interleaved = heads, interleaved
        self.q, self.k, self.v = (nn.Linear(width, width, bias=name in biases) for name in "qkv")
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, rotary: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Return the mixed tokens.

        Args:
            x: Shape (B, N, D).
            rotary: See `rotated`.
            bias: Added to the logits, shape (H, N, N).
        """
        q, k, v = self._split(self.q(x)), self._split(self.k(x)), self._split(self.v(x))
        if rotary is not None:
            q, k = rotated(q, rotary, self.interleaved), rotated(k, rotary, self.interleaved)
        mask = None if bias is None else bias[None].to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def cls_attention(self, x: Tensor, rotary: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Return the first token's attention to each token, averaged over heads, shape (B, N)."""
        q, k = self._split(self.q(x[:, :1])), self._split(self.k(x))
        if rotary is not None:
            q = rotated(q, rotary[:, :1], self.interleaved)
            k = rotated(k, rotary, self.interleaved)
        weights: Tensor = _weights(q, k, None if bias is None else bias[None, :, :1]).mean(dim=1)[:, 0]
        return weights

    def gather(self, query: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a query's output over tokens, (B, 1, D), and its attention to each, (B, N).

        Args:
            query: Shape (B, 1, D).
            x: The tokens, shape (B, N, D), without positions.
        """
        q, k, v = self._split(self.q(query)), self._split(self.k(x)), self._split(self.v(x))
        weights = _weights(q, k)
        gathered: Tensor = self.out((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))
        return gathered, weights.mean(dim=1)[:, 0]

    def _split(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        return x.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)


def _weights(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the attention of queries (B, H, M, E) to keys (B, H, N, E): (B, H, M, N), float32."""
    logits = (q @ k.transpose(-2, -1)).float() * q.shape[-1] ** -0.5
    return torch.softmax(logits if bias is None else logits + bias, dim=-1)


class RelativeBias(nn.Module):
    """A learnt attention bias for each offset between two patches, and to and from the CLS token (BEiT).

    Args:
        grid: Patches along a side.
        heads: Attention heads.
    """

    index: Tensor

    def __init__(self, grid: int, heads: int) -> None:
        super().__init__()
        span = 2 * grid - 1
        self.table = nn.Parameter(torch.zeros(span**2 + 3, heads))
        position = torch.stack(torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")).flatten(
            1
        )
        down, right = (position[:, :, None] - position[:, None]) + (grid - 1)
        index = torch.zeros(grid**2 + 1, grid**2 + 1, dtype=torch.long)
        index[1:, 1:] = down * span + right
        index[0], index[:, 0], index[0, 0] = span**2, span**2 + 1, span**2 + 2
        self.register_buffer("index", index)

    def forward(self) -> Tensor:
        """Return the bias, shape (H, N, N), N being the patches and the CLS token."""
        bias: Tensor = self.table[self.index].permute(2, 0, 1)
        return bias
