"""The tables of the papers, and the printed result of a method on a data set."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from deepscan.evaluation.papers.table import PAPERS, PaperTable, PrintedCell, PrintedRow, chosen, number, unit

_CELL = re.compile(r"(?P<printed>[^()]+)(?:\((?P<aside>[^()]+)\))?")


@dataclass(frozen=True, slots=True)
class PrintedFigure:
    """A result of a method that a paper prints.

    Attributes:
        value: The result, in [0, 1].
        unit: Value of the last printed digit, on the scale of `value`.
        printed: The result as printed.
        table: Name of the table.
        paper: The paper that prints it, not always that of the method.
        number: Number of the table in the paper.
        row: Name of the row as printed.
        column: Name of the column as printed.
    """

    value: float
    unit: float
    printed: str
    table: str
    paper: str
    number: str
    row: str
    column: str


@cache
def load_tables() -> Mapping[str, PaperTable]:
    """Return all tables by name, grouped by paper, with the main results of each paper first."""
    tables: dict[str, PaperTable] = {}
    for paper in PAPERS:
        data = _read(f"{paper}.yaml")
        for name, entries in data["tables"].items():
            if name in tables:
                raise ValueError(f"two tables are named {name}")
            tables[name] = _table(name, entries, data)
    return tables


def paper_table(name: str) -> PaperTable:
    """Return a table by name.

    Raises:
        UsageError: The table is unknown.
    """
    return load_tables()[chosen("table", name, load_tables(), "deepscan tables lists all tables")]


def expected(
    method: str, dataset: str, level: str, metric: str = "auc", paper: str | None = None
) -> PrintedFigure | None:
    """Return a method's printed result on a data set, or None if no paper prints it.

    Args:
        method: Registered detector method, or a baseline of a paper.
        dataset: Name in benchmark files, or label of a manipulation of FaceForensics++ (`FF-NT`).
        level: `video` or `frame`.
        metric: A key of `METRICS`.
        paper: The paper to search; None for the first that has it.
    """
    for table, row in _results(method, level, metric, paper):
        for column, name in table.datasets.items():
            if name == dataset and (figure := _figure(table, row, column)):
                return figure
    return None


def expected_mean(
    method: str, datasets: Collection[str], level: str, metric: str = "auc", paper: str | None = None
) -> PrintedFigure | None:
    """Return a method's printed mean over exactly these data sets, or None if no paper prints it.

    Args:
        method: See `expected`.
        datasets: Names in benchmark files, in any order.
        level: See `expected`.
        metric: See `expected`.
        paper: See `expected`.
    """
    for table, row in _results(method, level, metric, paper):
        datasets_of_mean = table.mean_over or tuple(table.datasets.get(column, "") for column in table.over)
        if (
            datasets_of_mean
            and set(datasets_of_mean) == set(datasets)
            and (figure := _figure(table, row, table.mean))
        ):
            return figure
    return None


def _read(name: str) -> Any:
    text = (files("deepscan.evaluation.papers") / name).read_text(encoding="utf-8")
    # BaseLoader keeps values as text: as a number, 0.980 would lose its last digit.
    return yaml.load(text, Loader=yaml.BaseLoader)


def _table(name: str, entries: Mapping[str, Any], data: Mapping[str, Any]) -> PaperTable:
    columns = tuple(entries["columns"])
    return PaperTable(
        **{
            **entries,
            "name": name,
            "paper": data["paper"],
            "columns": columns,
            "rows": tuple(_row(line) for line in entries["rows"].splitlines()),
            "scale": int(entries["scale"]) if "scale" in entries else None,
            "mean_over": tuple(entries.get("mean_over", ())),
            "datasets": {
                column: data["datasets"][column] for column in columns if column in data["datasets"]
            },
            "notes": tuple(entries.get("notes", ())),
        }
    )


def _row(line: str) -> PrintedRow:
    name, _, values = line.partition("|")
    return PrintedRow(name.strip(), tuple(_cell(value) for value in values.split()))


def _cell(value: str) -> PrintedCell:
    if value == "-":
        return PrintedCell("")
    if not (found := _CELL.fullmatch(value)):
        raise ValueError(f"{value!r} is not a table cell")
    return PrintedCell(found["printed"], found["aside"] or "")


def _results(method: str, level: str, metric: str, paper: str | None) -> Iterator[tuple[PaperTable, str]]:
    for table in load_tables().values():
        matches = (table.level, table.metric) == (level, metric) and paper in (None, table.paper)
        if matches and method in table.methods:
            yield table, table.methods[method]


def _figure(table: PaperTable, row: str, column: str) -> PrintedFigure | None:
    printed = table.cell(row, column).printed
    if not printed:
        return None
    scale = table.scale or 1
    value, digit = float(number(printed) / scale), float(unit(printed) / scale)
    return PrintedFigure(value, digit, printed, table.name, table.paper, table.number, row, column)
