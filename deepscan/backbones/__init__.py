"""Backbones: vision transformers, driven token by token, convolutional networks, and how they are tuned."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepscan.backbones.published import PUBLISHED, Normalisation
from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.backbones.backbone import Backbone

#: For a backbone that nothing is published of: centres a picture and spreads it to about 1.
_OWN = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
#: Backbones that are made of transformer blocks.
TRANSFORMERS = (*(name for name, found in PUBLISHED.items() if found.transformer), "compact")
#: Those that a method can drive with tokens of its own.
STEPWISE = (*(name for name, found in PUBLISHED.items() if found.stepwise), "compact")
#: Name -> what builds the backbone, with random weights, from the keyword arguments that `network.backbone`
#: states beside its name.
BACKBONES: "Registry[Callable[..., Backbone]]" = Registry(
    "backbone",
    {
        **{
            name: f"deepscan.backbones.{'pretrained' if found.transformer else 'efficientnet'}"
            for name, found in PUBLISHED.items()
        },
        "compact": "deepscan.backbones.compact",
        "convnet": "deepscan.backbones.convnet",
    },
)


def normalisation(name: str) -> Normalisation:
    """Return the mean and standard deviation per RGB channel, of pixels in [0, 1], that a backbone takes.

    Raises:
        UsageError: There is no such backbone.
    """
    if name in PUBLISHED:
        return PUBLISHED[name].normalisation
    if name not in BACKBONES.names:
        # Says which name is near.
        BACKBONES.get(name)
    return _OWN
