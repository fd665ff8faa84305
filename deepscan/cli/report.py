"""`deepscan report`: the records of a scan as a page for people."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli import options as opt
from deepscan.errors import UsageError

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
    out: Annotated[
        Path | None,
        opt.output_option(help="Page to write.", metavar="FILE.html", show_default="FILE.html"),
    ] = None,
    overwrite: opt.Overwrite = False,
    progress: opt.Progress = "auto",
) -> None:
    """Make a page of a scan: verdicts, scores over time, how far models agree.

    Uses the records alone: the page shows no picture of the videos and needs no
    network. It lists files and hashes, the model, its thresholds and the
    command, and after scan --explain what the highest scores were based on.

    deepscan report videos.jsonl
    """
    from deepscan.cli.progress import ProgressView
    from deepscan.cli.progress import videos as counted
    from deepscan.report.page import write_page

    check_records(records)
    page = (out or records.with_suffix(".html")).resolve()
    if page.suffix.lower() not in SUFFIXES or page.is_dir():
        raise UsageError(f"--out {page} must end in .html", "name a file that ends in .html or .htm")
    if not page.parent.is_dir():
        raise UsageError(f"folder {page.parent} is missing", "make it, or name another file with --out")
    if page.exists() and not overwrite:
        raise UsageError(f"{page} exists", "name another file with --out, or add --overwrite")
    with ProgressView(progress) as view:
        count = write_page(records, page, most=videos, on_progress=partial(view.count, milestone=False))
    typer.echo(f"{out or records.with_suffix('.html')}  {counted(count)}")


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
        raise UsageError(f"{path} holds no records of a scan", f"name them, such as {journal}")
