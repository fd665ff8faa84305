"""What is shown while videos are worked on, and of a scan when it has ended: data on stdout, else stderr."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from deepscan.cli.table import shown_path, table
from deepscan.errors import DeepscanError, Unread
from deepscan.media.frames import FAILURES
from deepscan.scanning.inputs import Inputs
from deepscan.scanning.records import dump_line
from deepscan.scanning.rows import Row, printable, row
from deepscan.scanning.run import Listener, Summary

#: Seconds between two lines of plain progress.
INTERVAL = 10.0
#: Rows of the table when all records are in a file anyway.
MOST_ROWS = 50


def counter(console: Console, *more: ProgressColumn) -> Progress:
    """Return a bar that counts pieces of work, with further columns behind; it goes when it ends."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        *more,
        console=console,
        transient=True,
        # Where stdout is a pipe, what goes into it must not be shown above the bar instead.
        redirect_stdout=False,
    )


class Speaker:
    """Tells on stderr how far work is: a bar at a terminal, else lines; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        first: What is done before it is known how much there is.
        columns: What the bar shows behind its count.
    """

    def __init__(self, style: str, first: str, *columns: ProgressColumn) -> None:
        at_terminal = is_terminal(sys.stderr)
        self._stderr = Console(force_terminal=at_terminal, stderr=True)
        self._style = "bar" if style == "auto" and at_terminal else style
        self._bar = counter(self._stderr, *columns)
        self._task = self._bar.add_task(first, total=None)
        self._told = time.monotonic()

    def note(self, line: str) -> None:
        """Say something, unless nothing is to be said."""
        if self._style != "none":
            self._stderr.print(Text(printable(line)), soft_wrap=True, highlight=False)

    def _due(self) -> bool:
        """Return whether it is time for the next line, where lines are told."""
        due = self._style in ("auto", "plain") and time.monotonic() - self._told >= INTERVAL
        if due:
            self._told = time.monotonic()
        return due

    def __enter__(self) -> Self:
        if self._style == "bar":
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._style == "bar":
            self._bar.stop()


class WorkProgress(Speaker):
    """Tells how much of each kind of work is done."""

    def count(self, work: str, done: int, total: int) -> None:
        """Tell how much of a kind of work is done."""
        self._bar.update(self._task, description=work, completed=done, total=total)
        if self._due():
            self.note(f"{work}: {done}/{total}")


class VideoProgress(Speaker):
    """Tells how far work on videos is, how many a minute, and the time left.

    Args:
        style: As `Speaker` takes it.
        first: What is done before the videos are known.
    """

    def __init__(self, style: str, first: str) -> None:
        super().__init__(style, first, Rate())
        self._done = self._total = 0
        self._begun = time.monotonic()

    def _begin(self, work: str, todo: int) -> None:
        """Begin to count."""
        self._total = todo
        self._begun = self._told = time.monotonic()
        self._bar.reset(self._task, description=work, total=todo)

    def _count(self, name: str, status: str, detail: str) -> None:
        """Count a video, and say why it failed if it did."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        if status in FAILURES:
            self.note(f"{name}: {status}: {detail}")
        if self._due():
            rate = self._done / (self._told - self._begun)
            seconds = (self._total - self._done) / rate
            left = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
            self.note(f"{self._done}/{videos(self._total)}, {rate * 60:.1f} a minute, {left} left")

    def _conclude(self) -> None:
        """Say how long it took."""
        if self._done:
            seconds = time.monotonic() - self._begun
            self.note(f"{videos(self._done)} in {seconds:.1f} s, {self._done / seconds * 60:.1f} a minute")


class Display(VideoProgress, Listener):
    """Tells a person, or a pipe, how a scan goes; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        out: The file that the records go to, None for none: then stdout gets them, as a table at a terminal
            and as JSON lines elsewhere.
    """

    def __init__(self, style: str, out: Path | None) -> None:
        super().__init__(style, "loading")
        self._out = out
        at_terminal = is_terminal(sys.stdout)
        self._stdout = Console(force_terminal=at_terminal)
        self._lines = out is None and not at_terminal
        self._rows: list[Row] = []

    def show_inputs(self, inputs: Inputs) -> None:
        """Say what was left out of what the command line means."""
        if inputs.skipped:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in inputs.skipped.most_common(5))
            self.note(f"left out of folders: {kinds}{', ...' if len(inputs.skipped) > 5 else ''}")
        if inputs.repeated:
            self.note(f"named more than once, scanned once: {inputs.repeated}")
        if not inputs.paths:
            self.note("there is no video to scan")

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Say which model runs on what."""
        if run["model"] is None:
            self.note("no model: faces are recorded without a score")
            return
        models: Mapping[str, Any] = run.get("models") or {run["model"]["name"]: run["model"]}
        if choice := run.get("choice"):
            self.note(f"chosen: {choice['model']}, {choice['reason']}")
        for name, model in models.items():
            engine = run["engines"][name] if "engines" in run else run["engine"]
            self.note(
                f"model {name} ({model['method']}), "
                f"{engine['name']} engine, {engine['device']}, {engine['precision']}"
            )
            if engine["chosen"] and engine["precision"] != "fp32":
                self.note(f"{engine['precision']}, which auto takes: {engine['chosen']}")
            if engine["details"]["note"]:
                self.note(f"note: {engine['details']['note']}")
        if len(models) > 1:
            self.note(f"together: {run['model']['rule']}")
        if not run["parameters"]["explain"]:
            return
        for name in (name for name, model in models.items() if not model["evidence"]):
            self.note(f"warning: model {name} gives scores alone: --explain adds nothing")
        if self._out is None and not self._lines and any(model["evidence"] for model in models.values()):
            self.note("warning: explanations are in the records, not in this table: name a file with --out")

    def checking(self, recorded: int) -> None:
        """Say that files are being read again."""
        self._bar.update(self._task, description=f"checking {videos(recorded)} that stand")

    def planned(self, todo: int, kept: Iterator[Mapping[str, Any]]) -> None:
        """Begin to count."""
        self._rows += [row(record) for record in kept]
        self._begin("scanning", todo)
        if self._rows:
            self.note(f"{videos(len(self._rows))} done before, {todo} to scan")

    def warned(self, line: str) -> None:
        """Say what is not as it should be."""
        self.note(f"warning: {line}")

    def ended(self, record: Mapping[str, Any]) -> None:
        """Count a video, and hand its record on where stdout takes them as they come."""
        if self._lines:
            hand_on(dump_line(record) + "\n", self._out)
        else:
            self._rows.append(row(record))
        self._count(shown_path(record["path"]), record["status"], record["detail"])

    def show_table(self) -> None:
        """Print the table of what has been scanned, where stdout has not got it line by line."""
        if not self._lines and self._rows:
            most = None if self._out is None else MOST_ROWS
            with self._stdout.capture() as capture:
                self._stdout.print(table(self._rows, most, self._out))
            hand_on(capture.get(), self._out)

    def show_summary(self, summary: Summary) -> None:
        """Say how many there were of each outcome, and where the records are."""
        counts = {**summary.verdicts, **{k: v for k, v in summary.statuses.items() if k != "ok"}}
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        self._conclude()
        if told:
            self.note(told)
        votes = [row.agreement for row in self._rows if row.agreement]
        if votes:
            same = sum(said == voting for said, voting in votes)
            self.note(f"the models agree on {same} of {videos(len(votes))}")
        if self._out:
            self.note(f"records: {self._out}")
            self.note(f"a page of them: deepscan report {shlex.quote(str(self._out.with_suffix('.jsonl')))}")


def hand_on(text: str, out: Path | None) -> None:
    """Write data to stdout.

    Args:
        text: The data.
        out: The file that has them as well, None for none.

    Raises:
        Unread: Whoever read stdout has gone, and no file has the data.
        DeepscanError: stdout cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more as it exits, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if out is None:
            raise Unread
    except OSError as error:
        raise DeepscanError(f"stdout cannot be written: {error.strerror}", "write to a file with --out")


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person sees what is written there."""
    # rich would take a pipe for a terminal where FORCE_COLOR is set.
    return stream is not None and stream.isatty()


def videos(count: int) -> str:
    """Return how many videos that is, in words."""
    return f"{count} video{'' if count == 1 else 's'}"


class Rate(ProgressColumn):
    """Videos a minute, and the time left at that rate."""

    def render(self, task: Task) -> Text:
        """Return the text for the bar's end."""
        if not task.completed or not task.elapsed or task.total is None:
            return Text("")
        rate = task.completed / task.elapsed
        left = (task.total - task.completed) / rate
        clock = f"{left // 60:.0f}:{left % 60:02.0f}"
        return Text(f"{rate * 60:.0f}/min {clock} left")
