"""Progress on stderr: a bar at a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from deepscan.cli.streams import is_terminal
from deepscan.media.frames import FAILURES
from deepscan.scanning.summary import printable

#: Seconds between two lines, where there is no bar.
INTERVAL = 10.0
#: Seconds between two drawings of the bar.
REFRESH = 0.1
#: Columns of a terminal's line that are not drawn on: two gaps, and the `^C` that a terminal echoes, which in
#: the last column would break the line, and half of it would stay.
MARGIN = 4
SHORTEST_BAR = 3


class ProgressView:
    """Shows how far a piece of work is, with its rate and the time left; a context manager.

    A piece of work stays on the screen from the first call that names it until it is done.

    Args:
        style: `auto` for a bar at a terminal and lines elsewhere, `plain` for lines, `none` for nothing.
        console: Where to show it; None for stderr.
    """

    def __init__(self, style: str, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, force_terminal=is_terminal(sys.stderr))
        self._style = "bar" if style == "auto" and self._console.is_interactive else style
        self._column = BarColumn()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            self._column,
            TextColumn("{task.fields[figures]}", markup=False),
            console=self._console,
            transient=True,
            # Each call draws: a thread would draw the same again.
            auto_refresh=False,
            # What goes into a pipe must not be shown above the bar instead.
            redirect_stdout=False,
        )
        self._task: TaskID | None = None
        self._work, self._first, self._last = "", 0, 0
        self._begun = self._shown = time.monotonic()

    def count(
        self, work: str, done: int, total: int | None, unit: str = "", *, milestone: bool = True
    ) -> None:
        """Show how much is done, the rate and the time left.

        Args:
            work: What is done, such as `crops`.
            done: How many pieces are done.
            total: How many there are, None if unknown.
            unit: What a piece is, such as `images`; empty to show no rate.
            milestone: Whether the end gets a line of its own, where there is no bar.
        """
        self._begin(work, done)
        figures = [f"{done}/{total}"] if self._style == "bar" and total is not None else []
        seconds = time.monotonic() - self._begun
        if total is not None and done > self._first and seconds:
            rate = (done - self._first) / seconds
            figures += [*([rate_of(rate, unit)] if unit else []), time_left((total - done) / rate)]
        self._show(done, total, figures, milestone=milestone and done == total)

    def note(self, line: str) -> None:
        """Show a line that stays, unless the style is `none`."""
        if self._style != "none":
            self._write(printable(line))

    def _begin(self, work: str, done: int) -> None:
        # A count that falls begins again, under the same name.
        if work != self._work or done < self._last:
            self._close()
            self._work, self._first, self._begun = work, done, time.monotonic()
        self._last = done

    def _show(
        self,
        done: int,
        total: int | None,
        figures: Sequence[str],
        *,
        milestone: bool = False,
        heading: str = "",
    ) -> None:
        """Draw the bar, or write a line, if it is time to.

        Args:
            done: How many pieces of the work are done.
            total: How many there are, None if unknown.
            figures: Shown behind the bar. Where they do not fit, all but the first and the last are left out.
            milestone: Whether to show this in any case.
            heading: Shown at the bar in any case, instead of the name of the work.
        """
        at_terminal = self._style == "bar"
        wait = REFRESH if at_terminal else INTERVAL
        due = time.monotonic() - self._shown >= wait and (at_terminal or total is None or done > self._first)
        drawn = at_terminal and (self._task is None or heading or done == total)
        if self._style == "none" or not (due or milestone or drawn):
            return
        self._shown = time.monotonic()
        given = [figure for figure in figures if figure]
        if not at_terminal:
            self._write(" ".join([self._work, *([] if total is None else [f"{done}/{total}"]), *given]))
            return
        try:
            self._draw(heading or self._work, done, total, given)
        except OSError:
            # A terminal that was closed must not end the work.
            self._style = "none"
            self._close()
        if milestone and done == total:
            self._close()

    def _draw(self, heading: str, done: int, total: int | None, figures: list[str]) -> None:
        room = self._console.width - cell_len(heading) - MARGIN
        while len(figures) > 1 and len(" ".join(figures)) > room - SHORTEST_BAR:
            # The first says how far it is and the last when it ends: they go last.
            del figures[1]
        text = " ".join(figures)
        self._column.bar_width = max(SHORTEST_BAR, room - len(text))
        if self._task is None:
            self._task = self._bar.add_task(heading, completed=done, total=total, figures=text)
            self._bar.start()
        else:
            self._bar.update(self._task, description=heading, completed=done, total=total, figures=text)
        self._bar.refresh()

    def _write(self, line: str) -> None:
        try:
            if self._task is None:
                # rich would end the process where nobody reads any more.
                self._console.file.write(f"{line}\n")
                self._console.file.flush()
            else:
                self._console.print(Text(line), soft_wrap=True, highlight=False)
        except OSError:
            self._style = "none"
            self._close()

    def _close(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            try:
                self._bar.stop()
            except (OSError, IndexError):
                # IndexError: rich could not even begin, and stumbles as it undoes that.
                self._style = "none"
            self._bar.remove_task(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._close()


class VideoProgress(ProgressView):
    """Shows how far work on videos is, and says why a video failed."""

    def __init__(self, style: str) -> None:
        super().__init__(style)
        self._done = self._total = 0

    def _begin_videos(self, work: str, todo: int) -> None:
        """Start to count videos."""
        self._total = todo
        self._shown = time.monotonic()
        self.count(work, 0, todo, "videos", milestone=False)

    def _count_video(self, name: str, status: str, detail: str) -> None:
        """Count a video, and say why it failed if it did."""
        self._done += 1
        if status in FAILURES:
            self.note(f"{name}: {status}: {detail}")
        self.count(self._work, self._done, self._total, "videos", milestone=False)

    def _conclude(self) -> None:
        """Say how long it took."""
        if self._done:
            seconds = time.monotonic() - self._begun
            self.note(f"{videos(self._done)} in {seconds:.1f} s, {self._done / seconds * 60:.1f} a minute")


def rate_of(rate: float, unit: str) -> str:
    """Return a rate in words: `20 images/s`, `9.5 videos/min`.

    Args:
        rate: Pieces a second.
        unit: What a piece is.
    """
    per = "s" if rate >= 1 else "min"
    value = rate if rate >= 1 else rate * 60
    return f"{value:.{0 if value >= 9.95 else 1}f} {unit}/{per}"


def time_left(seconds: float) -> str:
    """Return in words how long something will take."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 36000 else f"{seconds / 3600:.1f} h left"


def videos(count: int) -> str:
    """Return how many videos that is, in words."""
    return f"{count} video{'' if count == 1 else 's'}"
