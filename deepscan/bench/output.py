"""Where the figures go: rows as CSV or JSON lines as they come, the machine in a file beside them."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deepscan.bench.run import BENCH_COLUMNS, BenchRow
from deepscan.errors import DeepscanError, UsageError

TABLE_SUFFIXES = (".csv", ".jsonl")


class RowFile:
    """A table that is written row by row, so that what was measured stays.

    Args:
        path: `*.csv` or `*.jsonl`; the machine goes to `*.machine.json`.
        overwrite: Whether files that are there may be replaced.

    Raises:
        UsageError: The suffix is another, a file is there, or the folder cannot be written to.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path, self.machine = path, machine_file(path)
        if path.suffix not in TABLE_SUFFIXES:
            raise UsageError(f"--out {path} is no table", f"name a file with {' or '.join(TABLE_SUFFIXES)}")
        there = [file for file in (path, self.machine) if file.exists()]
        if there and not overwrite:
            raise UsageError(f"{there[0]} is there already", "name another file, or give --overwrite")
        try:
            self._file = path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", "name another file with --out")
        self._table = csv.DictWriter(self._file, BENCH_COLUMNS, restval="", lineterminator="\n")
        if path.suffix == ".csv":
            self._table.writeheader()

    def describe(self, environment: Mapping[str, Any]) -> None:
        """Write what the figures were measured on."""
        write_machine(self.path, environment)

    def append(self, row: BenchRow) -> None:
        """Write a row.

        Raises:
            DeepscanError: There is no room for it.
        """
        try:
            if self.path.suffix == ".csv":
                self._table.writerow(row)
            else:
                self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise DeepscanError(f"{self.path} cannot be written: {error.strerror}", "make room, and repeat")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_table(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a whole table as CSV; its columns are the keys of all rows, in the order of their first use."""
    lines = list(rows)
    names = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


def write_machine(table: Path, environment: Mapping[str, Any]) -> None:
    """Write what a table's figures were measured on, to `machine_file`."""
    machine_file(table).write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")


def machine_file(table: Path) -> Path:
    """Return the file beside a table that says what its figures were measured on."""
    return table.with_suffix(".machine.json")
