"""What `bench` shows: its rows on stdout, progress on stderr."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from deepscan.bench.output import RowFile
from deepscan.bench.run import BenchListener, BenchRow
from deepscan.cli.progress import ProgressView
from deepscan.cli.streams import hand_on, is_terminal, stdout_console

#: Unit of a row -> unit of the rate that is shown, and its seconds.
RATES = {"videos": ("videos/min", 60), "frames": ("frames/s", 1), "crops": ("crops/s", 1)}


class BenchView(ProgressView, BenchListener):
    """Shows measurements to a person or a pipe; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        out: The file of the rows; if None, they go to stdout, as a table at a terminal and as JSON lines
            elsewhere. The first line then describes the machine.
    """

    def __init__(self, style: str, out: RowFile | None) -> None:
        super().__init__(style)
        self._out = out
        self._lines = out is None and not is_terminal(sys.stdout)
        self._rows: list[BenchRow] = []

    def begun(self, stage: str) -> None:
        """Name the stage."""
        if self._style == "bar":
            self.count(stage, 0, None)
        else:
            self._begin(stage, 0)
            self.note(stage)

    def ran(self, done: int, total: int) -> None:
        """Move the bar."""
        self.count(self._work, done, total, milestone=False)

    def described(self, environment: Mapping[str, Any]) -> None:
        """Write the description of the machine, and show a summary of it."""
        if self._out is not None:
            self._out.describe(environment)
        if self._lines:
            hand_on(json.dumps({"environment": environment}) + "\n", None)
        gpus = ", ".join(gpu["name"] for gpu in environment["gpus"])
        cores, memory = environment["usable_cores"], environment["memory_gb"]
        machine = f"{environment['processor']}, {cores} cores, {memory:.0f} GB{f', {gpus}' if gpus else ''}"
        self.note(f"{machine}; {len(environment['files'])} files")
        if environment["load"] > 0.5:
            self.note(f"warning: the machine is busy (load {environment['load']}); times may be too long")

    def measured(self, row: BenchRow) -> None:
        """Write a row."""
        self._rows.append(row)
        if self._out is not None:
            self._out.append(row)
        if self._lines:
            hand_on(json.dumps(row) + "\n", None)

    def show_table(self) -> None:
        """Print the table, unless stdout got the rows one by one."""
        if not self._lines:
            console = stdout_console()
            with console.capture() as capture:
                console.print(_table(self._rows))
            hand_on(capture.get(), self._out.path if self._out else None)
        if self._out is not None:
            self.note(f"rows: {self._out.path}, machine: {self._out.machine}")


def _table(rows: list[BenchRow]) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("stage", no_wrap=True)
    grid.add_column("what", overflow="fold")
    for head in ("rate", "seconds", "spread"):
        grid.add_column(head, justify="right", no_wrap=True)
    grid.add_column("", overflow="fold")
    for row in rows:
        apart = row["high"] - row["low"]
        part = row.get("part", "")
        of_a_scan = row["stage"] == "scan" and part != "whole"
        cells = ("", f"  {part}", "") if of_a_scan else (row["stage"], _what(row), _rate(row))
        grid.add_row(
            *cells,
            f"{row['seconds']:.4g}",
            f"{apart / row['seconds']:.0%}" if row["repeats"] > 1 and row["seconds"] else "",
            _share(row),
            style="dim" if of_a_scan else None,
        )
    return grid


def _what(row: BenchRow) -> str:
    parts = [str(row["part"])] if row["stage"] == "start-up" else []
    parts += [str(row[name]) for name in ("model", "engine", "device", "precision", "faces") if name in row]
    parts += [f"{row['frames']} frames"] if "frames" in row else []
    parts += [f"batch of {row['batch']}"] if "batch" in row else []
    if row["stage"] == "decode":
        parts.append(f"{row['workers']} processes")
    return ", ".join(parts)


def _rate(row: BenchRow) -> str:
    if row["unit"] not in RATES or "per_second" not in row:
        return ""
    unit, seconds = RATES[row["unit"]]
    return f"{row['per_second'] * seconds:,.0f} {unit}"


def _share(row: BenchRow) -> str:
    parts = [f"{row['of_matmul']:.0%} of plain matrix products"] if row.get("of_matmul") else []
    parts += [f"GPU {row['gpu_busy']:.0f} % busy"] if "gpu_busy" in row else []
    return ", ".join(parts)
