"""The table that a person reads: worst first, one row a video."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

#: What is said of a video, in the order in which a person wants to see it -> its words and its style.
SAID = {
    "fake": ("fake", "bold red"),
    "inconclusive": ("inconclusive", "yellow"),
    "failed": ("", "magenta"),
    "no_evidence": ("no evidence", "green"),
    "outcome": ("", "dim"),
}


def table(records: Sequence[Mapping[str, Any]], most: int | None, out: Path | None) -> RenderableType:
    """Return the table of a scan.

    Args:
        records: Of `Display`, without frames but with counts of `faces` and `sampled`.
        most: Rows at most, None for all.
        out: Where all records are, for the line that counts the rows left out.
    """
    grid = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    grid.add_column("verdict", no_wrap=True)
    grid.add_column("score", justify="right", no_wrap=True)
    grid.add_column("video", overflow="fold", ratio=1)
    grid.add_column("persons", justify="right", no_wrap=True)
    grid.add_column("faces", justify="right", no_wrap=True)
    ordered = sorted(records, key=_rank)
    for record in ordered[:most]:
        words, style = SAID[_kind(record)]
        score = record["score"]
        note = record["detail"] or "; ".join(record["warnings"])
        video = Text(shown_path(record))
        if note:
            video.append(f"\n  {note}", style="dim")
        seen = record["status"] == "ok"
        grid.add_row(
            Text(words or record["status"], style=style),
            "" if score is None else f"{score:.2f}",
            video,
            str(len(record["tracks"])) if seen else "",
            f"{record['faces']}/{record['sampled']}" if seen else "",
        )
    left = len(ordered) - len(ordered[:most])
    return Group(grid, Text(f"... and {left} more in {out}", style="dim")) if left else grid


def shown_path(record: Mapping[str, Any]) -> str:
    """Return a path for people: relative where that is shorter, control characters spelled out."""
    path = record["path"]
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    shortest = min(path, relative, key=len)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shortest)


def _kind(record: Mapping[str, Any]) -> str:
    if record["status"] in ("no_face", "too_short"):
        return "outcome"
    if record["status"] != "ok":
        return "failed"
    return record["verdict"] or "outcome"


def _rank(record: Mapping[str, Any]) -> tuple[int, float, str]:
    return list(SAID).index(_kind(record)), -(record["score"] or 0.0), record["path"]
