"""UniFD (CVPR 2023): a linear head with one logit on OpenAI's CLIP, which is in another file."""

from collections.abc import Mapping
from typing import Any

import torch

from deepscan.backbones import clip
from deepscan.backbones.weight_rules import Rule
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import WeightLayout, Weights, clip_arguments, within


@WEIGHT_LAYOUTS.register("unifd")
class UniFDLayout(WeightLayout):
    """A file with only the head, for a backbone as named by open_clip; or a file of its trainer with both."""

    method = reference = "unifd"
    backbone = "clip-vit-l14"
    rules = (
        *within(clip.RULES, r"(?:model\.)?visual\."),
        Rule(r"(?:fc\.)?(weight|bias)", r"head.0.\1"),
        # CLIP's text encoder.
        Rule(r"(?:model\.)?(?:transformer\..*|token_embedding\.weight|ln_final\..*|positional_embedding)"),
        Rule(r"(?:model\.)?(?:text_projection|logit_scale|input_resolution|context_length|vocab_size)"),
    )

    def recognises(self, weights: Weights) -> bool:
        """Return whether the weights are a head with one logit, with or without OpenAI's CLIP."""
        if set(weights) == {"weight", "bias"}:
            return weights["weight"].ndim == 2 and len(weights["weight"]) == len(weights["bias"]) == 1
        return "fc.weight" in weights and "model.visual.class_embedding" in weights

    def convert(self, weights: Weights) -> Weights:
        """Return the weights with a constant logit of 0 for real, so that softmax equals the sigmoid."""
        heads = {name for name in weights if name.removeprefix("fc.") in ("weight", "bias")}
        return {
            name: torch.cat((torch.zeros_like(value), value)) if name in heads else value
            for name, value in weights.items()
        }

    def network(self, weights: Weights, config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the backbone and the feature: the projected CLS token."""
        return {"backbone": clip_arguments(weights, projected=True), "feature": "projected"}, ()
