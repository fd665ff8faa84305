"""ViT towers with access to tokens and to the attention of the last block."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.backbones.tokens import Backbone

#: Name -> what builds the tower from the keyword arguments that a card's `network.backbone` states.
BACKBONES: "Registry[Callable[..., Backbone]]" = Registry(
    "backbone",
    {
        "compact": "deepscan.backbones.compact",
    },
)
