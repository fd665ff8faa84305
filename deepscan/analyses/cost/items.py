"""The items of a cost, and how they are written."""

from dataclasses import dataclass

from deepscan.analyses.analysis import Cell

MEGABYTE = 2**20
#: What the papers' figures are of.
BACKBONE = "CLIP ViT-L/14"


@dataclass(frozen=True, slots=True)
class CostItem:
    """A figure of the table.

    Attributes:
        measure: What is counted.
        of: Of what, or how.
        value: How much.
        unit: Of the value.
        paper: The paper's figure, in the same unit, None where it prints none.
        source: Where that stands.
    """

    measure: str
    of: str
    value: float
    unit: str
    paper: float | None = None
    source: str = ""

    def row(self) -> dict[str, Cell]:
        """Return it as a row of the table."""
        return {
            "measure": self.measure,
            "of": self.of,
            "value": self.value,
            "unit": self.unit,
            "paper": "" if self.paper is None else self.paper,
            "source": self.source,
        }


def format_cost(value: float, item: CostItem) -> str:
    """Return a value as people read it."""
    if item.unit == "MB":
        return f"{value:,.0f} MB"
    if item.unit != "s":
        return f"{value:,.0f}" if item.measure == "parameters" else f"{value:.4g}"
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"
