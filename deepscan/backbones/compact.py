"""A compact ViT on a convolutional stem, small enough to train and to scan with on a CPU."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.vit import VisionTransformer


class Convolution(nn.Sequential):
    """A 3x3 convolution, batch norm and GELU; `stride` 2 halves the side."""

    def __init__(self, inward: int, outward: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inward, outward, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outward),
            nn.GELU(),
        )


class HighPass(nn.Module):
    """Puts beside each channel its difference from its 3x3 mean, enlarged and clipped: 3 channels to 6.

    What gives a manipulation away is fainter than the picture by far; a network that is trained from scratch
    on few pictures sees it sooner when it need not learn the filter first.

    Args:
        gain: Factor before clipping to [-3, 3].
    """

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels and their high frequencies."""
        inside = _sum_around(x.new_ones(1, 1, *x.shape[2:]))
        return torch.cat((x, ((x - _sum_around(x) / inside) * self.gain).clamp(-3, 3)), dim=1)


def _sum_around(x: Tensor) -> Tensor:
    """Return the sum of each 3x3 neighbourhood, what lies outside being 0: (B, C, H, W) to the same shape.

    ONNX Runtime's pooling of three channels takes two fifths of the embedded detector's time, four times as
    long; a convolution would be rounded with the others where training or an 8-bit file rounds.
    """
    x = F.pad(x, (1, 1, 1, 1))
    x = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    return x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input passes: (B, C, H, W) to the same shape."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = Convolution(width, hidden)
        norm = nn.BatchNorm2d(width)
        # The pair starts as the identity, and learns to differ from it.
        nn.init.zeros_(norm.weight)
        self.project = nn.Sequential(nn.Conv2d(hidden, width, 3, padding=1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus what the two convolutions add."""
        added: Tensor = self.project(self.expand(x))
        return x + added


@BACKBONES.register("compact")
class CompactViT(VisionTransformer):
    """A convolutional stem down to 1/16 of the side, then a few transformer blocks with a CLS token.

    Traces of a manipulation are local and high-frequency, and a from-scratch model has few data to learn
    positions and textures from; so most of the arithmetic is spent in the stem, at 1/2, 1/4 and 1/8 of the
    side ("Early Convolutions Help Transformers See Better", NeurIPS 2021, Sec. 4, for the idea of the stem).

    Args:
        side: Side of a crop in pixels, a multiple of 16.
        channels: Width of the stem at 1/2, 1/4 and 1/8 of the side.
        residuals: Width inside the residual pair at each of these, 0 for none there.
        width: Width of the tokens.
        depth: Transformer blocks.
        heads: Attention heads, a divisor of the width.
        hidden: Width inside the blocks' MLP.
        drop: Dropout rate of what each block adds, in training.
        high_pass: Gain at which the stem also sees the crop's high frequencies, 0 for not at all.

    Raises:
        ValueError: The side or the number of heads does not divide.
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
        taken = 6 if high_pass else 3
        for inward, outward, inside in zip((taken, *channels[:2]), channels, residuals, strict=True):
            stem.append(Convolution(inward, outward, stride=2))
            if inside:
                stem.append(Residual(outward, inside))
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
