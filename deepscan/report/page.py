"""Write the HTML page of a scan. It reads the records twice: for the overview, and for the details."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from deepscan.files import atomic_write
from deepscan.report import chart
from deepscan.report.method import describe_method
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
from deepscan.report.sentences import describe_errors, error_tag
from deepscan.report.standing import read_standing
from deepscan.report.video import VideoDetail, video_detail
from deepscan.scanning.reading import open_records
from deepscan.scanning.record_lines import utc_now
from deepscan.scanning.record_source import RecordsLocation, ScanRecords, is_run_folder
from deepscan.scanning.summary import VERDICT_LABELS, counted, printable, shared_folder
from deepscan.storage.address import is_address
from deepscan.version import __version__

#: A histogram is shown from this many videos with a score.
ENOUGH = 10
#: Letters of the case, exhibit and examiner that fit into the footer of a printed page.
FOOT = 40


@dataclass(frozen=True, slots=True)
class VideoSources:
    """Where the videos of a scan are.

    Attributes:
        root: The folder in which they are now, None for the recorded paths.
    """

    root: Path | None = None


def write_page(
    location: RecordsLocation,
    out: Path,
    *,
    most: int,
    sources: VideoSources | None = None,
    on_progress: OnPageProgress | None = None,
    warn: Callable[[str], None] | None = None,
    alarm: Callable[[str], None] | None = None,
) -> int:
    """Write the page of a scan, atomically.

    Args:
        location: The records, see `open_records`.
        out: The page to write.
        most: Maximum number of videos shown in detail, worst first. The table has all of them.
        sources: Where to take pictures from the videos; None to use the pictures stored by the scan.
        on_progress: Called with what is counted (megabytes read, videos read again, videos drawn), the number
            done and the total.
        warn: Called with what the page lacks: the run's file, videos of the run, or pictures of a video, a
            line each.
        alarm: Called with what was changed since the scan, if anything was; the page says so at its top.

    Returns:
        Number of videos.

    Raises:
        ContractError: The records or the run's file are not from this version, or not from one run.
        DeepscanError: The page cannot be written.
    """
    records = open_records(location)
    standing = read_standing(records)
    if alarm is not None and standing.alarm:
        alarm(standing.alarm)
    overview = read_overview(records, standing, on_progress)
    rows = [row.summary for row in overview.rows]
    run = read_run_info(records, overview.first, len(rows))
    kinds = Counter(row.kind for row in rows)
    votes = [row.agreement for row in rows if row.agreement]
    scored = [row for row in rows if row.score is not None]
    room = PictureRoom()
    shown = _detailed(overview, most)
    detailed = list(_videos(records, shown, run, sources, room, on_progress))
    folder = records.pictures and records.pictures.path
    kept = any(video.kept for _, video in detailed)
    gone = folder.name if folder and sources is None and kept and not folder.is_dir() else ""
    bare = sources is None and any(video.persons for _, video in detailed) and (not kept or bool(gone))
    notes = [f"{video.row.path}: {video.note}" for _, video in detailed if video.note]
    if gone:
        notes.insert(0, f"{gone}, the folder of pictures, is not next to the records")
    for note in [*run.lacks, *notes]:
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
        labels=VERDICT_LABELS | {"failed": "failed", "outcome": "without a score"},
        agreed=sum(agreeing == voting for agreeing, voting in votes),
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
        method=describe_method(records, run, overview.decoders, overview.warned),
    )
    with atomic_write(out) as file:
        file.write(page.encode())
    return len(rows)


def default_page(location: RecordsLocation) -> Path:
    """Return the path of the page of a scan, unless another is named: next to the records.

    The page of a run in an object store is in the current folder.
    """
    text = os.fspath(location)
    if not is_run_folder(text):
        return Path(text).with_suffix(".html")
    if is_address(text):
        return Path(f"{text.rstrip('/').rpartition('/')[2]}.html")
    folder = Path(text)
    # The current folder and its parent have no names of their own.
    folder = folder if folder.name not in ("", "..") else folder.resolve()
    return folder.with_name(f"{folder.name}.html")


def _detailed(overview: Overview, most: int) -> list[OverviewRow]:
    """Return the videos to show in detail, one of each set of equal files, and number them."""
    rows = [row for row in overview.rows if row.same_as is None][:most]
    for number, row in enumerate(rows, start=1):
        row.number = number
    return rows


def _videos(
    records: ScanRecords,
    rows: Sequence[OverviewRow],
    run: RunInfo,
    sources: VideoSources | None,
    room: PictureRoom,
    on_progress: OnPageProgress | None,
) -> Iterator[tuple[OverviewRow, VideoDetail]]:
    places = [row.place for row in rows]
    show = on_progress or (lambda what, done, total: None)
    taken: Mapping[int, VideoPictures] | None = None
    if sources is not None:
        taken = retake_pictures(
            records.at(places),
            run,
            root=sources.root,
            on_progress=lambda done: show("videos read again", done, len(places)),
        )
    for number, record in enumerate(records.at(places)):
        with understood(records, record):
            if taken is None:
                pictures = stored_pictures(record, records.pictures)
            else:
                # Videos that were not read are those for which the page has no room.
                room.full = room.full or number not in taken
                pictures = taken.get(number, VideoPictures())
            video = video_detail(record, run, room.admit(pictures))
        yield rows[number], video
        show("videos drawn", number + 1, len(places))


def _picture_command(records: ScanRecords, out: Path) -> str:
    """Return the command that makes the same page with pictures."""
    own = [] if out.resolve() == default_page(records.location).resolve() else ["--out", str(out)]
    return shlex.join(["deepscan", "report", records.location, "--pictures", *own, "--overwrite"])


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
    environment.globals["describe_errors"] = describe_errors
    return environment.get_template("page.html")


def _css_string(text: str) -> Markup:
    """Return a text as a CSS string in which every special character is escaped."""
    spelled = (c if c.isascii() and c.isalnum() else f"\\{ord(c):X} " for c in printable(text))
    # Only letters, digits and escapes are left.
    return Markup(f'"{"".join(spelled)}"')
