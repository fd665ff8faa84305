"""Forensics Adapter (CVPR 2025): recognised, but refused."""

from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import Layout


@WEIGHT_LAYOUTS.register("forensics-adapter")
class ForensicsAdapter(Layout):
    """Its files lack a part that its code initialises at random in every pass, so scores are not defined."""

    reference = "forensics-adapter"
    mark = r"clip_post_process\..*"
