"""What a scan shows while it runs and when it has ended: data on stdout, all else on stderr."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from deepscan.cli.table import shown_path, table
from deepscan.scan.inputs import Inputs
from deepscan.scan.records import dump_line
from deepscan.scan.run import Listener, Summary

PROGRESS = Literal["auto", "plain", "none"]
#: Seconds between two lines of plain progress.
INTERVAL = 10.0
#: Rows of the table when all records are in a file anyway.
MOST_ROWS = 50


class Display(Listener):
    """Tells a person, or a pipe, how a scan goes; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        out: The file that the records go to, None for none: then stdout gets them, as a table at a terminal
            and as JSON lines elsewhere.
    """

    def __init__(self, style: str, out: Path | None) -> None:
        self._out = out
        self._stdout = Console()
        self._stderr = Console(stderr=True)
        self._style = "bar" if style == "auto" and self._stderr.is_terminal else style
        self._lines = out is None and not self._stdout.is_terminal
        self._records: list[Mapping[str, Any]] = []
        self._done = self._total = 0
        self._begun = self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(),
            console=self._stderr,
            transient=True,
        )
        self._task = self._bar.add_task("loading", total=None)

    def show_inputs(self, inputs: Inputs) -> None:
        """Say what was left out of what the command line means."""
        if inputs.skipped:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in inputs.skipped.most_common(5))
            self._note(f"left out of folders: {kinds}{', ...' if len(inputs.skipped) > 5 else ''}")
        if inputs.repeated:
            self._note(f"named more than once, scanned once: {inputs.repeated}")
        if not inputs.paths:
            self._note("there is no video to scan")

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Say which model runs on what."""
        if run["model"] is None:
            self._note("no model: faces are recorded without a score")
        else:
            engine = run["engine"]
            self._note(
                f"model {run['model']['name']} ({run['model']['method']}), "
                f"{engine['name']} engine, {engine['device']}, {engine['precision']}"
            )

    def planned(self, todo: int, kept: Sequence[Mapping[str, Any]]) -> None:
        """Begin to count."""
        self._total = todo
        self._begun = self._told = time.monotonic()
        self._bar.update(self._task, description="scanning", total=todo)
        if kept:
            self._note(f"{len(kept)} videos stand from before, {todo} to scan")
            self._records += [brief(record) for record in kept]

    def ended(self, record: Mapping[str, Any]) -> None:
        """Count a video, and hand its record on where stdout takes them as they come."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        if self._lines:
            sys.stdout.write(dump_line(record) + "\n")
            sys.stdout.flush()
        else:
            self._records.append(brief(record))
        if record["status"] not in ("ok", "no_face", "too_short"):
            self._note(f"{shown_path(record)}: {record['status']}: {record['detail']}")
        if self._style in ("auto", "plain") and time.monotonic() - self._told >= INTERVAL:
            self._told = time.monotonic()
            rate = self._done / (self._told - self._begun)
            self._note(
                f"{self._done}/{self._total} videos, {rate * 60:.1f} a minute, {self._left(rate)} left"
            )

    def show_summary(self, summary: Summary) -> None:
        """Print the table and the counts."""
        if not self._lines:
            most = None if self._out is None else MOST_ROWS
            self._stdout.print(table(self._records, most, self._out))
        counts = {**summary.verdicts, **{k: v for k, v in summary.statuses.items() if k != "ok"}}
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        seconds = time.monotonic() - self._begun
        rate = self._done / seconds * 60
        self._note(f"{self._done} videos in {seconds:.1f} s, {rate:.1f} a minute: {told or 'nothing'}")
        if self._out:
            self._note(f"records: {self._out}")

    def _left(self, rate: float) -> str:
        seconds = (self._total - self._done) / rate
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

    def _note(self, line: str) -> None:
        if self._style != "none":
            self._stderr.print(Text(line), soft_wrap=True, highlight=False)

    def __enter__(self) -> "Display":
        if self._style == "bar":
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._style == "bar":
            self._bar.stop()


class _Rate(ProgressColumn):
    """Videos a minute, and the time left at that rate."""

    def render(self, task: Task) -> Text:
        """Return the text for the bar's end."""
        if not task.completed or not task.elapsed or task.total is None:
            return Text("")
        rate = task.completed / task.elapsed
        left = (task.total - task.completed) / rate
        clock = f"{left // 60:.0f}:{left % 60:02.0f}"
        return Text(f"{rate * 60:.0f}/min {clock} left")


def brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record for the table: its frames counted and left out, for they would fill the memory."""
    faces = sum(frame["track"] is not None for frame in record["frames"])
    sampled = len({frame["index"] for frame in record["frames"]})
    return {**record, "frames": (), "faces": faces, "sampled": sampled}
