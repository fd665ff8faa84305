"""Looks into models, one file each: why a detector judges as it does, and what its training did."""

from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.evaluation.analyses.analysis import Analysis

_HERE = "deepscan.evaluation.analyses"
#: Name -> what looks.
ANALYSES: "Registry[type[Analysis]]" = Registry(
    "analysis",
    {
        name: f"{_HERE}.{name}"
        for name in ("attention", "collapse", "landscape", "stability", "routing", "weights", "cost")
    },
)
