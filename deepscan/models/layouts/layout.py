"""Base classes of layouts: how files are recognised, their weight names, and the network that they fill."""

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from deepscan.backbones import BACKBONES
from deepscan.backbones.weight_rules import Rule
from deepscan.errors import ContractError

Weights = Mapping[str, Tensor]
#: Side of a patch in pixels -> CLIP's backbone.
CLIP = {14: "clip-vit-l14", 16: "clip-vit-b16"}
#: Width of an attention head in all these backbones; files do not contain it.
HEAD = 64
#: `position_ids` are 0, 1, 2, ...; only older versions of transformers saved them.
SPARE = r".*embeddings\.position_ids"


class Layout(ABC):
    """How a publisher's files are recognised; direct subclasses are for files that are refused.

    Attributes:
        reference: Published model whose preprocessing other files of this layout use.
        mark: Pattern of a weight name that is in every file of this publisher and in no others; layouts for
            which names are not enough override `recognises`.
        backbone: Backbone whose published weights a file with only a head needs; empty for none.
    """

    reference: ClassVar[str]
    mark: ClassVar[str]
    backbone: ClassVar[str] = ""

    def recognises(self, weights: Weights) -> bool:
        """Return whether weights have this publisher's names, or shapes where names are not enough."""
        return any(re.fullmatch(self.mark, name) for name in weights)


class WeightLayout(Layout):
    """How a publisher names the weights of a detector.

    Attributes:
        method: Method of the detector.
        rules: Rules from the publisher's names to our network's.
        spare: Pattern of names that a file may contain and that are not needed.
        config: Name of a config file next to the weights that says how to read them; empty for none.
    """

    method: ClassVar[str]
    rules: ClassVar[Sequence[Rule]]
    spare: ClassVar[str] = SPARE
    config: ClassVar[str] = ""

    def needed(self, weights: Weights) -> dict[str, Tensor]:
        """Return the weights without the spare ones."""
        spare = re.compile(self.spare)
        return {name: value for name, value in weights.items() if not spare.fullmatch(name)}

    def convert(self, weights: Weights) -> Weights:
        """Return the weights after arithmetic that rules of names cannot express.

        Raises:
            ContractError: Parts of a weight are missing.
        """
        return weights

    @abstractmethod
    def network(self, weights: Weights, config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return `network` for the card, from the weights and the config, and assumptions made.

        Args:
            weights: Weights by our names.
            config: Settings from the file itself or from the config next to it.

        Raises:
            ContractError: Weights that give the sizes are missing, or the backbone is not supported.
        """


def within(rules: Sequence[Rule], theirs: str, ours: str = "backbone.") -> tuple[Rule, ...]:
    """Return a backbone's rules for a network that contains it, see `Rule.within`."""
    return tuple(rule.within(theirs, ours) for rule in rules)


def clip_arguments(weights: Weights, *, projected: bool) -> dict[str, Any]:
    """Return `network.backbone` for a CLIP backbone with these weights.

    Args:
        weights: Weights by our names.
        projected: Whether the network uses the backbone's projection.

    Raises:
        ContractError: Weights that give the sizes are missing, or the backbone is not supported.
    """
    patch = size(weights, "backbone.stem.weight", -1)
    positions = size(weights, "backbone.position", -2)
    grid = math.isqrt(max(positions - 1, 0))
    if grid < 1 or grid**2 != positions - 1:
        raise ContractError(
            f"the file's backbone has {positions} positions, not one more than a square number",
            "the file is incomplete or of another network: download it again",
        )
    if patch not in CLIP:
        raise ContractError(
            f"the file's backbone has patches of {patch} px, which are not supported",
            f"import a file with patches of {' or '.join(map(str, CLIP))} px",
        )
    projection = size(weights, "backbone.projection.weight", 0) if projected else 0
    return backbone_arguments(weights, CLIP[patch], side=grid * patch, projection=projection)


def backbone_arguments(weights: Weights, name: str, **more: Any) -> dict[str, Any]:
    """Return `network.backbone`: the backbone's name, and arguments that differ from its defaults.

    Args:
        weights: Weights by our names.
        name: Name of the backbone.
        more: Further arguments of its builder.

    Raises:
        ContractError: Weights that give the sizes are missing.
    """
    width = size(weights, "backbone.cls", -1)
    if width < 1 or width % HEAD:
        raise ContractError(
            f"the file's backbone has a width of {width}, not a multiple of {HEAD}, the width of a head",
            "import a file of another backbone",
        )
    blocks = {name.split(".")[2] for name in weights if name.startswith("backbone.blocks.")}
    hidden = size(weights, "backbone.blocks.0.mlp.0.weight", 0)
    sizes = {"width": width, "depth": len(blocks), "heads": width // HEAD, "hidden": hidden, **more}
    parameters = inspect.signature(BACKBONES.get(name)).parameters
    return {"name": name, **{key: value for key, value in sizes.items() if value != parameters[key].default}}


def size(weights: Weights, name: str, axis: int) -> int:
    """Return the length of an axis of a tensor.

    Raises:
        ContractError: The tensor or the axis is missing.
    """
    if name not in weights or weights[name].ndim < abs(axis) or weights[name].ndim <= axis:
        raise ContractError(
            f"the file has no weights for {name}, which give the network's sizes",
            "the file is incomplete or of another network: download it again",
        )
    return int(weights[name].shape[axis])


_LAYER = r"encoder\.layers\.(\d+)\."


#: transformers' names in `CLIPVisionModel`, below `vision_model` -> ours. The order in a layer is k, v, q,
#: out, so that only names can be used, not positions.
CLIP_RULES = (
    Rule(r"embeddings\.class_embedding", "cls"),
    Rule(r"embeddings\.position_embedding\.weight", "position"),
    Rule(r"embeddings\.patch_embedding\.weight", "stem.weight"),
    # The library's misspelling, and so every file's.
    Rule(r"pre_layrnorm\.(weight|bias)", r"ln_pre.\1"),
    Rule(r"post_layernorm\.(weight|bias)", r"ln_post.\1"),
    Rule(_LAYER + r"layer_norm([12])\.(weight|bias)", r"blocks.\1.ln_\2.\3"),
    Rule(_LAYER + r"self_attn\.([qkv])_proj\.(weight|bias)", r"blocks.\1.attention.\2.\3"),
    # Fused, as in torch's own attention.
    Rule(
        _LAYER + r"self_attn\.in_proj_(weight|bias)", *(rf"blocks.\1.attention.{name}.\2" for name in "qkv")
    ),
    Rule(_LAYER + r"self_attn\.out_proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    Rule(_LAYER + r"mlp\.fc1\.(weight|bias)", r"blocks.\1.mlp.0.\2"),
    Rule(_LAYER + r"mlp\.fc2\.(weight|bias)", r"blocks.\1.mlp.2.\2"),
)


# Version 5 of transformers puts `model.` before a layer.
_BLOCK = r"(?:model\.)?layer\.(\d+)\."


#: transformers' names in `DINOv3ViTModel` -> ours.
DINOV3_RULES = (
    Rule(r"embeddings\.cls_token", "cls"),
    Rule(r"embeddings\.register_tokens", "registers"),
    # Only used in pretraining.
    Rule(r"embeddings\.mask_token"),
    Rule(r"embeddings\.patch_embeddings\.(weight|bias)", r"stem.\1"),
    Rule(r"norm\.(weight|bias)", r"ln_post.\1"),
    Rule(_BLOCK + r"norm([12])\.(weight|bias)", r"blocks.\1.ln_\2.\3"),
    Rule(_BLOCK + r"attention\.([qkv])_proj\.(weight|bias)", r"blocks.\1.attention.\2.\3"),
    Rule(_BLOCK + r"attention\.o_proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    Rule(_BLOCK + r"layer_scale([12])\.lambda1", r"blocks.\1.scale_\2"),
    Rule(_BLOCK + r"mlp\.up_proj\.(weight|bias)", r"blocks.\1.mlp.0.\2"),
    Rule(_BLOCK + r"mlp\.down_proj\.(weight|bias)", r"blocks.\1.mlp.2.\2"),
)
