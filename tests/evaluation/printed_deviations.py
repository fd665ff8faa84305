"""Printed means and changes that do not match the other printed numbers of their table."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import yaml

from deepscan.evaluation.papers.table import PaperTable, number, unit
from deepscan.evaluation.tables import load_tables

LISTED = Path(__file__).with_name("printed_deviations.yaml")


@dataclass(frozen=True, slots=True)
class Deviation:
    """A printed mean or change, with the value computed from the other printed numbers.

    Attributes:
        table: Name of the table.
        row: Name of the row as printed.
        column: Name of the column as printed.
        kind: `mean` of the row, or `change` from another row.
        sum: Sum of the row's printed numbers, or the difference for a change.
        count: Number of terms; 1 for a change.
        printed: The printed mean or change.
    """

    table: str
    row: str
    column: str
    kind: str
    sum: Decimal
    count: int
    printed: str

    @property
    def computed(self) -> Fraction:
        """The arithmetic mean, or the change."""
        return Fraction(self.sum) / self.count

    @property
    def difference(self) -> float:
        """Printed minus computed value."""
        return float(Fraction(number(self.printed)) - self.computed)

    @property
    def deviates(self) -> bool:
        """Whether they differ by more than half a unit of the last printed digit."""
        return abs(Fraction(number(self.printed)) - self.computed) > Fraction(unit(self.printed)) / 2


@dataclass(frozen=True, slots=True)
class KnownDeviation:
    """An entry of `LISTED`: the fields of `Deviation`, the rounded `computed` value, and the reason `why`."""

    table: str
    row: str
    column: str
    kind: str
    sum: str
    count: str
    printed: str
    computed: str
    why: str


def known_deviations() -> list[KnownDeviation]:
    # BaseLoader keeps values as text: as a number, 0.980 would lose its last digit.
    entries = yaml.load(LISTED.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return [KnownDeviation(**entry) for entry in entries]


def deviations() -> list[Deviation]:
    """Return every printed mean and change of all tables."""
    return [found for table in load_tables().values() for found in (*_means(table), *_changes(table))]


def _means(table: PaperTable) -> Iterator[Deviation]:
    for row in table.rows if table.mean else ():
        if printed := table.cell(row.name, table.mean).printed:
            shown = [table.cell(row.name, column).number for column in table.over]
            terms = [term for term in shown if term is not None]
            total = sum(terms, Decimal(0))
            yield Deviation(table.name, row.name, table.mean, "mean", total, len(terms), printed)


def _changes(table: PaperTable) -> Iterator[Deviation]:
    for row in table.rows if table.asides == "change" else ():
        for column, cell in zip(table.columns, row.cells, strict=True):
            base = table.cell(table.against, column).number
            if cell.number is not None and base is not None:
                change = cell.number - base
                yield Deviation(table.name, row.name, column, "change", change, 1, cell.aside)
