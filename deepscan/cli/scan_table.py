"""The table that a person reads: worst first, one row a video."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepscan.scanning.summary import VERDICT_LABELS, VideoSummary, printable

#: Key of `summary.VERDICT_LABELS` -> its style.
STYLES = {
    "fake": "bold red",
    "inconclusive": "yellow",
    "failed": "magenta",
    "no_evidence": "green",
    "outcome": "dim",
}


def scan_table(rows: Sequence[VideoSummary], most: int | None, out: Path | None) -> RenderableType:
    """Return the table of a scan.

    Args:
        rows: In any order.
        most: Rows at most, None for all.
        out: Where all records are, for the line that counts the rows left out.
    """
    grid = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    grid.add_column("verdict", no_wrap=True)
    grid.add_column("score", justify="right", no_wrap=True)
    several = any(row.models for row in rows)
    if several:
        grid.add_column("agree", justify="right", no_wrap=True)
    grid.add_column("video", overflow="fold", ratio=1, min_width=16)
    grid.add_column("persons", justify="right", no_wrap=True)
    grid.add_column("faces/frames", justify="right", no_wrap=True)
    ordered = sorted(rows, key=lambda row: row.rank)
    for row in ordered[:most]:
        video = Text(shown_path(row.path))
        video.append_text(_opinions(row))
        if row.note:
            video.append(f"\n  {row.note}", style="dim")
        seen = row.status == "ok"
        grid.add_row(
            Text(row.label, style=STYLES[row.kind]),
            "" if row.score is None else f"{row.score:.2f}",
            *([] if not several else ["{}/{}".format(*row.agreement) if row.agreement else ""]),
            video,
            str(row.persons) if seen else "",
            f"{row.faces}/{row.sampled}" if seen else "",
        )
    left = len(ordered) - len(ordered[:most])
    return Group(grid, Text(f"... and {left} more in {out}", style="dim")) if left else grid


def _opinions(row: VideoSummary) -> Text:
    """Return what each of several models says, on a line of its own."""
    said = [
        Text.assemble(
            (f"{printable(each.name)} {each.score:.2f} ", "dim"),
            (VERDICT_LABELS[each.verdict], STYLES[each.verdict]),
        )
        for each in row.models
        if each.verdict is not None and each.score is not None
    ]
    return Text.assemble("\n  ", Text(", ").join(said)) if said else Text()


def shown_path(path: str) -> str:
    """Return a path for people: relative where that is shorter, control characters spelled out."""
    shortest = path
    # Where the current folder has been removed, nothing is relative to it.
    with suppress(FileNotFoundError):
        shortest = min(path, os.path.relpath(path), key=len)
    return printable(shortest)
