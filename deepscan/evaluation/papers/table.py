"""What a printed table is: rows of figures, every digit kept."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

from deepscan.errors import UsageError

PAPERS = ("qtfp", "dfd-hr", "corit")
#: Metrics that `deepscan.metrics.binary` has, by its functions' names -> as people write them.
METRIC_LABELS = {"auc": "AUC", "average_precision": "AP", "accuracy": "accuracy"}
Asides = Literal["", "change", "rank"]
_NUMBER = re.compile(r"(?P<plain>[+-]?[\d,]*\.?\d+)(?P<million>M?)|(?P<minutes>\d+)min(?P<seconds>\d+)s")


def number(printed: str) -> Decimal:
    """Return what a printed number is: `0.980`, `+1.2`, `21,224`, `0.19M`, `8min32s` (in seconds).

    Raises:
        ValueError: It is none of these.
    """
    if not (found := _NUMBER.fullmatch(printed)):
        raise ValueError(f"{printed!r} is not a number")
    if found["minutes"]:
        return Decimal(60 * int(found["minutes"]) + int(found["seconds"]))
    return Decimal(found["plain"].replace(",", "")) * (10**6 if found["million"] else 1)


def unit(printed: str) -> Decimal:
    """Return what the last digit of a plain number is worth."""
    return Decimal(1).scaleb(-len(printed.partition(".")[2]))


@dataclass(frozen=True, slots=True)
class PrintedCell:
    """One figure of a table.

    Attributes:
        printed: As printed, every digit kept; empty where none is given.
        aside: The small figure that is printed beside it, empty where there is none.
    """

    printed: str
    aside: str = ""

    def __post_init__(self) -> None:
        for text in filter(None, (self.printed, self.aside)):
            number(text)

    @property
    def number(self) -> Decimal | None:
        """What it says, None where nothing is given."""
        return number(self.printed) if self.printed else None

    def __str__(self) -> str:
        return (self.printed or "-") + (f" ({self.aside})" if self.aside else "")


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """One row of a table: its name as printed, without marks of citation, and a cell for each column."""

    name: str
    cells: tuple[PrintedCell, ...]


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table of a paper, or figures of its text that stand for one.

    Attributes:
        name: What `deepscan tables` takes: `qtfp-cross-dataset`.
        paper: One of `PAPERS`.
        number: Its number there, or where else its figures come from.
        title: What it shows, in our words.
        metric: A key of `METRIC_LABELS`, or in words what else its figures are.
        heading: Over the names of the rows.
        columns: As printed.
        rows: Empty only where all is lost.
        level: `video` or `frame`, empty where there is no such thing.
        scale: What a figure of 1 is printed as, 1 or 100; None where figures are no shares.
        mean: The column that is printed as the mean of all others, empty where there is none.
        mean_over: The data sets that the printed mean is of, where that is more than the columns show.
        datasets: Columns that are data sets -> their names in benchmark files.
        methods: Registered methods -> the row of their result, in a table of results.
        asides: What the small figures are: the `change` from the row `against`, the `rank` in the row.
        against: See `asides`.
        lost: Which of its figures the sources do not have.
        notes: What a reader should know.
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
            "a figure that measures a detector has a level and a scale": self.metric in METRIC_LABELS
            and not (self.level and self.scale),
            "two rows of one name": len(set(names)) < len(names),
            "two columns of one name": len(set(self.columns)) < len(self.columns),
            "no rows, and nothing that says why": not self.rows and not self.lost,
            f"mean {self.mean!r}": self.mean not in ("", *self.columns),
            f"against {self.against!r}": (self.asides == "change") != (self.against in names),
            "a data set that is no column": not set(self.datasets) <= set(self.columns),
            "a method's result that does not measure it": bool(self.methods)
            and self.metric not in METRIC_LABELS,
            "a method whose row is not there": not set(self.methods.values()) <= set(names),
        }
        faults |= {f"row {r.name!r}": not r.name or len(r.cells) != len(self.columns) for r in self.rows}
        for fault, there in faults.items():
            if there:
                raise ValueError(f"table {self.name}: {fault}")

    @property
    def over(self) -> tuple[str, ...]:
        """The columns that the printed mean is of."""
        return tuple(column for column in self.columns if column != self.mean) if self.mean else ()

    def row(self, name: str) -> PrintedRow:
        """Return a row by its name.

        Raises:
            UsageError: There is no such row.
        """
        rows = {row.name: row for row in self.rows}
        return rows[chosen(f"row of table {self.name}", name, rows)]

    def cell(self, row: str, column: str) -> PrintedCell:
        """Return the cell of a row and a column.

        Raises:
            UsageError: There is no such row or column.
        """
        chosen(f"column of table {self.name}", column, self.columns)
        return self.row(row).cells[self.columns.index(column)]


def chosen(kind: str, name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Return a name that is one of those that there are.

    Args:
        kind: What it names, for the message.
        name: The name.
        names: Those that there are.
        otherwise: The hint where none of them is near, all of them if empty.

    Raises:
        UsageError: It is none of them.
    """
    names = tuple(names)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else otherwise or f"choose from: {', '.join(names)}"
        raise UsageError(f"unknown {kind} {name!r}", hint)
    return name
