"""GenD (WACV 2026) on its three backbones, and its predecessor."""

import math
from collections.abc import Mapping
from typing import Any

from deepscan.backbones.timm import RULES as TIMM_RULES
from deepscan.backbones.weight_rules import Rule
from deepscan.errors import ContractError
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import (
    CLIP_RULES,
    DINOV3_RULES,
    WeightLayout,
    Weights,
    backbone_arguments,
    clip_arguments,
    within,
)

_HEAD = Rule(r"model\.linear\.(weight|bias)", r"head.0.\1")
_VISION, _BACKBONE = r"feature_extractor\.vision_model\.", r"feature_extractor\.backbone\."
_TUNED = r"feature_extractor\.base_model\.model\.vision_model\."
#: The publisher's name of a head -> whether its input is scaled to length 1.
HEADS = {"LinearNorm": True, "linear": False}
#: Patches along a side of the publisher's 224 px crops for PE Core.
_PE_GRID = 16


def _normalises(config: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Return whether the head's input is scaled to length 1, and assumptions made.

    Raises:
        ContractError: The head is unknown.
    """
    head = config.get("head")
    if head is None:
        return True, (
            "head: LinearNorm, as published; neither the file nor a config.json next to it says so",
        )
    if not isinstance(head, str) or head not in HEADS:
        raise ContractError(
            f"the file's head {head!r} is not supported",
            f"supported are {', '.join(HEADS)}: report it, with the file's origin",
        )
    return HEADS[head], ()


@WEIGHT_LAYOUTS.register("gend")
class GenDLayout(WeightLayout):
    """GenD on CLIP's backbones, as named by transformers."""

    method = reference = "gend"
    mark = r"feature_extractor\.vision_model\.embeddings\.class_embedding"
    config = "config.json"
    rules = (
        *within(CLIP_RULES, _VISION),
        _HEAD,
        # Saved with the backbone but not used: the head reads the token before the projection.
        Rule(r"feature_extractor\.visual_projection\.weight"),
    )

    def network(self, weights: Weights, config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the backbone, the feature, and whether it is normalised."""
        normalise, assumed = _normalises(config)
        return {"backbone": self._backbone(weights), "feature": "cls", "normalise": normalise}, assumed

    def _backbone(self, weights: Weights) -> dict[str, Any]:
        return clip_arguments(weights, projected=False)


@WEIGHT_LAYOUTS.register("gend-predecessor")
class Predecessor(GenDLayout):
    """GenD's predecessor, a Lightning file with peft's LN-tuning, which has each norm twice."""

    reference = "gend-predecessor"
    mark = _TUNED + ".*"
    rules = (
        # The untuned norms are not used.
        Rule(_TUNED + r".*\.base_layer\.(?:weight|bias)"),
        *(
            Rule(rf"{_TUNED}{theirs}\.ln_tuning_layers\.default\.(weight|bias)", rf"backbone.{ours}")
            for theirs, ours in (
                (r"pre_layrnorm", r"ln_pre.\1"),
                (r"post_layernorm", r"ln_post.\1"),
                (r"encoder\.layers\.(\d+)\.layer_norm([12])", r"blocks.\1.ln_\2.\3"),
            )
        ),
        *within(CLIP_RULES, _TUNED),
        _HEAD,
    )


@WEIGHT_LAYOUTS.register("gend-dinov3")
class GenDOnDinov3(GenDLayout):
    """GenD on DINOv3's ViT-L/16, as named by transformers."""

    reference = "gend-dinov3"
    mark = r"feature_extractor\.backbone\.embeddings\.register_tokens"
    rules = (*within(DINOV3_RULES, _BACKBONE), _HEAD)

    def _backbone(self, weights: Weights) -> dict[str, Any]:
        biases = "".join(name for name in "qkv" if f"backbone.blocks.0.attention.{name}.bias" in weights)
        return backbone_arguments(weights, "dinov3-vit-l16", biases=biases)


@WEIGHT_LAYOUTS.register("gend-pe")
class GenDOnPe(GenDLayout):
    """GenD on PE Core's ViT-L/14, as named by timm."""

    reference = "gend-pe"
    mark = r"feature_extractor\.backbone\.attn_pool\..*"
    rules = (*within(TIMM_RULES, _BACKBONE), _HEAD)

    def convert(self, weights: Weights) -> Weights:
        """Return the weights with positions resized to the publisher's grid, as its code does."""
        from timm.layers.pos_embed import resample_abs_pos_embed

        name = "feature_extractor.backbone.pos_embed"
        count = weights[name].shape[1] - 1 if name in weights and weights[name].ndim == 3 else 0
        if count < 1 or math.isqrt(count) ** 2 != count:
            return weights
        return {**weights, name: resample_abs_pos_embed(weights[name].float(), new_size=[_PE_GRID, _PE_GRID])}

    def _backbone(self, weights: Weights) -> dict[str, Any]:
        # Its feature is the pooled token.
        return backbone_arguments(weights, "pe-core-vit-l14")
