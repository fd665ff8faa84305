"""Tables of papers: rows of numbers, with every digit kept."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

from deepscan.errors import UsageError

PAPERS = ("qtfp", "dfd-hr", "corit")
#: Functions of `deepscan.metrics.binary` -> common names of the metrics.
METRIC_LABELS = {"auc": "AUC", "average_precision": "AP", "accuracy": "accuracy"}
Asides = Literal["", "change", "rank"]
_NUMBER = re.compile(r"(?P<plain>[+-]?[\d,]*\.?\d+)(?P<million>M?)|(?P<minutes>\d+)min(?P<seconds>\d+)s")


def number(printed: str) -> Decimal:
    """Parse a printed number: `0.980`, `+1.2`, `21,224`, `0.19M`, `8min32s` (in seconds).

    Raises:
        ValueError: The text has another format.
    """
    if not (found := _NUMBER.fullmatch(printed)):
        raise ValueError(f"{printed!r} is not a number")
    if found["minutes"]:
        return Decimal(60 * int(found["minutes"]) + int(found["seconds"]))
    return Decimal(found["plain"].replace(",", "")) * (10**6 if found["million"] else 1)


def unit(printed: str) -> Decimal:
    """Return the value of the last digit of a plain number."""
    return Decimal(1).scaleb(-len(printed.partition(".")[2]))


@dataclass(frozen=True, slots=True)
class PrintedCell:
    """One cell of a table.

    Attributes:
        printed: The number as printed, with every digit; empty if there is none.
        aside: The small number printed next to it; empty if there is none.
    """

    printed: str
    aside: str = ""

    def __post_init__(self) -> None:
        for text in filter(None, (self.printed, self.aside)):
            number(text)

    @property
    def number(self) -> Decimal | None:
        """The parsed number; None for an empty cell."""
        return number(self.printed) if self.printed else None

    def __str__(self) -> str:
        return (self.printed or "-") + (f" ({self.aside})" if self.aside else "")


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """One row of a table: its name as printed, without citations, and a cell for each column."""

    name: str
    cells: tuple[PrintedCell, ...]


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table of a paper, or numbers from its text in the form of a table.

    Attributes:
        name: The argument of `deepscan tables`: `qtfp-cross-dataset`.
        paper: One of `PAPERS`.
        number: Number of the table in the paper, or another source of its numbers.
        title: Description of the table, not quoted.
        metric: A key of `METRIC_LABELS`, or a description of other numbers.
        heading: Heading of the row names.
        columns: Names of the columns as printed.
        rows: The rows; empty only if all numbers are lost.
        level: `video` or `frame`; empty if not applicable.
        scale: Printed form of a value of 1, either 1 or 100; None if the numbers are not fractions.
        mean: Column with the mean of all others; empty if there is none.
        mean_over: Data sets of the printed mean, if these are more than the columns.
        datasets: Columns of data sets -> names in benchmark files.
        methods: Registered methods -> row of their result, in a table of results.
        asides: Meaning of the small numbers: `change` from the row `against`, or `rank` within the row.
        against: See `asides`.
        lost: Numbers that are missing from the sources.
        notes: Remarks for readers.
    """

    name: str
    paper: str
    number: str
    title: str
    metric: str
    heading: str
    columns: tuple[str, ...]
    rows: tuple[PrintedRow, ...]
    level: str = ""
    scale: int | None = None
    mean: str = ""
    mean_over: tuple[str, ...] = ()
    datasets: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)
    asides: Asides = ""
    against: str = ""
    lost: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        faults = {
            f"paper {self.paper!r}": self.paper not in PAPERS,
            f"level {self.level!r}": self.level not in ("", "video", "frame"),
            f"scale {self.scale}": self.scale not in (None, 1, 100),
            f"asides {self.asides!r}": self.asides not in get_args(Asides),
            "a metric of detectors needs a level and a scale": self.metric in METRIC_LABELS
            and not (self.level and self.scale),
            "two rows have the same name": len(set(names)) < len(names),
            "two columns have the same name": len(set(self.columns)) < len(self.columns),
            "no rows and no explanation in `lost`": not self.rows and not self.lost,
            f"mean {self.mean!r}": self.mean not in ("", *self.columns),
            f"against {self.against!r}": (self.asides == "change") != (self.against in names),
            "a data set is not a column": not set(self.datasets) <= set(self.columns),
            "a method's result has another metric": bool(self.methods) and self.metric not in METRIC_LABELS,
            "the row of a method is missing": not set(self.methods.values()) <= set(names),
        }
        faults |= {f"row {r.name!r}": not r.name or len(r.cells) != len(self.columns) for r in self.rows}
        for fault, present in faults.items():
            if present:
                raise ValueError(f"table {self.name}: {fault}")

    @property
    def over(self) -> tuple[str, ...]:
        """The columns that the printed mean averages."""
        return tuple(column for column in self.columns if column != self.mean) if self.mean else ()

    def row(self, name: str) -> PrintedRow:
        """Return a row by name.

        Raises:
            UsageError: The row is unknown.
        """
        rows = {row.name: row for row in self.rows}
        return rows[chosen(f"row of table {self.name}", name, rows)]

    def cell(self, row: str, column: str) -> PrintedCell:
        """Return the cell of a row and a column.

        Raises:
            UsageError: The row or the column is unknown.
        """
        chosen(f"column of table {self.name}", column, self.columns)
        return self.row(row).cells[self.columns.index(column)]


def chosen(kind: str, name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Check that a name is known, and return it.

    Args:
        kind: Kind of the name, for the message.
        name: The name.
        names: The known names.
        otherwise: Hint if no known name is similar; if empty, all names are listed.

    Raises:
        UsageError: The name is unknown.
    """
    names = tuple(names)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else otherwise or f"choose from: {', '.join(names)}"
        raise UsageError(f"unknown {kind} {name!r}", hint)
    return name
