"""The operations of a whole network for a crop, by formula and by a counter.

The formulas count multiply-adds: twice these are what a counter of floating-point operations finds. They
leave out embeddings, norms and activations, as DFD-HR's supplement does.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from deepscan.backbones.vit import as_transformer
from deepscan.detectors import DETECTORS
from deepscan.detectors.corit import CoritNetwork
from deepscan.detectors.detector import Network
from deepscan.detectors.dfd_hr import TILES, DfdHrNetwork
from deepscan.detectors.qtfp import QtfpNetwork


def weightless_network(method: str, stated: Mapping[str, Any]) -> Network:
    """Return a network that takes no memory, to be counted."""
    with torch.device("meta"):
        return DETECTORS.get(method)().build({"tuning": {"type": "frozen"}, **stated})


def count_flops(network: Network) -> int:
    """Return the operations of a network without memory for a crop, each an addition or a multiplication.

    DFD-HR is counted with every block.
    """
    seen = network.exportable().eval()
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(seen.inputs, (1, 3, seen.side, seen.side))
    if "regions" in shapes:
        shapes["regions"] = (1, 3, seen.backbone.grid**2)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        seen(**{name: torch.empty(shape) for name, shape in shapes.items()})
    return int(counter.get_total_flops())


def multiply_adds(network: Network, depth: int | None = None) -> int:
    """Return a network's multiply-adds for a crop by formula: its blocks, adapters and poolings.

    Args:
        network: The network.
        depth: Blocks that a crop and its tiles go through in DFD-HR; None for all.

    Raises:
        UsageError: Its backbone has no transformer blocks.
    """
    backbone = as_transformer(network.backbone, "the formula of the operations")
    blocks, width, patches = backbone.depth, backbone.width, backbone.grid**2
    hidden = int(backbone.blocks[0].get_submodule("mlp.0").out_features)  # type: ignore[arg-type]
    tokens = patches + backbone.prefix
    if isinstance(network, DfdHrNetwork):
        return _dfd_hr(network, blocks if depth is None else depth, tokens, hidden)
    if isinstance(network, CoritNetwork):
        with_regions = tokens + len(network.chosen)
        seen = [with_regions, *[with_regions if network.shared else tokens] * network.rrm]
        return sum(transformer_cost(network.layers[-1], 0, count, count, width, hidden) for count in seen)
    whole = transformer_cost(blocks, 0, tokens, tokens, width, hidden)
    if isinstance(network, QtfpNetwork) and network.pooling is not None:
        whole += pooling_cost(len(network.pooling.queries), patches, width)
    return whole


def _dfd_hr(network: DfdHrNetwork, depth: int, tokens: int, hidden: int) -> int:
    settings, backbone = network.settings, network.backbone
    blocks, width, prefix = backbone.depth, backbone.width, backbone.prefix
    kept = tokens
    if settings.selection != "none":
        always = 0 if settings.candidates == "all" else prefix
        kept = always + settings.kept_of(tokens - always)
    full = blocks - len(network.branch.routed)

    def passed(reduced: int) -> int:
        whole = transformer_cost(full, reduced, tokens, kept, width, hidden)
        if settings.experts:
            whole += full * adapters_cost(tokens, width, settings.experts, settings.hidden)
            whole += reduced * adapters_cost(kept, width, settings.experts, settings.hidden)
        return whole

    routed = passed(depth - full)
    unrouted = transformer_cost(blocks, 0, tokens, tokens, width, hidden)
    if settings.experts:
        unrouted += blocks * adapters_cost(tokens, width, settings.experts, settings.hidden)
    whole = routed if settings.routed == "both" else unrouted
    if network.pooling is not None:
        asked = TILES**2 if settings.pooling == "self" else 1
        whole += TILES**2 * routed + pooling_cost(asked, TILES**2, backbone.projected)
    return whole


def block_cost(tokens: int, width: int, hidden: int) -> int:
    """Return the multiply-adds of a block: 4 n d^2 + 2 n^2 d + 2 n d m (DFD-HR, supplement B).

    Args:
        tokens: Tokens n.
        width: Width d of the tokens.
        hidden: Width m inside the MLP.
    """
    return 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden


def adapters_cost(tokens: int, width: int, experts: int, hidden: int) -> int:
    """Return the multiply-adds of a block's two mixtures of adapters (DFD-HR's "additional FLOPs").

    Args:
        tokens: Tokens n.
        width: Width d of the tokens.
        experts: Experts of a mixture.
        hidden: Width inside an expert.
    """
    gate, between, bias = experts * width, 2 * width * experts * hidden, experts * width
    return 2 * tokens * (gate + between + bias)


def pooling_cost(asked: int, tokens: int, width: int) -> int:
    """Return the multiply-adds of a multi-head attention by which some tokens ask others.

    Args:
        asked: Tokens that ask.
        tokens: Tokens that are asked.
        width: Width of all of them.
    """
    return 2 * (asked + tokens) * width**2 + 2 * asked * tokens * width


def transformer_cost(full: int, reduced: int, tokens: int, kept: int, width: int, hidden: int) -> int:
    """Return the multiply-adds of a backbone whose last blocks see fewer tokens (DFD-HR, supplement B).

    Args:
        full: Blocks K that see every token.
        reduced: Blocks T - K that see those kept, T being the one after which the sample leaves.
        tokens: Tokens n.
        kept: Tokens n^ that a reduced block sees.
        width: Width d of the tokens.
        hidden: Width m inside the blocks' MLP.
    """
    return full * block_cost(tokens, width, hidden) + reduced * block_cost(kept, width, hidden)
