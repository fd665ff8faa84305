"""How a tower is tuned: which of its parameters train, and what is added to them."""

from collections.abc import Mapping
from typing import Any

from deepscan.backbones.vit import VisionTransformer


def tune(tower: VisionTransformer, stated: Mapping[str, Any]) -> None:
    """Make a tower tunable in place, as `network.tuning` states.

    Args:
        tower: The tower, with its weights.
        stated: Its `type`, and the type's arguments.

    Raises:
        UsageError: The type, a key or a value is wrong.
        MissingError: The type needs a package that is not installed.
    """
