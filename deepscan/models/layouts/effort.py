"""Effort (ICML 2025): CLIP as named by transformers, with each attention matrix in two parts."""

from collections.abc import Mapping
from typing import Any

import torch

from deepscan.backbones.weight_rules import Rule
from deepscan.errors import ContractError
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import CLIP_RULES, SPARE, WeightLayout, Weights, clip_arguments, within

_PARTS = ("S_residual", "U_residual", "V_residual")


@WEIGHT_LAYOUTS.register("effort")
class EffortLayout(WeightLayout):
    """W = weight_main + U_residual diag(S_residual) V_residual, of any rank; V's rows are the vectors."""

    method = "effort"
    reference = "effort-ff"
    mark = r".*\.weight_main"
    rules = (*within(CLIP_RULES, r"backbone\."), Rule(r"head\.(weight|bias)", r"head.0.\1"))
    # Singular vectors of the main part, which later versions of the code store for their training loss.
    spare = rf"{SPARE}|.*\.[SUV]_r"

    def convert(self, weights: Weights) -> Weights:
        """Return the weights with the parts of each matrix summed in float32."""
        folded = dict(weights)
        for name in [name for name in weights if name.endswith(".weight_main")]:
            stem = name.removesuffix("weight_main")
            if missing := [stem + part for part in _PARTS if stem + part not in weights]:
                raise ContractError(
                    f"the file lacks {', '.join(missing)}", "download the file again: it is incomplete"
                )
            s, u, v = (folded.pop(stem + part).float() for part in _PARTS)
            main = folded.pop(name).float()
            if main.shape != (*u.shape[:1], *v.shape[1:]) or u.shape[1:] != s.shape or v.shape[:1] != s.shape:
                raise ContractError(
                    f"the parts of {stem}weight do not match: U {tuple(u.shape)}, V {tuple(v.shape)}",
                    "the file is from an unsupported version of Effort's code: report it",
                )
            folded[f"{stem}weight"] = torch.addmm(main, u * s, v)
        return folded

    def network(self, weights: Weights, config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the backbone and the feature: the CLS token before the projection."""
        return {"backbone": clip_arguments(weights, projected=False), "feature": "cls"}, ()
