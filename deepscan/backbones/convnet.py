"""A plain residual convolutional network in a tower's place: the control of what transformers bring."""

from collections.abc import Sequence

from torch import nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.compact import Convolution, HighPass, Residual
from deepscan.backbones.vit import MeanPool, VisionTransformer


@BACKBONES.register("convnet")
class ConvNet(VisionTransformer):
    """Stages of 3x3 convolutions, each at half the side of the one before, and no transformer blocks.

    The places of the last stage are its patches, normed; their mean stands for the CLS token, and looks at
    all of them alike ("Deep Residual Learning for Image Recognition", CVPR 2016, for the residual pairs).

    Args:
        side: Side of a crop in pixels, a multiple of 2 to the power of the number of stages.
        channels: Width of each stage; the last is the width of the tokens.
        pairs: Residual pairs of convolutions in each stage.
        high_pass: Gain at which the first stage also sees the crop's high frequencies, 0 for not at all.

    Raises:
        ValueError: The side does not divide, or channels and pairs differ in number.
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
            raise ValueError(f"give pairs for each of the stages {list(channels)}, not {list(pairs)}")
        if side <= 0 or side % 2 ** len(channels):
            raise ValueError(f"the side of a crop must be a multiple of {2 ** len(channels)}, not {side}")
        stem: list[nn.Module] = [HighPass(high_pass)] if high_pass else []
        for inward, outward, count in zip((6 if high_pass else 3, *channels), channels, pairs, strict=False):
            stem += [
                Convolution(inward, outward, stride=2),
                *(Residual(outward, outward) for _ in range(count)),
            ]
        super().__init__(
            nn.Sequential(*stem),
            side=side,
            grid=side // 2 ** len(channels),
            width=channels[-1],
            depth=0,
            heads=1,
            hidden=1,
            prefix=0,
            positions=False,
            pool=MeanPool(),
        )
