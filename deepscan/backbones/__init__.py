"""Backbones: vision transformers, driven token by token, convolutional networks, and how they are tuned."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.backbones.vit import VisionTransformer

_CLIP, _TIMM = "deepscan.backbones.clip", "deepscan.backbones.timm"
_EFFICIENTNET = "deepscan.backbones.efficientnet"
#: Name -> what builds the tower, with random weights, from the keyword arguments that `network.backbone`
#: states beside its name.
BACKBONES: "Registry[Callable[..., VisionTransformer]]" = Registry(
    "backbone",
    {
        "clip-vit-l14": _CLIP,
        "clip-vit-b16": _CLIP,
        "siglip2-vit-l16": _TIMM,
        "pe-core-vit-l14": _TIMM,
        "dinov2-vit-l14": _TIMM,
        "dinov3-vit-l16": _TIMM,
        "beitv2-vit-l16": _TIMM,
        "imagenet-vit-l16": _TIMM,
        "compact": "deepscan.backbones.compact",
        "convnet": "deepscan.backbones.convnet",
        "efficientnet-lite0": _EFFICIENTNET,
        "efficientnet-lite1": _EFFICIENTNET,
        "efficientnet-lite2": _EFFICIENTNET,
    },
)
