"""`deepscan report`: the records of a scan as a page for people."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli import options as opt
from deepscan.errors import ExitCode, UsageError

SUFFIXES = (".html", ".htm")


def report(
    records: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.jsonl", help="Records that scan --out wrote, with FILE.run.json beside them."
        ),
    ],
    videos: Annotated[
        int,
        typer.Option(min=0, help="Videos to show in detail, the worst first. The table lists all."),
    ] = 200,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="Take pictures of the most telling frames and faces from the videos, of each after checking "
            "its SHA-256. Not needed after scan --evidence, which has kept them.",
        ),
    ] = False,
    root: Annotated[
        Path | None,
        opt.input_option(
            help="With --pictures, folder that the videos are in now, if they were moved, as for verify.",
            metavar="DIR",
            show_default="the recorded paths",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        opt.output_option(help="Page to write.", metavar="FILE.html", show_default="FILE.html"),
    ] = None,
    overwrite: opt.Overwrite = False,
    progress: opt.Progress = "auto",
) -> int:
    """Make a page of a scan: verdicts, scores over time, how far models agree.

    One file that needs no network. It lists files and hashes, the model, its
    thresholds and the command. After scan --evidence, or with --pictures, it
    shows the frames and faces with the highest scores, and what these were
    based on where the model says so.

    Exit code 0: the page is whole. 3: pictures of a video are missing, because
    it is not there or is not the one that was scanned. 4: the records or the
    run's file were changed since the scan; the page says so at its top.

    deepscan report videos.jsonl

    deepscan report videos.jsonl --pictures
    """
    from deepscan.cli.progress import ProgressView
    from deepscan.cli.progress import videos as counted
    from deepscan.report.page import VideoSources, write_page

    check_records(records)
    page = (out or records.with_suffix(".html")).resolve()
    if page.suffix.lower() not in SUFFIXES or page.is_dir():
        raise UsageError(f"--out {page} must end in .html", "name a file that ends in .html or .htm")
    if not page.parent.is_dir():
        raise UsageError(f"folder {page.parent} is missing", "make it, or name another file with --out")
    if page.exists() and not overwrite:
        raise UsageError(f"{page} exists", "name another file with --out, or add --overwrite")
    if root is not None and not pictures:
        raise UsageError("--root belongs to --pictures", "add --pictures, or leave --root out")
    if root is not None and not root.is_dir():
        raise UsageError(f"{root} is not a folder", "name a folder that is there")
    warnings: list[str] = []
    alarms: list[str] = []
    with ProgressView(progress) as view:
        count = write_page(
            records,
            page,
            most=videos,
            sources=VideoSources(root) if pictures else None,
            on_progress=partial(view.count, milestone=False),
            warn=warnings.append,
            alarm=alarms.append,
        )
        for line in [*(f"{alarm}: deepscan verify says more" for alarm in alarms), *warnings]:
            view.note(f"warning: {line}")
    typer.echo(f"{out or records.with_suffix('.html')}  {counted(count)}")
    if alarms:
        return int(ExitCode.CONTRACT)
    return int(ExitCode.SOME_FAILED if warnings else ExitCode.OK)


def check_records(path: Path) -> None:
    """Make sure that a file may be a journal.

    Raises:
        UsageError: It is not there, or another file of a scan.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name the records that scan --out wrote")
    if path.suffix != ".jsonl":
        journal = path.name.removesuffix(".run.json").removesuffix(path.suffix) + ".jsonl"
        raise UsageError(f"{path} holds no records of a scan", f"name its records: {path.with_name(journal)}")
