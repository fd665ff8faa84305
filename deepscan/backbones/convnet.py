"""Convolutional backbones, and a plain residual network as the control for transformers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.backbone import Backbone, Tokens
from deepscan.backbones.compact import Convolution, HighPass, Residual


class Convolutional(Backbone):
    """A convolutional network: the cells of its last feature map are the patches.

    `Tokens.cls` is their mean after the final norm, so that its attention is uniform.

    Args:
        stem: Crops (B, 3, S, S) to the last feature map (B, D, G, G).
        side: Side S of the crops, in pixels.
        grid: Side G of that map, in cells.
        width: Channels D of that map.
        norm: Norm of each cell's channels; None for no norm.
    """

    averages = True

    def __init__(
        self, stem: nn.Module, *, side: int, grid: int, width: int, norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.side, self.grid, self.width, self.depth, self.projected = side, grid, width, 1, width
        self.cls = None
        self.stem = stem
        self.ln_post = norm or nn.Identity()
        self.projection = nn.Identity()

    def forward(self, crops: Tensor, normed: bool = True) -> Tokens:
        """Return the tokens of normalised crops; see `Backbone.forward`."""
        before = self.stem(crops).flatten(2).transpose(1, 2)
        after = self.ln_post(before)
        weights = torch.full_like(after[..., 0], 1 / after.shape[1])
        return Tokens(after.mean(dim=1), after if normed else before, weights)

    def layers(self, crops: Tensor) -> Tensor:
        """Return the mean of the patches, shape (B, 1, D)."""
        return self.forward(crops).cls[:, None]


@BACKBONES.register("convnet")
class ConvNet(Convolutional):
    """Stages of 3x3 convolutions, each halving the side, and a layer norm.

    The residual blocks are those of "Deep Residual Learning for Image Recognition" (CVPR 2016).

    Args:
        side: Side of a crop in pixels, a multiple of 2^(number of stages).
        channels: Width of each stage; the last is the width of the tokens.
        pairs: Number of residual blocks, two convolutions each, in each stage.
        high_pass: Gain of the high-pass channels that the first stage also sees; 0 for none.

    Raises:
        ValueError: The side is not such a multiple, or channels and pairs differ in length.
    """

    def __init__(
        self,
        *,
        side: int = 160,
        channels: Sequence[int] = (24, 48, 96, 192, 384),
        pairs: Sequence[int] = (0, 1, 1, 1, 1),
        high_pass: float = 0.0,
    ) -> None:
        if not channels or len(channels) != len(pairs):
            raise ValueError(
                f"channels and pairs need one number per stage, not {list(channels)} and {list(pairs)}"
            )
        if side <= 0 or side % 2 ** len(channels):
            raise ValueError(f"the side of a crop must be a multiple of {2 ** len(channels)}, not {side}")
        stem: list[nn.Module] = [HighPass(high_pass)] if high_pass else []
        for inputs, outputs, count in zip((6 if high_pass else 3, *channels), channels, pairs, strict=False):
            stem += [
                Convolution(inputs, outputs, stride=2),
                *(Residual(outputs, outputs) for _ in range(count)),
            ]
        grid, width = side // 2 ** len(channels), channels[-1]
        super().__init__(nn.Sequential(*stem), side=side, grid=grid, width=width, norm=nn.LayerNorm(width))
