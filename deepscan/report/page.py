"""The page: the records are read twice, once for the overview and once for the videos shown in detail."""

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import jinja2

import deepscan
from deepscan.errors import ContractError
from deepscan.files import atomic_write
from deepscan.report import chart
from deepscan.report.pictures import PictureRoom, VideoPictures, stored_pictures
from deepscan.report.retaking import retake_pictures
from deepscan.report.run_info import RunInfo, read_run_info
from deepscan.report.video import VideoDetail, video_detail
from deepscan.scanning.journal import read_journal
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.records import utc_now
from deepscan.scanning.summary import (
    VERDICT_LABELS,
    VideoSummary,
    printable,
    shared_folder,
    summarise_record,
)

#: Progress callback: what is counted, how many are done, and how many there are.
OnPageProgress = Callable[[str, int, int], None]

#: Videos with a score from which on a histogram says more than the table.
ENOUGH = 10
OPPOSITES = {"fake", "no_evidence"}


@dataclass(frozen=True, slots=True)
class VideoSources:
    """Where the videos of a scan are.

    Attributes:
        root: The folder that they are in now, None for the recorded paths.
    """

    root: Path | None = None


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


def write_page(
    records: Path,
    out: Path,
    *,
    most: int,
    sources: VideoSources | None = None,
    on_progress: OnPageProgress | None = None,
    warn: Callable[[str], None] | None = None,
) -> int:
    """Write the page of a scan, whole or not at all.

    Args:
        records: The journal; `*.run.json` beside it describes the run.
        out: The page.
        most: Videos at most that are shown in detail, the worst first; all are in the table.
        sources: Take the pictures from the videos, which are there; None for those that the scan has kept.
        on_progress: Called with what is counted (megabytes read, videos read again, videos drawn), how many,
            of how many.
        warn: Told of each video whose pictures cannot be shown although they are wanted.

    Returns:
        How many videos there are.

    Raises:
        ContractError: The records, or the run's, are not of this version or not of one run.
        DeepscanError: The page cannot be written.
    """
    found, first = _read(records, on_progress)
    run = read_run_info(records, first, len(found))
    found.sort(key=lambda each: each[0].rank)
    rows = [one for one, _ in found]
    kinds = Counter(one.kind for one in rows)
    votes = [one.agreement for one in rows if one.agreement]
    scored = [one for one in rows if one.score is not None]
    offsets = [offset for _, offset in found[:most]]
    room = PictureRoom()
    detailed = list(_videos(records, offsets, run, sources, room, on_progress))
    bare = sources is None and any(video.persons for video in detailed)
    bare = bare and not any(video.kept for video in detailed)
    for video in detailed:
        if video.note and warn is not None:
            warn(f"{video.row.path}: {video.note}")
    page = _template(run).render(
        name=records.name,
        made=utc_now(),
        version=deepscan.__version__,
        run=run,
        rows=rows,
        folder=shared_folder(row.path for row in rows),
        kinds={kind: kinds[kind] for kind in VERDICT_LABELS if kinds[kind]},
        words=VERDICT_LABELS | {"failed": "failed", "outcome": "without a score"},
        agreed=sum(said == voting for said, voting in votes),
        votes=len(votes),
        pairs=_pairs(rows),
        histogram=chart.histogram(scored) if len(scored) >= ENOUGH else None,
        chart=chart,
        videos=detailed,
        shown=len(detailed),
        pictured=sum(video.pictured for video in detailed),
        full=room.full,
        take_pictures=_picture_command(records, out) if bare else "",
    )
    with atomic_write(out) as file:
        file.write(page.encode())
    return len(rows)


def _read(
    records: Path, on_progress: OnPageProgress | None
) -> tuple[list[tuple[VideoSummary, int]], Mapping[str, Any] | None]:
    """Return the row of each video with the place of its line, and the first record."""
    rows: list[tuple[VideoSummary, int]] = []
    first, size = None, records.stat().st_size
    for offset, line, record in read_journal(records):
        first = first or record
        with _understood(records, record):
            if record["run"] != first["run"]:
                raise ContractError(
                    f"{records} holds records of two runs, {first['run']} and {record['run']}",
                    "make a page of each run",
                )
            found = summarise_record(record)
            rows.append((found, offset))
        if on_progress is not None:
            on_progress("megabytes read", (offset + len(line)) // 10**6, size // 10**6)
    return rows, first


def _videos(
    records: Path,
    offsets: Sequence[int],
    run: RunInfo,
    sources: VideoSources | None,
    room: PictureRoom,
    on_progress: OnPageProgress | None,
) -> Iterator[VideoDetail]:
    show = on_progress or (lambda what, done, total: None)
    taken: Mapping[int, VideoPictures] | None = None
    if sources is not None:
        taken = retake_pictures(
            _records_at(records, offsets),
            run,
            root=sources.root,
            on_progress=lambda done: show("videos read again", done, len(offsets)),
        )
    for number, record in enumerate(_records_at(records, offsets)):
        with _understood(records, record):
            if taken is None:
                pictures = stored_pictures(record, ScanOutput(records).pictures)
            else:
                # Those that were not read any more are what the page has no room for.
                room.full = room.full or number not in taken
                pictures = taken.get(number, VideoPictures())
            video = video_detail(record, run, room.admit(pictures))
        yield video
        show("videos drawn", number + 1, len(offsets))


def _records_at(records: Path, offsets: Sequence[int]) -> Iterator[dict[str, Any]]:
    with records.open("rb") as file:
        for offset in offsets:
            file.seek(offset)
            yield json.loads(file.readline())


def _picture_command(records: Path, out: Path) -> str:
    """Return the command that makes the same page with pictures."""
    own = [] if out.resolve() == records.with_suffix(".html").resolve() else ["--out", str(out)]
    return shlex.join(["deepscan", "report", str(records), "--pictures", *own, "--overwrite"])


@contextmanager
def _understood(records: Path, record: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{records}: the record of {record['path']} is not as this version writes it: {error!r}",
            "scan with this version",
        )


def _pairs(rows: Sequence[VideoSummary]) -> list[Pair]:
    """Return how every two models that have a vote agree."""
    said: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    for models in (one.models for one in rows):
        voting = [(each.name, each.verdict) for each in models if each.votes and each.verdict]
        for (a, of_a), (b, of_b) in combinations(voting, 2):
            said[a, b].append({of_a, of_b})
    return [
        Pair(names, len(both), sum(len(each) == 1 for each in both), both.count(OPPOSITES))
        for names, both in said.items()
    ]


def _template(run: RunInfo) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deepscan", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["printable"] = printable
    environment.filters["below"] = lambda path, folder: printable(path.removeprefix(folder))
    environment.filters["score"] = lambda score, name="": (
        "" if score is None else chart.format_score(score, run.calibration_of(name))
    )
    return environment.get_template("page.html")
