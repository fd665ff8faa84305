"""The page: the records are read twice, once for the overview and once for the videos shown in detail."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from os.path import commonpath, dirname
from pathlib import Path
from typing import Any

import jinja2

import deepscan
from deepscan.report import chart
from deepscan.report.run import Run, read_run
from deepscan.report.video import Video, video_of
from deepscan.scan.journal import read_journal, replaced
from deepscan.scan.records import utc_now
from deepscan.scan.rows import KINDS, Row, printable, row

#: Told a kind of work, how much of it is done and how much there is.
Progress = Callable[[str, int, int], None]

#: Videos with a score from which on a histogram says more than the table.
ENOUGH = 10
OPPOSITES = {"fake", "no_evidence"}


@dataclass(frozen=True, slots=True)
class Pair:
    """How two models agree.

    Attributes:
        names: Of both.
        videos: That both have judged.
        same: Of these, where they say the same.
        opposite: Where one says fake and the other no_evidence.
    """

    names: tuple[str, str]
    videos: int
    same: int
    opposite: int


@dataclass(slots=True)
class Overview:
    """What the first reading finds.

    Attributes:
        rows: Row of each video, and where its line begins.
        first: One of the records with a model, else any, None where there is none.
    """

    rows: list[tuple[Row, int]] = field(default_factory=list)
    first: Mapping[str, Any] | None = None

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """How every two models that have a vote agree."""
        said: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
        for one, _ in self.rows:
            voting = [(each.name, each.verdict) for each in one.models if each.votes and each.verdict]
            for (a, of_a), (b, of_b) in combinations(voting, 2):
                said[a, b].append({of_a, of_b})
        return tuple(
            Pair(names, len(both), sum(len(each) == 1 for each in both), both.count(OPPOSITES))
            for names, both in said.items()
        )


def write_page(records: Path, out: Path, *, most: int, progress: Progress | None = None) -> int:
    """Write the page of a scan, whole or not at all.

    Args:
        records: The journal; `*.run.json` beside it describes the run.
        out: The page.
        most: Videos at most that are shown in detail, the worst first; all are in the table.
        progress: Told how many megabytes have been read, and then how many videos were drawn.

    Returns:
        How many videos there are.

    Raises:
        ContractError: The records, or the run's, are not of this version or not of one run.
        DeepscanError: The page cannot be written.
    """
    overview = _overview(records, progress)
    run = read_run(records, overview.first)
    ordered = sorted(overview.rows, key=lambda each: each[0].rank)
    rows = [one for one, _ in ordered]
    kinds = Counter(one.kind for one in rows)
    agreements = [one.agreement for one in rows if one.agreement]
    scored = [one for one in rows if one.score is not None]
    page = _template().generate(
        name=records.name,
        made=utc_now(),
        version=deepscan.__version__,
        run=run,
        described=bool(run.facts),
        rows=rows,
        folder=_shared_folder(rows),
        kinds={kind: kinds[kind] for kind in KINDS if kinds[kind]},
        words=KINDS | {"failed": "failed", "outcome": "without a score"},
        agreed=sum(said == voting for said, voting in agreements),
        votes=len(agreements),
        pairs=overview.pairs,
        histogram=chart.histogram(scored) if len(scored) >= ENOUGH else (),
        chart=chart,
        videos=_videos(records, [offset for _, offset in ordered[:most]], run, progress),
        shown=len(ordered[:most]),
    )
    with replaced(out) as file:
        for part in page:
            file.write(part.encode("utf-8", "replace"))
    return len(rows)


def _overview(records: Path, progress: Progress | None) -> Overview:
    found, size = Overview(), records.stat().st_size
    for offset, line, record in read_journal(records):
        found.rows.append((row(record), offset))
        if found.first is None or (found.first["model"] is None and record["model"]):
            found.first = record
        if progress is not None:
            progress("megabytes read", (offset + len(line)) // 10**6, size // 10**6)
    return found


def _videos(records: Path, offsets: Sequence[int], run: Run, progress: Progress | None) -> Iterator[Video]:
    with records.open("rb") as file:
        for done, offset in enumerate(offsets, start=1):
            file.seek(offset)
            yield video_of(json.loads(file.readline()), run)
            if progress is not None:
                progress("videos drawn", done, len(offsets))


def _shared_folder(rows: Sequence[Row]) -> str:
    """Return the folder that all videos are below, with its last slash; empty where they share none."""
    folders = [dirname(one.path) for one in rows]
    shared = commonpath(folders) if folders and all(folder.startswith("/") for folder in folders) else ""
    return f"{shared.rstrip('/')}/" if shared else ""


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deepscan", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["printable"] = printable
    return environment.get_template("page.html")
