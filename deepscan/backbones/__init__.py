"""ViT towers, driven token by token and block by block, and how they are tuned."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.backbones.vit import VisionTransformer

#: Name -> what builds the tower, with random weights, from the keyword arguments that `network.backbone`
#: states beside its name.
BACKBONES: "Registry[Callable[..., VisionTransformer]]" = Registry(
    "backbone",
    {
        "compact": "deepscan.backbones.compact",
    },
)
