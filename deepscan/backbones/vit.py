"""The vision transformer of every transformer backbone, which can be run block by block."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deepscan.backbones import TRANSFORMERS
from deepscan.backbones.attention import Attention, RelativeBias, Rotary
from deepscan.backbones.backbone import Backbone, Tokens
from deepscan.errors import UsageError


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation with which OpenAI's CLIP weights were trained."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x."""
        return x * torch.sigmoid(1.702 * x)


#: Name -> constructor of a block's MLP activation.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu-tanh": lambda: nn.GELU("tanh"),
    "quick-gelu": QuickGELU,
}


#: Changes the output of a block's attention or MLP before it is added; keeps the shape (B, N, D).
Adapter = Callable[[Tensor], Tensor]


class Block(nn.Module):
    """A pre-norm transformer block: h + Attention(LN h), then h + MLP(LN h)."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        activation: str = "gelu",
        eps: float = 1e-5,
        biases: str = "qkv",
        layer_scale: bool = False,
        relative: RelativeBias | None = None,
        interleaved: bool = False,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attention = Attention(width, heads, biases, interleaved)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width)
        )
        self.scale_1 = nn.Parameter(torch.ones(width)) if layer_scale else None
        self.scale_2 = nn.Parameter(torch.ones(width)) if layer_scale else None
        self.relative = relative
        self.drop = nn.Dropout(drop)

    def forward(
        self, x: Tensor, rotary: Tensor | None = None, adapters: tuple[Adapter, Adapter] | None = None
    ) -> Tensor:
        """Return the tokens after the block.

        Args:
            x: Shape (B, N, D). Without a relative bias these may be any subset of the tokens, with others
                added.
            rotary: Rotary table of these tokens, see `rotated`; None in a backbone without one.
            adapters: Applied to the outputs of attention and MLP before they are added.
        """
        bias = None if self.relative is None else self.relative()
        mixed = self.attention(self.ln_1(x), rotary, bias)
        x = self._add(x, mixed, self.scale_1, adapters and adapters[0])
        return self._add(x, self.mlp(self.ln_2(x)), self.scale_2, adapters and adapters[1])

    def cls_attention(self, x: Tensor, rotary: Tensor | None = None) -> Tensor:
        """Return the first token's attention to each token in this block, shape (B, N)."""
        bias = None if self.relative is None else self.relative()
        return self.attention.cls_attention(self.ln_1(x), rotary, bias)

    def _add(self, x: Tensor, added: Tensor, scale: Tensor | None, adapter: Adapter | None) -> Tensor:
        if adapter is not None:
            added = adapter(added)
        total: Tensor = x + self.drop(added if scale is None else scale * added)
        return total


class AttentionPool(nn.Module):
    """A learnt query that attends to all tokens, followed by an MLP (SigLIP's pooling)."""

    def __init__(self, width: int, heads: int, hidden: int, *, activation: str, eps: float) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width, eps)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width)
        )

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Pool tokens (B, N, D) to one, shape (B, D); also return the query's attention, shape (B, N)."""
        gathered, weights = self.attention.gather(self.latent.expand(tokens.shape[0], -1, -1), tokens)
        pooled = gathered + self.mlp(self.norm(gathered))
        return pooled[:, 0], weights


class VisionTransformer(Backbone):
    """A backbone that turns normalised crops (B, 3, S, S) into `Tokens`, in one call or step by step.

    A method that adds its own tokens or layers runs `embed`, `blocks` and `ln_post` itself; any other method
    calls the backbone.

    Args:
        stem: Crops (B, 3, S, S) to patches (B, D, G, G).
        side: Side S of the crops, in pixels.
        grid: Patches G along a side; P = G * G.
        width: Width D of the tokens.
        depth: Number of blocks.
        heads: Attention heads, a divisor of the width.
        hidden: Width inside the blocks' MLP.
        prefix: Tokens before the patches: the CLS token first, then registers.
        activation: A key of `ACTIVATIONS`.
        eps: Epsilon of the norms.
        biases: Letters of those of q, k and v that have a bias.
        positions: Whether a learnt position is added to every token.
        pre_norm: Whether the tokens are normed before the first block.
        layer_scale: Whether each block's residual branches are scaled by a learnt vector.
        relative: Whether each block has a relative position bias.
        rotary: Rotary position encoding of the patches' queries and keys; None for none.
        projection: Width of the CLS token's linear projection, 0 for none.
        pool: Pools all tokens into `Tokens.cls`. With None the CLS token itself is used or, in a backbone
            without one, an `AttentionPool` with the blocks' heads and MLP width.
        drop: Dropout rate on each block's residual branches.

    Raises:
        ValueError: The heads do not divide the width, or a number is out of range.
    """

    rotary: Tensor | None

    def __init__(
        self,
        stem: nn.Module,
        *,
        side: int,
        grid: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        prefix: int = 1,
        activation: str = "gelu",
        eps: float = 1e-5,
        biases: str = "qkv",
        positions: bool = True,
        pre_norm: bool = False,
        layer_scale: bool = False,
        relative: bool = False,
        rotary: Rotary | None = None,
        projection: int = 0,
        pool: AttentionPool | None = None,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        if min(grid, depth) < 1:
            raise ValueError(f"a backbone needs patches and blocks, not grid={grid} and depth={depth}")
        self.side, self.grid, self.width, self.depth, self.prefix = side, grid, width, depth, prefix
        self.stem = stem
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02) if prefix else None
        self.registers = nn.Parameter(torch.randn(1, prefix - 1, width) * 0.02) if prefix > 1 else None
        count = grid**2 + prefix
        self.position = nn.Parameter(torch.randn(1, count, width) * 0.02) if positions else None
        table = rotary.table(grid, prefix, width // heads) if rotary else None
        self.register_buffer("rotary", table)
        self.ln_pre = nn.LayerNorm(width, eps) if pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                hidden,
                activation=activation,
                eps=eps,
                biases=biases,
                layer_scale=layer_scale,
                relative=RelativeBias(grid, heads) if relative else None,
                interleaved=rotary is not None and rotary.interleaved,
                drop=drop,
            )
            for _ in range(depth)
        )
        self.ln_post = nn.LayerNorm(width, eps)
        if pool is None and not prefix:
            pool = AttentionPool(width, heads, hidden, activation=activation, eps=eps)
        self.pool = pool
        self.projection = nn.Linear(width, projection, bias=False) if projection else nn.Identity()
        self.projected = projection or width
        #: Whether the blocks accept only the whole grid.
        self.relative = relative

    def embed(self, crops: Tensor) -> Tensor:
        """Return the tokens before the first block, shape (B, prefix + P, D), of crops (B, 3, S, S)."""
        x: Tensor = self.stem(crops).flatten(2).transpose(1, 2)
        before = [token for token in (self.cls, self.registers) if token is not None]
        if before:
            x = torch.cat((*(token.expand(len(x), -1, -1).to(x.dtype) for token in before), x), dim=1)
        if self.position is not None:
            x = x + self.position
        embedded: Tensor = self.ln_pre(x)
        return embedded

    def rotary_table(self, extra: int = 0) -> Tensor | None:
        """Return the rotary table of all tokens, then `extra` without a position; None without rotation."""
        if self.rotary is None or not extra:
            return self.rotary
        half = self.rotary.shape[-1] // 2
        unrotated = torch.cat(
            (self.rotary.new_zeros(1, extra, half), self.rotary.new_ones(1, extra, half)), dim=-1
        )
        return torch.cat((self.rotary, unrotated), dim=1)

    def forward(self, crops: Tensor, normed: bool = True) -> Tokens:
        """Return the tokens of normalised crops; see `Backbone.forward`."""
        x, rotary = self.embed(crops), self.rotary_table()
        before = entering = x
        for block in self.blocks:
            entering, before = before, block(before, rotary)
        after = self.ln_post(before)
        patches = (after if normed else before)[:, self.prefix :]
        if self.pool is not None:
            pooled, weights = self.pool(after)
            if self.prefix:
                weights = weights[:, self.prefix :]
                weights = weights / weights.sum(dim=-1, keepdim=True)
            return Tokens(pooled, patches, weights)
        x, last = entering, cast(Block, self.blocks[-1])
        # Attention is an output only; nothing trains through it.
        with torch.no_grad():
            row = last.cls_attention(x, rotary)[:, self.prefix :]
        return Tokens(after[:, 0], patches, row / row.sum(dim=-1, keepdim=True))

    def layers(self, crops: Tensor) -> Tensor:
        """Return the CLS token after each block or, with pooling, the mean of all tokens: (B, L, D)."""
        x, rotary, outputs = self.embed(crops), self.rotary_table(), []
        for block in self.blocks:
            x = block(x, rotary)
            normed = self.ln_post(x)
            outputs.append(normed[:, 0] if self.pool is None else normed.mean(dim=1))
        return torch.stack(outputs, dim=1)

    def freeze_unread(self, *, projected: bool, cls: bool = True, normed: bool = True) -> None:
        """Freeze the parts whose output is not used, including the pool."""
        super().freeze_unread(projected=projected, cls=cls, normed=normed)
        if self.pool is not None and not cls:
            self.pool.requires_grad_(False)


def as_transformer(
    backbone: Backbone, purpose: str, supported: Sequence[str] = TRANSFORMERS
) -> VisionTransformer:
    """Return the backbone as a transformer.

    Args:
        backbone: The backbone.
        purpose: What needs transformer blocks; the subject of the message.
        supported: Names of the backbones to suggest.

    Raises:
        UsageError: The backbone has no transformer blocks.
    """
    if not isinstance(backbone, VisionTransformer):
        raise UsageError(
            f"{purpose} needs transformer blocks, which this backbone does not have",
            f"choose a backbone from: {', '.join(supported)}",
        )
    return backbone
