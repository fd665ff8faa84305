"""What a training shows while it runs: one line at a terminal, else a line now and then; all on stderr."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from deepscan.cli.progress import INTERVAL

if TYPE_CHECKING:
    from deepscan.training.loop import Step

#: Seconds between two looks of the bar.
REFRESH = 0.1
#: Columns of a terminal's line that are not drawn on: two gaps, and the `^C` that a terminal echoes, which in
#: the last column would break the line, and half of it would stay.
TAKEN = 4
SHORTEST_BAR = 3


class TrainView:
    """Tells a person, or a log, how far a training is; a context manager.

    Its methods are listeners. A piece of work is shown from the first word of it until it is done.

    Args:
        style: `auto`, `plain` or `none`.
        console: Where to tell it; None for stderr.
    """

    def __init__(self, style: str, console: Console | None = None) -> None:
        # rich would take a pipe for a terminal where FORCE_COLOR is set.
        at_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._console = console or Console(stderr=True, force_terminal=at_terminal)
        self._style = "bar" if style == "auto" and self._console.is_interactive else style
        self._column = BarColumn()
        self._bar = Progress(
            TextColumn("{task.description}"),
            self._column,
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=True,
            # The figures change only when it is told of them: a thread would draw the same again.
            auto_refresh=False,
            # stdout may lead elsewhere than stderr.
            redirect_stdout=False,
        )
        self._task: TaskID | None = None
        self._work, self._first, self._auc = "", 0, ""
        self._begun = self._told = time.monotonic()

    def crops(self, done: int, total: int) -> None:
        """Tell how many of the pictures have been cropped."""
        self._count("crops", done, total)

    def autoencoders(self, done: int, total: int) -> None:
        """Tell how many images the autoencoders have learnt from."""
        self._count("autoencoders", done, total)

    def features(self, done: int, total: int) -> None:
        """Tell of how many crops the backbone's features are kept."""
        self._count("features", done, total)

    def step(self, step: "Step") -> None:
        """Tell that a training step was made, or an epoch ended."""
        self._begin("training", step.step)
        ended = step.row is not None
        if step.row is not None:
            self._auc = f"AUC {step.row['auc']:.4f}"
        figures = [
            f"epoch {step.epoch}/{step.epochs}",
            f"loss {step.loss:.4f}",
            _rate(step.rate),
            # A log has it from the line of the epoch's end.
            self._auc if ended or self._style == "bar" else "",
            _left(step.left),
        ]
        done, total = (step.epoch - 1) * step.steps + step.step, step.epochs * step.steps
        validates = step.step == step.steps and not ended
        self._tell(done, total, figures, milestone=ended, validates=validates)

    def _count(self, work: str, done: int, total: int) -> None:
        self._begin(work, done)
        figures = [f"{done}/{total}"] if self._style == "bar" else []
        seconds = time.monotonic() - self._begun
        if done > self._first and seconds:
            rate = (done - self._first) / seconds
            figures += [_rate(rate), _left((total - done) / rate)]
        self._tell(done, total, figures, milestone=done == total)

    def _begin(self, work: str, done: int) -> None:
        if work != self._work:
            self._close()
            self._work, self._first, self._begun = work, done, time.monotonic()

    def _tell(
        self, done: int, total: int, figures: Sequence[str], *, milestone: bool, validates: bool = False
    ) -> None:
        if self._style == "none":
            return
        at_terminal = self._style == "bar"
        waited = time.monotonic() - self._told >= (REFRESH if at_terminal else INTERVAL)
        if not (waited or milestone or (at_terminal and (validates or self._task is None))):
            return
        self._told = time.monotonic()
        told = [figure for figure in figures if figure]
        try:
            if at_terminal:
                self._show("validating" if validates else self._work, done, total, told)
                if milestone and done == total:
                    self._close()
            else:
                # rich would end the process where nobody reads any more.
                self._console.file.write(" ".join([self._work, f"{done}/{total}", *told]) + "\n")
                self._console.file.flush()
        except OSError:
            # A terminal that was closed is no reason to lose the training.
            self._style = "none"
            self._close()

    def _show(self, what: str, done: int, total: int, figures: list[str]) -> None:
        room = self._console.width - len(what) - TAKEN
        while len(figures) > 1 and len(" ".join(figures)) > room - SHORTEST_BAR:
            # The first says where it is and the last when it ends: they go last.
            del figures[1]
        text = " ".join(figures)
        self._column.bar_width = max(SHORTEST_BAR, room - len(text))
        if self._task is None:
            self._task = self._bar.add_task(what, completed=done, total=total, figures=text)
            self._bar.start()
        else:
            self._bar.update(self._task, description=what, completed=done, total=total, figures=text)
        self._bar.refresh()

    def _close(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            try:
                self._bar.stop()
            except (OSError, IndexError):
                # IndexError: rich could not even begin, and stumbles as it undoes that.
                self._style = "none"
            self._bar.remove_task(task)

    def __enter__(self) -> "TrainView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def _rate(rate: float) -> str:
    return f"{rate:.0f} images/s" if rate >= 9.95 else f"{rate:.1f} images/s"


def _left(seconds: float) -> str:
    if 0 < seconds < 60:
        return "<1 min left"
    return f"{seconds / 60:.0f} min left" if seconds < 36000 else f"{seconds / 3600:.1f} h left"
