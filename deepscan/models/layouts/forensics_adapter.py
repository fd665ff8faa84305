"""Forensics Adapter (CVPR 2025): recognised, and refused."""

from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import Recognised


@WEIGHT_LAYOUTS.register("forensics-adapter")
class ForensicsAdapter(Recognised):
    """Its files lack a part that its code draws at random in every pass: there are no scores to match."""

    like = "forensics-adapter"
    mark = r"clip_post_process\..*"
