"""The table of a scan: most suspicious first, one line per video if it fits, and nothing cut off."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.cells import cell_len
from rich.text import Text

from deepscan.cards import Calibration
from deepscan.cli.wrapping import wrap
from deepscan.report.chart import format_score
from deepscan.scanning.summary import VERDICT_LABELS, VideoSummary, printable, shared_folder
from deepscan.storage.address import is_address

#: Key of `summary.VERDICT_LABELS` -> style.
STYLES = {
    "fake": "bold red",
    "inconclusive": "yellow",
    "failed": "magenta",
    "no_evidence": "green",
    "outcome": "dim",
}
GAP = "  "
#: With fewer columns for names, the persons that were seen go on a line below.
LEAST_NAME = 24
#: With fewer columns for a note below a name, the note starts further left.
LEAST_NOTE = 40


def scan_table(
    rows: Sequence[VideoSummary],
    width: int,
    *,
    most: int | None = None,
    total: int | None = None,
    out: Path | None = None,
    calibration: Calibration | None = None,
) -> Text:
    """Return the table of a scan.

    Args:
        rows: Summaries of the videos, in any order.
        width: Width of the terminal in columns.
        most: Most rows to show; None for all.
        total: Number of videos, if there are more than rows.
        out: File of all records, for the line that counts the other rows.
        calibration: Calibration if there is one model, so that no score is rounded past a threshold.
    """
    shown = sorted(rows, key=lambda row: row.rank)[:most]
    # The root folder tells nothing, and the current folder is obvious.
    shared = shared_folder(row.path for row in shown) if len(shown) > 1 else ""
    folder = shown_path(shared) if shared.strip("/") else ""
    names = [printable(row.path.removeprefix(shared)) if folder else shown_path(row.path) for row in shown]
    agree = [_agreement(row) for row in shown] if any(row.models for row in shown) else []
    scores = ["" if row.score is None else format_score(row.score, calibration) for row in shown]
    columns = [
        _column("verdict", [row.label for row in shown]),
        _column("score", scores, right=True),
        *([_column("agree", agree, right=True)] if agree else []),
    ]
    layout = _Layout(width, sum(cell_len(each[0]) + len(GAP) for each in columns), names, shown)
    lines = _plain(wrap(f"in {folder}", width), "") if folder else []
    seen = "seen" if any(row.seen for row in shown) else ""
    lines += layout.row([Text(each[0], "bold") for each in columns], "video", seen, "bold")
    for at, (row, name) in enumerate(zip(shown, names, strict=True)):
        cells = [Text(each[1 + at]) for each in columns]
        cells[0].stylize(STYLES[row.kind])
        lines += layout.row(cells, name, row.seen)
        lines += layout.opinions(row)
        notes = [printable(row.note)] if row.note else []
        if row.copied_from:
            equal = row.copied_from.removeprefix(shared) if folder else row.copied_from
            notes.append(f"same content as {printable(equal) if folder else shown_path(equal)}")
        for note in notes:
            lines += _plain(wrap(note, width, layout.note_indent), "dim")
    if left := (total or len(rows)) - len(shown):
        lines += _plain(wrap(f"... and {left:,} more in {out}", width), "dim")
    return Text("\n").join(lines)


class WorstRows:
    """Summaries of the videos of a scan, of which only those that a table shows are kept.

    Args:
        most: Most rows of the table; None for all.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._rows: list[VideoSummary] = []
        self.count = 0
        self.judged = False
        #: Number of videos on which several models voted, and of those on which they agree.
        self.voted, self.agreed = 0, 0

    def add(self, row: VideoSummary) -> None:
        """Add a video."""
        self.count += 1
        self.judged = self.judged or row.verdict is not None
        if row.agreement:
            agreeing, voting = row.agreement
            self.voted, self.agreed = self.voted + 1, self.agreed + (agreeing == voting)
        self._rows.append(row)
        # Sorting rarely costs little.
        if self._most is not None and len(self._rows) >= 20 * self._most:
            self._rows = sorted(self._rows, key=lambda row: row.rank)[: self._most]

    def table(self, width: int, *, out: Path | None, calibration: Calibration | None) -> Text:
        """Return the table, see `scan_table`."""
        return scan_table(
            self._rows, width, most=self._most, total=self.count, out=out, calibration=calibration
        )


class _Layout:
    """Places the names and the persons that were seen.

    Args:
        width: Width of the terminal in columns.
        left: Columns before the name.
        names: Names of all rows.
        rows: The rows.
    """

    def __init__(self, width: int, left: int, names: Iterable[str], rows: Iterable[VideoSummary]) -> None:
        self._width, self._left = width, left
        seen = max((cell_len(row.seen) for row in rows), default=0)
        room = width - left - seen - len(GAP)
        longest = max((cell_len(name) for name in names), default=0)
        #: Columns for names; 0 if the persons that were seen go on a line below.
        self._room = min(max(longest, len("video")), room) if room >= min(longest, LEAST_NAME) else 0
        self._narrow = min(4, width // 4)
        self.note_indent = left + 2 if width - left - 2 >= LEAST_NOTE else self._narrow

    def row(self, cells: Sequence[Text], name: str, seen: str, style: str = "") -> list[Text]:
        """Return the lines of a row."""
        start = Text(GAP).join(cells)
        start.append(GAP)
        parts = wrap(name, self._width - self._left)
        last = name.rsplit("/", 1)[-1]
        if len(parts) > 1 and last not in parts[-1] and cell_len(last) <= self._width:
            # On separate lines, so that the file name stays in one piece.
            indent = self._narrow if cell_len(last) <= self._width - self._narrow else 0
            return [start, *_plain(wrap(name, self._width, indent), style), *self._below(seen)]
        lines = [
            Text.assemble(start, (parts[0], style)),
            *_plain((" " * self._left + p for p in parts[1:]), style),
        ]
        # A longer name moves the next column to the right, if there is room.
        used = max(cell_len(name), self._room) + len(GAP) + cell_len(seen)
        if not self._room or len(parts) > 1 or self._left + used > self._width or _mirrors(name):
            return lines if style else [*lines, *self._below(seen)]
        if seen:
            lines[0].append(" " * max(self._room - cell_len(name), 0) + GAP)
            lines[0].append(seen, style or "dim")
        return lines

    def opinions(self, row: VideoSummary) -> list[Text]:
        """Return the verdicts of several models: on one line, or one line each if that is too long."""
        verdicts = [
            Text.assemble(
                (f"{printable(each.name)} {each.score:.2f} ", "dim"),
                (VERDICT_LABELS[each.verdict], STYLES[each.verdict]),
            )
            for each in row.models
            if each.verdict is not None and each.score is not None
        ]
        together = Text(", ").join(verdicts)
        lines = [together] if together.cell_len <= self._width - self.note_indent else verdicts
        return [Text(" " * self.note_indent).append_text(line) for line in lines if line]

    def _below(self, seen: str) -> list[Text]:
        if not seen:
            return []
        column = self._left + self._room + len(GAP) if self._room else self.note_indent
        return _plain(wrap(seen, self._width, column), "dim")


def _plain(lines: Iterable[str], style: str) -> list[Text]:
    return [Text(line, style) for line in lines]


def _column(heading: str, cells: Sequence[str], *, right: bool = False) -> list[str]:
    """Return a heading and its cells, padded to the same width."""
    width = max(map(cell_len, (heading, *cells)))
    return [f"{each:>{width}}" if right else f"{each:<{width}}" for each in (heading, *cells)]


def _agreement(row: VideoSummary) -> str:
    return "{}/{}".format(*row.agreement) if row.agreement else ""


def _mirrors(text: str) -> bool:
    """Return whether a terminal may show text and the numbers next to it from right to left."""
    return any(unicodedata.bidirectional(letter) in ("R", "AL", "AN") for letter in text)


def shown_path(path: str) -> str:
    """Return a path for display: relative if that is shorter, with control characters escaped."""
    shortest = path
    if is_address(path):
        return printable(path)
    # If the current folder was deleted, no path is relative to it.
    with suppress(FileNotFoundError):
        relative = os.path.relpath(path) + ("/" if path.endswith("/") else "")
        shortest = min(path, "" if relative == "./" else relative, key=len)
    return printable(shortest)
