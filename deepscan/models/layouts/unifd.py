"""UniFD (CVPR 2023): a linear head of one logit on OpenAI's CLIP, which lies elsewhere."""

from collections.abc import Mapping
from typing import Any

import torch

from deepscan.backbones import clip
from deepscan.backbones.weight_rules import Rule
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import WeightLayout, Weights, clip_arguments, within


@WEIGHT_LAYOUTS.register("unifd")
class UniFDLayout(WeightLayout):
    """The head alone, with a backbone as open_clip names it; or a file of its trainer, which holds both."""

    method = like = "unifd"
    backbone = "clip-vit-l14"
    rules = (
        *within(clip.RULES, r"(?:model\.)?visual\."),
        Rule(r"(?:fc\.)?(weight|bias)", r"head.0.\1"),
        # The half of CLIP that reads words.
        Rule(r"(?:model\.)?(?:transformer\..*|token_embedding\.weight|ln_final\..*|positional_embedding)"),
        Rule(r"(?:model\.)?(?:text_projection|logit_scale|input_resolution|context_length|vocab_size)"),
    )

    def recognises(self, weights: Weights) -> bool:
        """Return whether there is a head of one logit, alone or beside OpenAI's CLIP."""
        if set(weights) == {"weight", "bias"}:
            return weights["weight"].ndim == 2 and len(weights["weight"]) == len(weights["bias"]) == 1
        return "fc.weight" in weights and "model.visual.class_embedding" in weights

    def worked_out(self, weights: Weights) -> Weights:
        """Return the weights with a logit of real, always 0: softmax is the sigmoid of the other then."""
        heads = {name for name in weights if name.removeprefix("fc.") in ("weight", "bias")}
        return {
            name: torch.cat((torch.zeros_like(value), value)) if name in heads else value
            for name, value in weights.items()
        }

    def network(self, weights: Weights, stated: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the backbone and the feature, the projected CLS token as it is."""
        return {"backbone": clip_arguments(weights, projected=True), "feature": "projected"}, ()
