"""Backbones: vision transformers, convolutional networks, and how they are tuned."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deepscan.backbones.published import PUBLISHED, Normalisation
from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.backbones.backbone import Backbone

#: For backbones without published weights: centres pixels and scales them to a deviation of about 1.
_OWN = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
#: Backbones built of transformer blocks.
TRANSFORMERS = (*(name for name, entry in PUBLISHED.items() if entry.transformer), "compact")
#: Backbones into which a method can put its own tokens.
STEPWISE = (*(name for name, entry in PUBLISHED.items() if entry.stepwise), "compact")
#: Name -> builder of the backbone with random weights. Its keyword arguments are the other keys of
#: `network.backbone`.
BACKBONES: "Registry[Callable[..., Backbone]]" = Registry(
    "backbone",
    {
        **{
            name: f"deepscan.backbones.{'pretrained' if entry.transformer else 'efficientnet'}"
            for name, entry in PUBLISHED.items()
        },
        "compact": "deepscan.backbones.compact",
        "convnet": "deepscan.backbones.convnet",
    },
)


def normalisation(name: str) -> Normalisation:
    """Return a backbone's input mean and standard deviation per RGB channel, for pixels in [0, 1].

    Raises:
        UsageError: The name is unknown.
    """
    if name in PUBLISHED:
        return PUBLISHED[name].normalisation
    if name not in BACKBONES.names:
        # Raises, with the closest name in the hint.
        BACKBONES.get(name)
    return _OWN
