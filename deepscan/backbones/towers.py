"""From what a recipe states about its backbone to a tower with weights."""

from collections.abc import Mapping
from typing import Any

from deepscan.backbones import BACKBONES
from deepscan.backbones.backbone import Backbone
from deepscan.backbones.published import normalisation, published
from deepscan.errors import UsageError

__all__ = ["build_tower", "normalisation"]


def build_tower(stated: Mapping[str, Any], weights: str = "random") -> Backbone:
    """Return the tower that a network's `backbone` states.

    Args:
        stated: Its `name`, and arguments of its builder.
        weights: `hub` for the published weights of that name, `random`, `package:NAME` for those in an
            installed package, or the path of a file: of the publisher's layout, or a checkpoint of a network
            with such a tower.

    Raises:
        UsageError: The name, a key or a value is wrong, or no weights are published.
        MissingError: The weights are not there and cannot be fetched.
        ContractError: The weights are of another tower.
    """
    arguments = dict(stated)
    name = arguments.pop("name", None)
    if name is None:
        raise UsageError("the network's backbone has no name", f"choose from: {', '.join(BACKBONES.names)}")
    builder = BACKBONES.get(name)
    if weights == "hub":
        published(name)
    try:
        tower = builder(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad arguments for backbone {name!r}: {error}", "correct network.backbone")
    if weights == "random":
        return tower
    # A tower of random weights needs nothing of the libraries that publish others.
    from deepscan.backbones.weights import load, locate

    load(tower, name, locate(name, weights))
    return tower
