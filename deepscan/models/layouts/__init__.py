"""Layouts: whose names a file of weights has; one file a publisher, each a table of rules."""

from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.models.layouts.layout import Recognised

_GEND = "deepscan.models.layouts.gend"
#: Name of a layout -> its class. A file is of the first that recognises it; one of no `WeightLayout`
#: is refused.
WEIGHT_LAYOUTS: "Registry[type[Recognised]]" = Registry(
    "layout",
    {
        **dict.fromkeys(("gend", "gend-dinov3", "gend-pe", "gend-predecessor"), _GEND),
        "effort": "deepscan.models.layouts.effort",
        "dfd-hr": "deepscan.models.layouts.dfd_hr",
        "unifd": "deepscan.models.layouts.unifd",
        "forensics-adapter": "deepscan.models.layouts.forensics_adapter",
    },
)
