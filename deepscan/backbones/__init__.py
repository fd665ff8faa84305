"""Backbones: vision transformers, driven token by token, convolutional networks, and how they are tuned."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.backbones.backbone import Backbone

_CLIP, _TIMM = "deepscan.backbones.clip", "deepscan.backbones.timm"
_EFFICIENTNET = "deepscan.backbones.efficientnet"
_TRANSFORMERS = {
    "clip-vit-l14": _CLIP,
    "clip-vit-b16": _CLIP,
    "siglip2-vit-l16": _TIMM,
    "pe-core-vit-l14": _TIMM,
    "dinov2-vit-l14": _TIMM,
    "dinov3-vit-l16": _TIMM,
    "beitv2-vit-l16": _TIMM,
    "imagenet-vit-l16": _TIMM,
    "compact": "deepscan.backbones.compact",
}
#: Backbones that are made of transformer blocks.
TRANSFORMERS = tuple(_TRANSFORMERS)
#: Those that a method can drive with tokens of its own: they have a CLS token, and no attention bias that
#: fits the whole grid alone.
STEPWISE = tuple(
    name for name in TRANSFORMERS if name not in ("siglip2-vit-l16", "pe-core-vit-l14", "beitv2-vit-l16")
)
#: Name -> what builds the backbone, with random weights, from the keyword arguments that `network.backbone`
#: states beside its name.
BACKBONES: "Registry[Callable[..., Backbone]]" = Registry(
    "backbone",
    {
        **_TRANSFORMERS,
        "convnet": "deepscan.backbones.convnet",
        "efficientnet-lite0": _EFFICIENTNET,
        "efficientnet-lite1": _EFFICIENTNET,
        "efficientnet-lite2": _EFFICIENTNET,
    },
)
