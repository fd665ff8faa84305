"""Progress on stderr: a bar at a terminal, occasional lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from deepscan.cli.streams import is_terminal
from deepscan.cli.wrapping import KEEP, wrap
from deepscan.outcomes import FAILURES
from deepscan.scanning.summary import counted, describe_outcomes, printable, status_label

#: Seconds between two lines, without a bar.
INTERVAL = 10.0
#: Seconds between two drawings of the bar.
REFRESH = 0.1
#: Seconds between two drawings while no video ends.
TICK = 1.0
#: Seconds of work before its rate is shown.
ENOUGH = 10.0
#: Columns of a line that stay empty: two gaps, and room for the `^C` that a terminal echoes. In the last
#: column it would wrap the line, and half of the bar would remain on the screen.
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
    """Shows progress, with rate and time left; a context manager.

    A task stays on the screen from the first call that names it until it is done.

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
            # Otherwise rich would print above the bar what is written to a pipe.
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
            work: Name of the task, such as `crops`.
            done: Number of items that are done.
            total: Number of all items; None if unknown.
            unit: Name of the items, such as `images`; empty to show no rate.
            milestone: Without a bar: whether to print a line at the end.
            below: Lines below the bar; see `_show`.
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
            line: The line; at a terminal it is wrapped if it is too long.
            command: Whether it contains a command, which must stay on one line for copying.
        """
        if self._style == "none":
            return
        wide = command or not self._console.is_terminal
        lines = [printable(line)] if wide else wrap(printable(line), self._console.width)
        self._write("\n".join(lines))

    def _begin(self, work: str, done: int) -> None:
        # A smaller count means that a task of the same name starts again.
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
            done: Number of items that are done.
            total: Number of all items; None if unknown.
            figures: Texts after the bar. If they do not fit, only the first and the last are shown.
            milestone: Whether to show this even if it is not time to.
            heading: Text before the bar instead of the task's name; shown even if it is not time to.
            below: Lines below the bar, wrapped if they are too long; without a bar, appended to the line.
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
            # A closed terminal must not end the work.
            self._style = "none"
            self._close()
        if milestone and done == total:
            self._close()

    def _styled(self, line: str) -> Text:
        """Return a line below the bar with its colours."""
        return Text(line)

    def _draw(
        self, heading: str, done: int, total: int | None, figures: list[str], below: Sequence[str]
    ) -> None:
        lines = [part for line in below if line for part in wrap(line, self._console.width - MARGIN)]
        self._bar.below = [self._styled(line) for line in lines]
        room = self._console.width - cell_len(heading) - MARGIN
        while len(figures) > 1 and len(" ".join(figures)) > room - SHORTEST_BAR:
            # The first says how much is done and the last how long it takes: keep them longest.
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
                # rich would end the process if the reader has ended.
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
            # When rich starts again, it erases as many lines above the cursor as it has drawn last.
            self._bar.below = ()
            with suppress(OSError):
                self._bar.refresh()
            try:
                self._bar.stop()
            except (OSError, IndexError):
                # IndexError: rich failed to start, and fails again in stop().
                self._style = "none"
            self._bar.remove_task(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._close()


class VideoProgress(ProgressView):
    """Shows the progress of work on videos: outcomes so far, the current video, and why one failed.

    Args:
        style: See `ProgressView`.
        outcomes: Whether to count verdicts, and statuses of videos without a verdict.
        console: See `ProgressView`.
    """

    def __init__(self, style: str, *, outcomes: bool = False, console: Console | None = None) -> None:
        super().__init__(style, console)
        self._done = self._total = 0
        self._counted = outcomes
        self._outcomes: Counter[str] = Counter()
        # Numbers of finished and current videos at the last drawing.
        self._drawn = (0, 0)
        # Current videos, in the order in which they were started.
        self._at_work: list[str] = []

    def _begin_videos(self, work: str, todo: int) -> None:
        """Start to count videos."""
        self._total = todo
        self._shown = time.monotonic()
        self.count(work, 0, todo, "videos", milestone=False)

    def _begin_video(self, name: str) -> None:
        """Show that work on a video has started."""
        self._at_work.append(name)
        self._count_videos()

    def _count_video(self, name: str, status: str, detail: str, verdict: str | None = None) -> None:
        """Count a video, and show why it failed if it did."""
        self._done += 1
        if name in self._at_work:
            self._at_work.remove(name)
        if self._counted:
            self._outcomes[verdict or status] += 1
        if status in FAILURES:
            self.note(f"{name}: {status_label(status)}: {detail}")
        self._count_videos()

    def _tick(self) -> None:
        """Redraw the bar if it is due: the time left grows during a long video."""
        wait = TICK if self._drawn == (self._done, len(self._at_work)) else REFRESH
        if self._style == "bar" and time.monotonic() - self._shown >= wait:
            self._count_videos()

    def _count_videos(self) -> None:
        # A line may break between two counts, but not inside one.
        outcomes = describe_outcomes(self._outcomes).replace(" ", KEEP).replace(f",{KEEP}", ", ")
        below = [outcomes, f"now {self._at_work[0]}" if self._at_work else ""]
        before = self._shown
        self.count(self._work, self._done, self._total, "videos", milestone=False, below=below)
        if self._shown != before:
            self._drawn = self._done, len(self._at_work)

    def _conclude(self, before: str = "") -> None:
        """Show how long it took, and the outcomes of the videos.

        Args:
            before: Start of the line.
        """
        if self._done:
            seconds = time.monotonic() - self._begun
            rate = self._done / seconds * 60
            # The rate of a few seconds does not predict that of the next thousand videos.
            speed = f", {rate:.{0 if rate >= 9.95 else 1}f} per minute" if seconds >= ENOUGH else ""
            outcomes = describe_outcomes(self._outcomes)
            self.note(
                f"{before}{videos(self._done)} in {duration(seconds)}{speed}{outcomes and f': {outcomes}'}"
            )


def rate_of(rate: float, unit: str) -> str:
    """Return a rate as text, such as `20 images/s` or `9.5 videos/min`.

    Args:
        rate: Items per second.
        unit: Name of the items.
    """
    per = "s" if rate >= 1 else "min"
    value = rate if rate >= 1 else rate * 60
    return f"{value:.{0 if value >= 9.95 else 1}f} {unit}/{per}"


def duration(seconds: float) -> str:
    """Return a duration as text, such as `12 s` or `3 min`."""
    if seconds < 99.5:
        return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def time_left(seconds: float) -> str:
    """Return the time left as text, such as `12 s left`."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 36000 else f"{seconds / 3600:.1f} h left"


def videos(count: int) -> str:
    """Return a number of videos as text, such as `1 video` or `1,200 videos`."""
    return counted(count, "video")
