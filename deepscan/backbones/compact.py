"""A compact ViT on a convolutional stem, small enough to train and scan on a CPU."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.vit import VisionTransformer


class Convolution(nn.Sequential):
    """A 3x3 convolution, batch norm and GELU; a `stride` of 2 halves the side."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.GELU(),
        )


class HighPass(nn.Module):
    """Append each channel's difference from its 3x3 mean, amplified and clipped: 3 channels to 6.

    Traces of a manipulation are much fainter than the picture. A network that is trained from scratch on few
    pictures finds them sooner if it need not learn the filter first.

    Args:
        gain: Factor before clipping to [-3, 3].
    """

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels and their high frequencies."""
        counts = _neighbourhood_sum(x.new_ones(1, 1, *x.shape[2:]))
        return torch.cat((x, ((x - _neighbourhood_sum(x) / counts) * self.gain).clamp(-3, 3)), dim=1)


def _neighbourhood_sum(x: Tensor) -> Tensor:
    """Return the sum of each zero-padded 3x3 neighbourhood: (B, C, H, W) to the same shape.

    Slices, because ONNX Runtime's pooling of three channels takes four times as long, two fifths of the
    embedded detector's time, and a convolution would be rounded in mixed precision and in 8 bits.
    """
    x = F.pad(x, (1, 1, 1, 1))
    x = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    return x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]


class Residual(nn.Module):
    """Two 3x3 convolutions with a skip connection: (B, C, H, W) to the same shape."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = Convolution(width, hidden)
        norm = nn.BatchNorm2d(width)
        # The block starts as the identity.
        nn.init.zeros_(norm.weight)
        self.project = nn.Sequential(nn.Conv2d(hidden, width, 3, padding=1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus what the two convolutions add."""
        added: Tensor = self.project(self.expand(x))
        return x + added


@BACKBONES.register("compact")
class CompactViT(VisionTransformer):
    """A convolutional stem down to 1/16 of the side, then a few transformer blocks with a CLS token.

    Traces of a manipulation are local and high-frequency, and a model trained from scratch has little data to
    learn positions and textures from. Most of the arithmetic is therefore in the stem, at 1/2, 1/4 and 1/8 of
    the side ("Early Convolutions Help Transformers See Better", NeurIPS 2021, Sec. 4, for the idea of a
    stem).

    Args:
        side: Side of a crop in pixels, a multiple of 16.
        channels: Width of the stem at 1/2, 1/4 and 1/8 of the side.
        residuals: Width inside the residual block at each of these; 0 for no block.
        width: Width of the tokens.
        depth: Transformer blocks.
        heads: Attention heads, a divisor of the width.
        hidden: Width inside the blocks' MLP.
        drop: Dropout rate on each block's residual branches.
        high_pass: Gain of the high-pass channels that the stem also sees; 0 for none.

    Raises:
        ValueError: The side is not a multiple of 16, or the heads do not divide the width.
    """

    def __init__(
        self,
        *,
        side: int = 160,
        channels: Sequence[int] = (32, 64, 128),
        residuals: Sequence[int] = (0, 64, 128),
        width: int = 160,
        depth: int = 3,
        heads: int = 5,
        hidden: int = 480,
        drop: float = 0.0,
        high_pass: float = 0.0,
    ) -> None:
        if side % 16 or side <= 0:
            raise ValueError(f"the side of a crop must be a multiple of 16, not {side}")
        if len(channels) != 3 or len(residuals) != 3:
            raise ValueError("the stem has three stages: give three channels and three residuals")
        stem: list[nn.Module] = [HighPass(high_pass)] if high_pass else []
        first = 6 if high_pass else 3
        for inputs, outputs, inner in zip((first, *channels[:2]), channels, residuals, strict=True):
            stem.append(Convolution(inputs, outputs, stride=2))
            if inner:
                stem.append(Residual(outputs, inner))
        stem.append(nn.Conv2d(channels[2], width, 3, stride=2, padding=1))
        super().__init__(
            nn.Sequential(*stem),
            side=side,
            grid=side // 16,
            width=width,
            depth=depth,
            heads=heads,
            hidden=hidden,
            drop=drop,
        )
