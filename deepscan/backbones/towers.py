"""From what a recipe states about its backbone to a tower with weights."""

from collections.abc import Mapping
from typing import Any

from deepscan.backbones import BACKBONES
from deepscan.backbones.vit import VisionTransformer
from deepscan.errors import UsageError


def build_tower(stated: Mapping[str, Any], weights: str = "random") -> VisionTransformer:
    """Return the tower that a network's `backbone` states.

    Args:
        stated: Its `name`, and arguments of its builder.
        weights: `hub` for the published weights of that name, `random`, or the path of a file.

    Raises:
        UsageError: The name, a key or a value is wrong.
    """
    arguments = dict(stated)
    name = arguments.pop("name", None)
    if name is None:
        raise UsageError("the network's backbone has no name", f"choose from: {', '.join(BACKBONES.names)}")
    builder = BACKBONES.get(name)
    try:
        return builder(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad arguments for backbone {name!r}: {error}", "correct network.backbone")
