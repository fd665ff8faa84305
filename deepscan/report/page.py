"""The page: the records are read twice, once for the overview and once for the videos shown in detail."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from deepscan.files import atomic_write
from deepscan.report import chart
from deepscan.report.method import method_words
from deepscan.report.overview import (
    OnPageProgress,
    Overview,
    OverviewRow,
    model_pairs,
    read_overview,
    understood,
)
from deepscan.report.pictures import PictureRoom, VideoPictures, stored_pictures
from deepscan.report.retaking import retake_pictures
from deepscan.report.run_info import RunInfo, read_run_info
from deepscan.report.sentences import error_tag, error_words
from deepscan.report.standing import read_standing
from deepscan.report.video import VideoDetail, video_detail
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.record_lines import utc_now
from deepscan.scanning.summary import VERDICT_LABELS, counted, printable, shared_folder
from deepscan.version import __version__

#: Videos with a score from which on a histogram says more than the table.
ENOUGH = 10
#: Letters of each of case, exhibit and examiner at the foot of a page of paper.
FOOT = 40


@dataclass(frozen=True, slots=True)
class VideoSources:
    """Where the videos of a scan are.

    Attributes:
        root: The folder that they are in now, None for the recorded paths.
    """

    root: Path | None = None


def write_page(
    records: Path,
    out: Path,
    *,
    most: int,
    sources: VideoSources | None = None,
    on_progress: OnPageProgress | None = None,
    warn: Callable[[str], None] | None = None,
    alarm: Callable[[str], None] | None = None,
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
        alarm: Told what was changed since the scan, where something was: the page says so at its top.

    Returns:
        How many videos there are.

    Raises:
        ContractError: The records, or the run's, are not of this version or not of one run.
        DeepscanError: The page cannot be written.
    """
    standing = read_standing(records)
    if alarm is not None and standing.alarm:
        alarm(standing.alarm)
    overview = read_overview(records, standing, on_progress)
    rows = [row.summary for row in overview.rows]
    run = read_run_info(records, overview.first, len(rows))
    kinds = Counter(one.kind for one in rows)
    votes = [one.agreement for one in rows if one.agreement]
    scored = [one for one in rows if one.score is not None]
    room = PictureRoom()
    shown = _detailed(overview, most)
    detailed = list(_videos(records, shown, run, sources, room, on_progress))
    folder = ScanOutput(records).pictures.path
    kept = any(video.kept for _, video in detailed)
    gone = folder.name if sources is None and kept and not folder.is_dir() else ""
    bare = sources is None and any(video.persons for _, video in detailed) and (not kept or bool(gone))
    notes = [f"{video.row.path}: {video.note}" for _, video in detailed if video.note]
    for note in [f"{gone}, which holds the pictures, is not beside the records"] * bool(gone) + notes:
        if warn is not None:
            warn(note)
    page = _template(run).render(
        name=records.name,
        made=utc_now(),
        version=__version__,
        run=run,
        standing=standing,
        rows=overview.rows,
        copied=overview.copied,
        shared=overview.shared,
        doubted=sum(bool(row.doubts) for row in overview.rows),
        folder=shared_folder(row.path for row in rows),
        kinds={kind: kinds[kind] for kind in VERDICT_LABELS if kinds[kind]},
        words=VERDICT_LABELS | {"failed": "failed", "outcome": "without a score"},
        agreed=sum(said == voting for said, voting in votes),
        votes=len(votes),
        pairs=model_pairs(rows),
        histogram=chart.histogram(scored) if len(scored) >= ENOUGH else None,
        chart=chart,
        videos=detailed,
        shown=len(detailed),
        pictured=sum(video.pictured for _, video in detailed),
        full=room.full,
        gone=gone,
        take_pictures=_picture_command(records, out) if bare else "",
        foot="; ".join(
            [*(f"{name} {text[:FOOT]}" for name, text in run.custody.items()), f"records {standing.found}"]
        ),
        method=method_words(records, run, overview.decoders, overview.warned),
    )
    with atomic_write(out) as file:
        file.write(page.encode())
    return len(rows)


def _detailed(overview: Overview, most: int) -> list[OverviewRow]:
    """Return the videos that are shown in detail, of equal files one, and number them."""
    rows = [row for row in overview.rows if row.same_as is None][:most]
    for number, row in enumerate(rows, start=1):
        row.number = number
    return rows


def _videos(
    records: Path,
    rows: Sequence[OverviewRow],
    run: RunInfo,
    sources: VideoSources | None,
    room: PictureRoom,
    on_progress: OnPageProgress | None,
) -> Iterator[tuple[OverviewRow, VideoDetail]]:
    offsets = [row.offset for row in rows]
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
        with understood(records, record):
            if taken is None:
                pictures = stored_pictures(record, ScanOutput(records).pictures)
            else:
                # Those that were not read any more are what the page has no room for.
                room.full = room.full or number not in taken
                pictures = taken.get(number, VideoPictures())
            video = video_detail(record, run, room.admit(pictures))
        yield rows[number], video
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
    environment.filters["css"] = _css_string
    environment.globals["counted"] = counted
    environment.globals["error_tag"] = lambda row: error_tag(
        row.verdict, run, [model.name for model in row.models if model.votes]
    )
    environment.globals["error_words"] = error_words
    return environment.get_template("page.html")


def _css_string(text: str) -> Markup:
    """Return a text as a string of a style sheet, in which nothing of it has a meaning."""
    spelled = (c if c.isascii() and c.isalnum() else f"\\{ord(c):X} " for c in printable(text))
    # Nothing but letters, digits and what is spelled out is left in it.
    return Markup(f'"{"".join(spelled)}"')
