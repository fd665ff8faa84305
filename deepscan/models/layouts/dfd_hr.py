"""DFD-HR (CVPR 2026): CLIP as named by transformers, with adapters, judges, pooling of tiles and head."""

from collections.abc import Mapping
from typing import Any

from deepscan.backbones.weight_rules import Rule
from deepscan.detectors.dfd_hr_settings import Settings
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import CLIP_RULES, WeightLayout, Weights, clip_arguments, size, within


def _adapters(theirs: str, index: int) -> tuple[Rule, ...]:
    """Return the rules of the adapters after attention (0) or MLP (1), which stack separate experts."""
    before, ours = rf"adapters_{theirs}\.(\d+)\.", rf"branch.adapters.\1.{index}."
    return (
        Rule(before + r"gate\.(weight|bias)", ours + r"gate.\2"),
        Rule(before + r"experts\.(\d+)\.0\.(weight|bias)", ours + r"down.\3", part=2, joined=True),
        Rule(before + r"experts\.(\d+)\.2\.weight", ours + "up", part=2, transposed=True),
        Rule(before + r"experts\.(\d+)\.2\.bias", ours + "bias", part=2),
    )


@WEIGHT_LAYOUTS.register("dfd-hr")
class DfdHrLayout(WeightLayout):
    """Files of DFD-HR's released training code."""

    method = reference = "dfd-hr"
    mark = r"token_router\..*"
    rules = (
        *within(CLIP_RULES, r"backbone\."),
        Rule(r"visual_projection\.weight", "backbone.projection.weight"),
        Rule(r"query_token", "pooling.query"),
        Rule(r"query_attn\.(in_proj_weight|in_proj_bias|out_proj\.(?:weight|bias))", r"pooling.attention.\1"),
        *_adapters("attn", 0),
        *_adapters("mlp", 1),
        Rule(r"token_router\.(\d+)\.weight_predictor\.weight", r"branch.token_judges.\1.weight"),
        Rule(r"layer_router\.(\d+)\.fc1\.weight", r"branch.layer_judges.\1.first.weight"),
        Rule(r"layer_router\.(\d+)\.fc2\.weight", r"branch.layer_judges.\1.second.weight"),
        Rule(r"head\.(weight|bias)", r"head.\1"),
    )

    def network(self, weights: Weights, config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the backbone, the preset of the released code, and sizes that differ from the defaults."""
        adapter = "branch.adapters.0.0.up"
        sizes = {
            "experts": size(weights, adapter, 0),
            "hidden": size(weights, adapter, 1),
            "judge_hidden": size(weights, "branch.layer_judges.0.first.weight", 0),
        }
        defaults = Settings()
        differing = {name: value for name, value in sizes.items() if value != getattr(defaults, name)}
        backbone = clip_arguments(weights, projected=True)
        return {"backbone": backbone, "preset": "release", **differing}, ()
