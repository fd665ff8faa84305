"""The field's protocols: which test sets a figure is of, one file each."""

from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.evaluation.protocols.protocol import Protocol

_HERE = "deepscan.evaluation.protocols"
#: Name -> the protocol.
PROTOCOLS: "Registry[Protocol]" = Registry(
    "protocol",
    {
        "cross-dataset": f"{_HERE}.cross_dataset",
        "cross-manipulation": f"{_HERE}.cross_manipulation",
        "df40-ff": f"{_HERE}.df40",
        "df40-cdf": f"{_HERE}.df40",
        "universal": f"{_HERE}.universal",
        "robustness": f"{_HERE}.robustness",
        "in-domain": f"{_HERE}.in_domain",
    },
)
