"""The table that a person reads: worst first, one row a video."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepscan.scan.fusion import agreement

#: What is said of a video, in the order in which a person wants to see it -> its words and its style.
SAID = {
    "fake": ("fake", "bold red"),
    "inconclusive": ("inconclusive", "yellow"),
    "failed": ("", "magenta"),
    "no_evidence": ("no evidence", "green"),
    "outcome": ("", "dim"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What the table needs of a record, for ten thousand whole records would fill the memory.

    Of several models it has each one's name, verdict and score, and how far they agree.
    """

    path: str
    status: str
    verdict: str | None
    score: float | None
    note: str
    persons: int
    faces: int
    sampled: int
    models: tuple[tuple[str, str | None, float | None], ...] = ()
    agreement: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """The key of what is said of the video."""
        if self.status in ("no_face", "too_short"):
            return "outcome"
        return "failed" if self.status != "ok" else self.verdict or "outcome"

    @property
    def rank(self) -> tuple[int, float, str]:
        """Where it stands among others."""
        return list(SAID).index(self.kind), -(self.score or 0.0), self.path


def row(record: Mapping[str, Any]) -> Row:
    """Return the row of a record."""
    return Row(
        path=record["path"],
        status=record["status"],
        verdict=record["verdict"],
        score=record["score"],
        note=record["detail"] or "; ".join(record["warnings"]),
        persons=len(record["tracks"]),
        faces=sum(frame["track"] is not None for frame in record["frames"]),
        sampled=len({frame["index"] for frame in record["frames"]}),
        models=tuple((model["name"], model["verdict"], model["score"]) for model in record.get("models", ())),
        agreement=agreement(record),
    )


def table(rows: Sequence[Row], most: int | None, out: Path | None) -> RenderableType:
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
        words, style = SAID[row.kind]
        video = Text(shown_path(row.path))
        video.append_text(_opinions(row))
        if row.note:
            video.append(f"\n  {row.note}", style="dim")
        seen = row.status == "ok"
        grid.add_row(
            Text(words or row.status, style=style),
            "" if row.score is None else f"{row.score:.2f}",
            *([] if not several else ["{}/{}".format(*row.agreement) if row.agreement else ""]),
            video,
            str(row.persons) if seen else "",
            f"{row.faces}/{row.sampled}" if seen else "",
        )
    left = len(ordered) - len(ordered[:most])
    return Group(grid, Text(f"... and {left} more in {out}", style="dim")) if left else grid


def _opinions(row: Row) -> Text:
    """Return what each of several models says, on a line of its own."""
    said = [
        Text.assemble((f"{printable(name)} {score:.2f} ", "dim"), (SAID[verdict][0], SAID[verdict][1]))
        for name, verdict, score in row.models
        if verdict is not None and score is not None
    ]
    return Text.assemble("\n  ", Text(", ").join(said)) if said else Text()


def shown_path(path: str) -> str:
    """Return a path for people: relative where that is shorter, control characters spelled out."""
    shortest = path
    # Where the current folder has been removed, nothing is relative to it.
    with suppress(FileNotFoundError):
        shortest = min(path, os.path.relpath(path), key=len)
    return printable(shortest)


def printable(text: str) -> str:
    """Return a line with its control characters spelled out: names may hold what changes a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
