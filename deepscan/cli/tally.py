"""What `prepare` shows while it runs, and what became of the videos when it has ended; all on stderr."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from deepscan.cli.progress import INTERVAL, counter
from deepscan.data.prepare import Listener
from deepscan.media.frames import FAILURES, STATUSES

if TYPE_CHECKING:
    from deepscan.data.prepare import Prepared

#: Reasons for drops that are shown, the most frequent first.
MOST_REASONS = 8


class Tally(Listener):
    """Tells a person, or a log, how the preparing of one data set goes; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        name: Of the data set.
        root: Where its videos are.
    """

    def __init__(self, style: str, name: str, root: Path) -> None:
        # rich would take a pipe for a terminal where FORCE_COLOR is set.
        at_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._console = Console(force_terminal=at_terminal, stderr=True)
        self._style = "bar" if style == "auto" and at_terminal else style
        self._name, self._root = name, root
        self._done = self._total = 0
        self._begun = self._told = time.monotonic()
        self._bar = counter(self._console)
        self._task = self._bar.add_task(f"{name}: listing", total=None)

    def planned(self, todo: int, done: int) -> None:
        """Begin to count."""
        self._total = todo
        self._begun = self._told = time.monotonic()
        self._bar.reset(self._task, description=self._name, total=todo)
        before = f", {done} done before" if done else ""
        self.note(f"{self._name}: {todo} of {todo + done} videos to cut{before}")

    def ended(self, line: Mapping[str, Any]) -> None:
        """Count a video, and say why it failed if it did."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        if line["status"] in FAILURES:
            self.note(f"{_called(line)}: {line['status']}: {line['detail']}")
        if self._style in ("auto", "plain") and time.monotonic() - self._told >= INTERVAL:
            self._told = time.monotonic()
            rate = self._done / (self._told - self._begun)
            left = (self._total - self._done) / rate / 60
            self.note(f"{self._done}/{self._total} videos, {rate * 60:.1f} a minute, {left:.0f} min left")

    def show_summary(self, prepared: "Prepared") -> None:
        """Say how many there are of each label, split and status, and why some were dropped."""
        if self._done:
            seconds = time.monotonic() - self._begun
            self.note(f"{self._done} videos in {seconds:.1f} s, {self._done / seconds * 60:.1f} a minute")
        for row in _table(prepared.lines):
            self.note(row)
        reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
        for line in prepared.lines:
            if line["status"] != "ok":
                reasons[line["status"], line["detail"]].append(_called(line))
        frequent = sorted(reasons.items(), key=lambda reason: -len(reason[1]))
        for (status, detail), videos in frequent[:MOST_REASONS]:
            others = ", ..." if len(videos) > 1 else ""
            self.note(f"dropped: {len(videos)} {status}: {detail} ({videos[0]}{others})")
        if len(frequent) > MOST_REASONS:
            self.note(f"dropped for other reasons: {sum(len(v) for _, v in frequent[MOST_REASONS:])}")
        warned = sum(bool(line["warnings"]) for line in prepared.lines)
        if warned:
            self.note(f"taken with a warning: {warned}")
        if prepared.repeated:
            self.note(f"named more than once, taken once: {prepared.repeated}")
        self.note(f"{prepared.json.name}: {prepared.videos} videos; each one's story: {prepared.journal}")

    def note(self, line: str) -> None:
        """Say something, unless nothing is to be said."""
        if self._style != "none":
            self._console.print(Text(line), soft_wrap=True, highlight=False)

    def __enter__(self) -> "Tally":
        if self._style == "bar":
            self._bar.start()
        else:
            self.note(f"{self._name}: listing the videos in {self._root}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._style == "bar":
            self._bar.stop()


def _called(line: Mapping[str, Any]) -> str:
    return "/".join(line[part] for part in ("compression", "kind", "split", "name") if line[part])


def _table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in lines:
        counts[line["kind"], line["split"]].update({line["status"]: 1, "crops": line["faces"]})
    there = [status for status in STATUSES if any(count[status] for count in counts.values())]
    rows = [["label", "split", *there, "crops"]]
    rows += [[*key, *(str(count[name]) for name in (*there, "crops"))] for key, count in counts.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
