"""Rows of the table of costs, and their formatting."""

from dataclasses import asdict, dataclass

from deepscan.analyses.analysis import Cell

MEGABYTE = 2**20
#: The backbone of the papers' numbers.
BACKBONE = "CLIP ViT-L/14"


@dataclass(frozen=True, slots=True)
class CostItem:
    """A row of the table of costs.

    Attributes:
        measure: The measured quantity.
        of: The part, or the method of measurement.
        value: The value.
        unit: Unit of the value.
        paper: The printed value, in the same unit; None if there is none.
        source: Paper and table of the printed value.
    """

    measure: str
    of: str
    value: float
    unit: str
    paper: float | None = None
    source: str = ""

    def row(self) -> dict[str, Cell]:
        """Return the row of the table."""
        return {**asdict(self), "paper": "" if self.paper is None else self.paper}


def format_cost(value: float, item: CostItem) -> str:
    """Format a value with its unit."""
    if item.unit == "MB":
        return f"{value:,.0f} MB"
    if item.unit != "s":
        return f"{value:,.0f}" if item.measure == "parameters" else f"{value:.4g}"
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"
