"""`deepscan report`: the records of a scan as a page for people."""

from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli.options import OUTPUT, Overwrite, progress_option
from deepscan.errors import UsageError


def report(
    records: Annotated[
        Path,
        typer.Argument(metavar="FILE.jsonl", help="What scan --out wrote; FILE.run.json belongs beside it."),
    ],
    videos: Annotated[
        int,
        typer.Option(min=0, help="Videos shown in detail, the worst first; the table has all of them."),
    ] = 200,
    out: Annotated[
        Path | None,
        typer.Option(help="The page.", metavar="FILE.html", show_default="FILE.html", rich_help_panel=OUTPUT),
    ] = None,
    overwrite: Overwrite = False,
    progress: Annotated[str, progress_option(OUTPUT)] = "auto",
) -> None:
    """Make one page of a scan: verdicts, scores over time, how far models agree.

    The page is made from the records alone: it shows no picture of the videos
    and needs no network. It names the files, their hashes, the model, its
    thresholds and the command. Of a scan with --explain it shows what the
    highest scores were taken from.

    deepscan scan videos/ --out videos.jsonl, then deepscan report videos.jsonl
    """
    from deepscan.cli.progress import WorkProgress
    from deepscan.cli.progress import videos as counted
    from deepscan.report.page import write_page

    page = out or records.with_suffix(".html")
    if not records.is_file():
        raise UsageError(f"{records} is not there", "name the records that scan --out wrote")
    if records.suffix != ".jsonl":
        raise UsageError(f"{records} is no journal of a scan", f"name {records.with_suffix('.jsonl').name}")
    if page.exists() and not overwrite:
        raise UsageError(f"{page} is there already", "name another file with --out, or give --overwrite")
    with WorkProgress(progress, "loading") as told:
        count = write_page(records, page, most=videos, progress=told.count)
    typer.echo(f"{page}  {counted(count)}")
