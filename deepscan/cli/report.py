"""`deepscan report`: the records of a scan as an HTML page."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.errors import ExitCode, UsageError

SUFFIXES = (".html", ".htm")


def report(
    records: Annotated[
        str,
        typer.Argument(
            metavar="FILE.jsonl|RUN",
            help="Records written by scan --out or compact, or a run folder or its address. FILE.run.json "
            "should be next to a file: it has the thresholds, the error rates and the command.",
        ),
    ],
    videos: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Videos to show in detail, most suspicious first. The table lists all."
        ),
    ] = 200,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="Take pictures of the decisive frames and faces from the videos, after checking the SHA-256 "
            "of each. Not needed after scan --evidence, which saved them.",
        ),
    ] = False,
    root: Annotated[
        Path | None,
        opt.input_option(
            help="With --pictures: folder of the videos if they were moved or downloaded, as for verify.",
            metavar="DIR",
            show_default="the recorded paths",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        opt.output_option(
            help="HTML page to write.", metavar="FILE.html", show_default="FILE.html or RUN.html"
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> int:
    """Make an HTML page of a scan: verdicts, scores over time, agreement of models.

    The page is one file and loads nothing from the network. It lists files and
    hashes, the model, its thresholds and the command. After scan --evidence, or
    with --pictures, it shows the frames and faces with the highest scores, and
    what the scores are based on if the model provides that.

    Examples:
      deepscan report videos.jsonl
      deepscan report videos.jsonl --pictures
      deepscan report s3://bucket/runs/one/
    """
    from deepscan.cli.progress import ProgressView
    from deepscan.cli.progress import videos as counted
    from deepscan.report.page import VideoSources, default_page, write_page

    check_records(records)
    shown = out or default_page(records)
    page = shown.resolve()
    if page.suffix.lower() not in SUFFIXES or page.is_dir():
        raise UsageError(f"--out {page} must end in .html", "name a file that ends in .html or .htm")
    if not page.parent.is_dir():
        raise UsageError(f"folder {page.parent} does not exist", "create it, or name another file with --out")
    if page.exists() and not overwrite:
        raise UsageError(f"{page} exists", "name another file with --out, or add --overwrite")
    if root is not None and not pictures:
        raise UsageError("--root needs --pictures", "add --pictures, or leave --root out")
    if root is not None and not root.is_dir():
        raise UsageError(f"--root {root} is not a folder", "name an existing folder")
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
        for line in [*(f"{alarm}; deepscan verify shows the details" for alarm in alarms), *warnings]:
            view.note(f"warning: {line}")
    print_line(f"{shown}  {counted(count)}")
    if alarms:
        return int(ExitCode.CONTRACT)
    return int(ExitCode.SOME_FAILED if warnings else ExitCode.OK)


def check_records(location: str) -> None:
    """Check that a file or folder can be the records of a scan.

    Raises:
        UsageError: It cannot be read, or is another file of a scan.
    """
    from deepscan.scanning.record_source import TABLE, is_run_folder
    from deepscan.storage.address import is_address

    path = Path(location)
    if is_run_folder(location):
        if not is_address(location) and not (path / "run.json").is_file():
            what = "is not a run folder" if path.is_dir() else "does not exist"
            raise UsageError(
                f"{location} {what}", "name the FILE.jsonl that scan --out wrote, or the folder of a run"
            )
        return
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", "name the FILE.jsonl that scan --out wrote"
        )
    if path.name == "run.json":
        raise UsageError(f"{path} does not contain records", f"name the folder of the run: {path.parent}/")
    if path.suffix not in (".jsonl", TABLE):
        name = path.name.removesuffix(".run.json").removesuffix(path.suffix) + ".jsonl"
        journal = path.with_name(name)
        records = str(journal) if journal.exists() else "the FILE.jsonl that scan --out wrote"
        raise UsageError(f"{path} does not contain records", f"name the records: {records}")
