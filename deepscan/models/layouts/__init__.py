"""Layouts of published weights: one module per publisher, each with a table of rules."""

from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.models.layouts.layout import Layout

_GEND = "deepscan.models.layouts.gend"
#: Name of a layout -> its class. The first that recognises a file is used; files of a class that is not a
#: `WeightLayout` are refused.
WEIGHT_LAYOUTS: "Registry[type[Layout]]" = Registry(
    "layout",
    {
        **dict.fromkeys(("gend", "gend-dinov3", "gend-pe", "gend-predecessor"), _GEND),
        "effort": "deepscan.models.layouts.effort",
        "dfd-hr": "deepscan.models.layouts.dfd_hr",
        "unifd": "deepscan.models.layouts.unifd",
        "forensics-adapter": "deepscan.models.layouts.forensics_adapter",
    },
)
