"""Forensics Adapter (CVPR 2025): recognised, and refused."""

from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import Recognised, Weights


@WEIGHT_LAYOUTS.register("forensics-adapter")
class ForensicsAdapter(Recognised):
    """Its files lack a part that its code draws anew in every pass: there are no scores to be equal to."""

    like = "forensics-adapter"

    def recognises(self, weights: Weights) -> bool:
        """Return whether there is what comes after CLIP in its network."""
        return any(name.startswith("clip_post_process.") for name in weights)
