"""What every layout says of its files: how they are recognised, their names, the network that they fill."""

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
#: Side of a patch -> the backbone of CLIP's that has it.
CLIP = {14: "clip-vit-l14", 16: "clip-vit-b16"}
#: Width of a head in every backbone here; a file does not say it.
HEAD = 64
#: `position_ids` are 0, 1, 2, ...: older versions of transformers have saved them, newer ones do not.
SPARE = r".*embeddings\.position_ids"


class Recognised(ABC):
    """How the files of a publisher are recognised; used alone, for files that are refused.

    Attributes:
        like: The known model that files of this kind are like.
        mark: Pattern of a name that is in every file of this publisher's and in no other's; a publisher whose
            names tell too little overrides `recognises`.
        backbone: Backbone whose published weights a file of a head alone needs; empty for none.
    """

    like: ClassVar[str]
    mark: ClassVar[str]
    backbone: ClassVar[str] = ""

    def recognises(self, weights: Weights) -> bool:
        """Return whether weights are named, and where names are few shaped, as this publisher's are."""
        return any(re.fullmatch(self.mark, name) for name in weights)


class WeightLayout(Recognised):
    """How a publisher names the weights of a detector; another file of it takes the preprocessing of `like`.

    Attributes:
        method: The detector that they are for.
        rules: Its names -> our network's.
        spare: Pattern of names that a file may have or not, and that nothing needs.
        config: Name of what lies beside a file and says how it is to be read; empty where nothing does.
    """

    method: ClassVar[str]
    rules: ClassVar[Sequence[Rule]]
    spare: ClassVar[str] = SPARE
    config: ClassVar[str] = ""

    def needed(self, weights: Weights) -> dict[str, Tensor]:
        """Return the weights without the spare ones."""
        spare = re.compile(self.spare)
        return {name: value for name, value in weights.items() if not spare.fullmatch(name)}

    def worked_out(self, weights: Weights) -> Weights:
        """Return the weights after the arithmetic that no rule of names can say.

        Raises:
            ContractError: Some that belong together are not all there.
        """
        return weights

    @abstractmethod
    def network(self, weights: Weights, stated: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return what a card states under `network`, as far as the file says it, and what was assumed.

        Args:
            weights: By our names.
            stated: What the file, or one beside it, states of itself.

        Raises:
            ContractError: What tells the sizes is not there, or there is no such backbone.
        """


def within(rules: Sequence[Rule], theirs: str, ours: str = "backbone.") -> tuple[Rule, ...]:
    """Return the rules of a backbone for a network that holds it: see `Rule.within`."""
    return tuple(rule.within(theirs, ours) for rule in rules)


def clip_arguments(weights: Weights, *, projected: bool) -> dict[str, Any]:
    """Return what `network.backbone` states of a backbone of CLIP's with these weights, by our names.

    Args:
        weights: By our names.
        projected: Whether the network uses the backbone's projection.

    Raises:
        ContractError: What tells the sizes is not there, or there is no such backbone.
    """
    patch = size(weights, "backbone.stem.weight", -1)
    positions = size(weights, "backbone.position", -2)
    grid = math.isqrt(max(positions - 1, 0))
    if grid < 1 or grid**2 != positions - 1:
        raise ContractError(
            f"the file's backbone has {positions} positions, not one more than a square number",
            "the file is incomplete, or of another network: fetch it again",
        )
    if patch not in CLIP:
        raise ContractError(
            f"the file's backbone has patches of {patch} px",
            f"CLIP's backbones here have {', '.join(map(str, CLIP))}",
        )
    projection = size(weights, "backbone.projection.weight", 0) if projected else 0
    return backbone_arguments(weights, CLIP[patch], side=grid * patch, projection=projection)


def backbone_arguments(weights: Weights, name: str, **more: Any) -> dict[str, Any]:
    """Return what `network.backbone` states of a backbone: its name, and each size that is not its own.

    Args:
        weights: By our names.
        name: Of the backbone.
        more: Other arguments of its builder.

    Raises:
        ContractError: What tells the sizes is not there.
    """
    width = size(weights, "backbone.cls", -1)
    if width < 1 or width % HEAD:
        raise ContractError(
            f"the file's backbone is {width} wide, not a multiple of {HEAD}, the width of a head",
            "import a file of another backbone",
        )
    blocks = {name.split(".")[2] for name in weights if name.startswith("backbone.blocks.")}
    hidden = size(weights, "backbone.blocks.0.mlp.0.weight", 0)
    given = {"width": width, "depth": len(blocks), "heads": width // HEAD, "hidden": hidden, **more}
    own = inspect.signature(BACKBONES.get(name)).parameters
    return {"name": name, **{key: value for key, value in given.items() if value != own[key].default}}


def size(weights: Weights, name: str, axis: int) -> int:
    """Return the length of an axis of a tensor.

    Raises:
        ContractError: There is no such tensor, or axis.
    """
    if name not in weights or weights[name].ndim < abs(axis) or weights[name].ndim <= axis:
        raise ContractError(
            f"the file has no weights for {name}, which gives its sizes",
            "the file is incomplete, or of another network: fetch it again",
        )
    return int(weights[name].shape[axis])


_LAYER = r"encoder\.layers\.(\d+)\."


#: Names in its `CLIPVisionModel`, below `vision_model`, -> ours. Inside a layer they are stored as k, v, q,
#: out: what counts is the name, never the place.
CLIP_RULES = (
    Rule(r"embeddings\.class_embedding", "cls"),
    Rule(r"embeddings\.position_embedding\.weight", "position"),
    Rule(r"embeddings\.patch_embedding\.weight", "stem.weight"),
    # Spelt so in the library, and so in every file.
    Rule(r"pre_layrnorm\.(weight|bias)", r"ln_pre.\1"),
    Rule(r"post_layernorm\.(weight|bias)", r"ln_post.\1"),
    Rule(_LAYER + r"layer_norm([12])\.(weight|bias)", r"blocks.\1.ln_\2.\3"),
    Rule(_LAYER + r"self_attn\.([qkv])_proj\.(weight|bias)", r"blocks.\1.attention.\2.\3"),
    # As torch's own attention fuses them.
    Rule(
        _LAYER + r"self_attn\.in_proj_(weight|bias)", *(rf"blocks.\1.attention.{name}.\2" for name in "qkv")
    ),
    Rule(_LAYER + r"self_attn\.out_proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    Rule(_LAYER + r"mlp\.fc1\.(weight|bias)", r"blocks.\1.mlp.0.\2"),
    Rule(_LAYER + r"mlp\.fc2\.(weight|bias)", r"blocks.\1.mlp.2.\2"),
)


# Version 5 puts `model.` before a layer.
_BLOCK = r"(?:model\.)?layer\.(\d+)\."


#: Names in its `DINOv3ViTModel` -> ours.
DINOV3_RULES = (
    Rule(r"embeddings\.cls_token", "cls"),
    Rule(r"embeddings\.register_tokens", "registers"),
    # What stood for a hidden patch in training.
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
