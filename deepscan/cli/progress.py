"""Progress on stderr: a bar at a terminal, a line now and then elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from deepscan.cli.streams import is_terminal
from deepscan.cli.wrapping import KEEP, wrap
from deepscan.outcomes import FAILURES
from deepscan.scanning.summary import counted, describe_outcomes, printable, status_label

#: Seconds between two lines, where there is no bar.
INTERVAL = 10.0
#: Seconds between two drawings of the bar.
REFRESH = 0.1
#: Seconds between two drawings while nothing has ended.
TICK = 1.0
#: Seconds of work from which on its rate is told.
ENOUGH = 10.0
#: Columns of a terminal's line that are not drawn on: two gaps, and the `^C` that a terminal echoes, which in
#: the last column would break the line, and half of it would stay.
MARGIN = 4
SHORTEST_BAR = 3


class _Bar(Progress):
    """A bar with lines below it."""

    below: Sequence[Text] = ()

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bar, then the lines."""
        yield from super().get_renderables()
        yield from self.below


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
        self._bar = _Bar(
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
        self,
        work: str,
        done: int,
        total: int | None,
        unit: str = "",
        *,
        milestone: bool = True,
        below: Sequence[str] = (),
    ) -> None:
        """Show how much is done, the rate and the time left.

        Args:
            work: What is done, such as `crops`.
            done: How many pieces are done.
            total: How many there are, None if unknown.
            unit: What a piece is, such as `images`; empty to show no rate.
            milestone: Whether the end gets a line of its own, where there is no bar.
            below: As `_show` takes it.
        """
        self._begin(work, done)
        figures = [f"{done}/{total}"] if self._style == "bar" and total is not None else []
        seconds = time.monotonic() - self._begun
        if total is not None and done > self._first and seconds:
            rate = (done - self._first) / seconds
            figures += [*([rate_of(rate, unit)] if unit else []), time_left((total - done) / rate)]
        self._show(done, total, figures, milestone=milestone and done == total, below=below)

    def note(self, line: str, *, command: bool = False) -> None:
        """Show a line that stays, unless the style is `none`.

        Args:
            line: The line; at a terminal it becomes several where it is too long.
            command: Whether it has a command, which must stay in one line to be copied.
        """
        if self._style == "none":
            return
        wide = command or not self._console.is_terminal
        lines = [printable(line)] if wide else wrap(printable(line), self._console.width)
        self._write("\n".join(lines))

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
        below: Sequence[str] = (),
    ) -> None:
        """Draw the bar, or write a line, if it is time to.

        Args:
            done: How many pieces of the work are done.
            total: How many there are, None if unknown.
            figures: Shown behind the bar. Where they do not fit, all but the first and the last are left out.
            milestone: Whether to show this in any case.
            heading: Shown at the bar in any case, instead of the name of the work.
            below: Lines below the bar, wrapped where they are too long; where there is no bar, parts of the
                line.
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
            words = " ".join([self._work, *([] if total is None else [f"{done}/{total}"]), *given])
            self._write("; ".join([words, *filter(None, below)]).replace(KEEP, " "))
            return
        try:
            self._draw(heading or self._work, done, total, given, below)
        except OSError:
            # A terminal that was closed must not end the work.
            self._style = "none"
            self._close()
        if milestone and done == total:
            self._close()

    def _styled(self, line: str) -> Text:
        """Return a line below the bar as it is drawn."""
        return Text(line)

    def _draw(
        self, heading: str, done: int, total: int | None, figures: list[str], below: Sequence[str]
    ) -> None:
        lines = [part for line in below if line for part in wrap(line, self._console.width - MARGIN)]
        self._bar.below = [self._styled(line) for line in lines]
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
    """Shows how far work on videos is, what became of them and which is at work; says why one failed.

    Args:
        style: As `ProgressView` takes it.
        outcomes: Whether verdicts, and statuses of videos without one, are counted as they come.
        console: As `ProgressView` takes it.
    """

    def __init__(self, style: str, *, outcomes: bool = False, console: Console | None = None) -> None:
        super().__init__(style, console)
        self._done = self._total = 0
        self._counted = outcomes
        self._outcomes: Counter[str] = Counter()
        # How many were done and at work when that was drawn last.
        self._drawn = (0, 0)
        # Those at work, the one that was begun first in front.
        self._at_work: list[str] = []

    def _begin_videos(self, work: str, todo: int) -> None:
        """Start to count videos."""
        self._total = todo
        self._shown = time.monotonic()
        self.count(work, 0, todo, "videos", milestone=False)

    def _begin_video(self, name: str) -> None:
        """Show that a video is at work."""
        self._at_work.append(name)
        self._count_videos()

    def _count_video(self, name: str, status: str, detail: str, verdict: str | None = None) -> None:
        """Count a video, and say why it failed if it did."""
        self._done += 1
        if name in self._at_work:
            self._at_work.remove(name)
        if self._counted:
            self._outcomes[verdict or status] += 1
        if status in FAILURES:
            self.note(f"{name}: {status_label(status)}: {detail}")
        self._count_videos()

    def _tick(self) -> None:
        """Bring the bar up to date, if it was not lately: the time left grows with a long video."""
        wait = TICK if self._drawn == (self._done, len(self._at_work)) else REFRESH
        if self._style == "bar" and time.monotonic() - self._shown >= wait:
            self._count_videos()

    def _count_videos(self) -> None:
        # A line may end between two counts, and not in one.
        became = describe_outcomes(self._outcomes).replace(" ", KEEP).replace(f",{KEEP}", ", ")
        below = [became, f"now {self._at_work[0]}" if self._at_work else ""]
        before = self._shown
        self.count(self._work, self._done, self._total, "videos", milestone=False, below=below)
        if self._shown != before:
            self._drawn = self._done, len(self._at_work)

    def _conclude(self, before: str = "") -> None:
        """Say how long it took, and what became of the videos.

        Args:
            before: What the line begins with.
        """
        if self._done:
            seconds = time.monotonic() - self._begun
            rate = self._done / seconds * 60
            # Of a few seconds it says nothing of the next thousand videos.
            speed = f", {rate:.{0 if rate >= 9.95 else 1}f} a minute" if seconds >= ENOUGH else ""
            became = describe_outcomes(self._outcomes)
            self.note(f"{before}{videos(self._done)} in {duration(seconds)}{speed}{became and f': {became}'}")


def rate_of(rate: float, unit: str) -> str:
    """Return a rate in words: `20 images/s`, `9.5 videos/min`.

    Args:
        rate: Pieces a second.
        unit: What a piece is.
    """
    per = "s" if rate >= 1 else "min"
    value = rate if rate >= 1 else rate * 60
    return f"{value:.{0 if value >= 9.95 else 1}f} {unit}/{per}"


def duration(seconds: float) -> str:
    """Return in words how long something has taken."""
    if seconds < 99.5:
        return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def time_left(seconds: float) -> str:
    """Return in words how long something will take."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 36000 else f"{seconds / 3600:.1f} h left"


def videos(count: int) -> str:
    """Return how many videos that is, in words."""
    return counted(count, "video")
