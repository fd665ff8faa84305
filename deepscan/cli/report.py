"""`deepscan report`: the records of a scan as a page for people."""

from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli.options import OUTPUT, Overwrite, Style, progress_option
from deepscan.errors import UsageError

SUFFIXES = (".html", ".htm")


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
    progress: Annotated[Style, progress_option(OUTPUT)] = "auto",
) -> None:
    """Make one page of a scan: verdicts, scores over time, how far models agree.

    The page is made from the records alone: it shows no picture of the videos
    and needs no network. It names the files, their hashes, the model, its
    thresholds and the command. Of a scan with --explain it shows what the
    highest scores were taken from.

    deepscan scan videos/ --out videos.jsonl, then deepscan report videos.jsonl
    """
    from deepscan.cli.progress import ProgressView
    from deepscan.cli.progress import videos as counted
    from deepscan.report.page import write_page

    _check_records(records)
    page = (out or records.with_suffix(".html")).resolve()
    if page.suffix.lower() not in SUFFIXES or page.is_dir():
        raise UsageError(f"--out {page} is no page", f"name a file with {' or '.join(SUFFIXES)}")
    if not page.parent.is_dir():
        raise UsageError(f"{page.parent} is no folder", "make it, or name another file with --out")
    if page.exists() and not overwrite:
        raise UsageError(f"{page} is there already", "name another file with --out, or give --overwrite")
    with ProgressView(progress) as view:
        count = write_page(records, page, most=videos, progress=view.count)
    typer.echo(f"{out or records.with_suffix('.html')}  {counted(count)}")


def _check_records(path: Path) -> None:
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
        raise UsageError(f"{path} is no journal of a scan", f"name its records, such as {journal}")
