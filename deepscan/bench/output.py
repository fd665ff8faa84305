"""Benchmark output: rows as CSV or JSON lines, and a description of the machine in a separate file."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deepscan.bench.run import BENCH_COLUMNS, BenchRow
from deepscan.errors import DeepscanError, UsageError

TABLE_SUFFIXES = (".csv", ".jsonl")


class RowFile:
    """A table that is written row by row, so that an interrupted run keeps its rows.

    Args:
        path: `*.csv` or `*.jsonl`; the machine is described in `*.machine.json`.
        overwrite: Whether existing files may be replaced.

    Raises:
        UsageError: The suffix is unknown, a file exists, or the folder is not writable.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path, self.machine = path, machine_file(path)
        if path.suffix not in TABLE_SUFFIXES:
            raise UsageError(
                f"--out must end in {' or '.join(TABLE_SUFFIXES)}, not {path.name}",
                "choose another file name",
            )
        existing = [file for file in (path, self.machine) if file.exists()]
        if existing and not overwrite:
            raise UsageError(f"{existing[0]} already exists", "choose another file, or add --overwrite")
        try:
            self._file = path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}", "choose another file with --out")
        self._table = csv.DictWriter(self._file, BENCH_COLUMNS, restval="", lineterminator="\n")
        if path.suffix == ".csv":
            self._table.writeheader()

    def describe(self, environment: Mapping[str, Any]) -> None:
        """Write the description of the machine and the files."""
        write_machine(self.path, environment)

    def append(self, row: BenchRow) -> None:
        """Write a row.

        Raises:
            DeepscanError: The file cannot be written, for example because the disk is full.
        """
        try:
            if self.path.suffix == ".csv":
                self._table.writerow(row)
            else:
                self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise DeepscanError(
                f"cannot write {self.path}: {error.strerror}",
                "free some disk space, then run the command again",
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_table(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a table as CSV; its columns are the keys of all rows, in order of first appearance."""
    lines = list(rows)
    names = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


def write_machine(table: Path, environment: Mapping[str, Any]) -> None:
    """Write the description of the machine to the `machine_file` of a table."""
    machine_file(table).write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")


def machine_file(table: Path) -> Path:
    """Return the path of the file that describes the machine of a table's figures."""
    return table.with_suffix(".machine.json")
