"""Operations of a network per crop, by formula and by a counter.

The formulas give multiply-adds, half of the number of floating-point operations. They omit embeddings, norms
and activations, like the supplement of DFD-HR.
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


def weightless_network(method: str, settings: Mapping[str, Any]) -> Network:
    """Build a network on the meta device, without memory, for counting."""
    with torch.device("meta"):
        return DETECTORS.get(method)().build({"tuning": {"type": "frozen"}, **settings})


def count_flops(network: Network) -> int:
    """Count the floating-point operations of a network on the meta device for a crop.

    DFD-HR is counted with all blocks.
    """
    exported = network.exportable().eval()
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(exported.inputs, (1, 3, exported.side, exported.side))
    if "regions" in shapes:
        shapes["regions"] = (1, 3, exported.backbone.grid**2)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        exported(**{name: torch.empty(shape) for name, shape in shapes.items()})
    return int(counter.get_total_flops())


def multiply_adds(network: Network, depth: int | None = None) -> int:
    """Return the multiply-adds of a network for a crop by formula: blocks, adapters and pooling.

    Args:
        network: The network.
        depth: Number of blocks that a crop and its tiles pass in DFD-HR; None for all.

    Raises:
        UsageError: Its backbone has no transformer blocks.
    """
    backbone = as_transformer(network.backbone, "the formula of operations")
    blocks, width, patches = backbone.depth, backbone.width, backbone.grid**2
    hidden = int(backbone.blocks[0].get_submodule("mlp.0").out_features)  # type: ignore[arg-type]
    tokens = patches + backbone.prefix
    if isinstance(network, DfdHrNetwork):
        return _dfd_hr(network, blocks if depth is None else depth, tokens, hidden)
    if isinstance(network, CoritNetwork):
        with_regions = tokens + len(network.chosen)
        exported = [with_regions, *[with_regions if network.shared else tokens] * network.rrm]
        return sum(transformer_cost(network.layers[-1], 0, count, count, width, hidden) for count in exported)
    total = transformer_cost(blocks, 0, tokens, tokens, width, hidden)
    if isinstance(network, QtfpNetwork) and network.pooling is not None:
        total += pooling_cost(len(network.pooling.queries), patches, width)
    return total


def _dfd_hr(network: DfdHrNetwork, depth: int, tokens: int, hidden: int) -> int:
    settings, backbone = network.settings, network.backbone
    blocks, width, prefix = backbone.depth, backbone.width, backbone.prefix
    kept = tokens
    if settings.selection != "none":
        always = 0 if settings.candidates == "all" else prefix
        kept = always + settings.kept_of(tokens - always)
    full = blocks - len(network.branch.routed)

    def passed(reduced: int) -> int:
        total = transformer_cost(full, reduced, tokens, kept, width, hidden)
        if settings.experts:
            total += full * adapters_cost(tokens, width, settings.experts, settings.hidden)
            total += reduced * adapters_cost(kept, width, settings.experts, settings.hidden)
        return total

    routed = passed(depth - full)
    unrouted = transformer_cost(blocks, 0, tokens, tokens, width, hidden)
    if settings.experts:
        unrouted += blocks * adapters_cost(tokens, width, settings.experts, settings.hidden)
    total = routed if settings.routed == "both" else unrouted
    if network.pooling is not None:
        queries = TILES**2 if settings.pooling == "self" else 1
        total += TILES**2 * routed + pooling_cost(queries, TILES**2, backbone.projected)
    return total


def block_cost(tokens: int, width: int, hidden: int) -> int:
    """Return the multiply-adds of a block: 4 n d^2 + 2 n^2 d + 2 n d m (DFD-HR, supplement B).

    Args:
        tokens: Number of tokens n.
        width: Token width d.
        hidden: Hidden width m of the MLP.
    """
    return 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden


def adapters_cost(tokens: int, width: int, experts: int, hidden: int) -> int:
    """Return the multiply-adds of a block's two mixtures of adapters (DFD-HR's "additional FLOPs").

    Args:
        tokens: Number of tokens n.
        width: Token width d.
        experts: Number of experts of a mixture.
        hidden: Hidden width of an expert.
    """
    gate, hidden_layers, bias = experts * width, 2 * width * experts * hidden, experts * width
    return 2 * tokens * (gate + hidden_layers + bias)


def pooling_cost(queries: int, tokens: int, width: int) -> int:
    """Return the multiply-adds of multi-head cross-attention.

    Args:
        queries: Number of query tokens.
        tokens: Number of key and value tokens.
        width: Token width.
    """
    return 2 * (queries + tokens) * width**2 + 2 * queries * tokens * width


def transformer_cost(full: int, reduced: int, tokens: int, kept: int, width: int, hidden: int) -> int:
    """Return the multiply-adds of a backbone whose last blocks process fewer tokens (DFD-HR, supplement B).

    Args:
        full: Number of blocks K that process every token.
        reduced: Number of blocks T - K that process the kept tokens; the sample exits after block T.
        tokens: Number of tokens n.
        kept: Number of tokens n^ in a reduced block.
        width: Token width d.
        hidden: Hidden width m of the blocks' MLP.
    """
    return full * block_cost(tokens, width, hidden) + reduced * block_cost(kept, width, hidden)
