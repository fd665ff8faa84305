"""What is shown while videos are worked on, and of a scan when it has ended: data on stdout, else stderr."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from deepscan.errors import DeepscanError, Unread
from deepscan.media.frames import FAILURES
from deepscan.scanning.summary import printable

#: Seconds between two lines of plain progress.
INTERVAL = 10.0


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


def stdout_console() -> Console:
    """Return a console for data, which a terminal gets in colour and a pipe without markup."""
    return Console(force_terminal=is_terminal(sys.stdout))


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
