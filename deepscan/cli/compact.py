"""`deepscan compact`: the records of a run folder as one file."""

from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.errors import ExitCode, UsageError

#: What `compact_run` counts -> how it is shown.
WORK = {"parts": "checking parts", "videos": "writing records"}


def compact(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Run folder of scan --out RUN/, or its address, such as s3://bucket/run/."
        ),
    ],
    out: Annotated[
        Path,
        opt.output_option(
            help="File to write. FILE.jsonl has every record in full, FILE.csv a row for each video (and "
            "FILE.jsonl is written too), FILE.parquet both in one file, with id and label of the manifest. "
            "FILE.run.json describes the run.",
            metavar="FILE",
        ),
    ],
    partial: Annotated[
        bool,
        opt.output_option(
            "--partial",
            help="Of a run that is not complete, write the records that exist, and end with exit code 3.",
        ),
    ] = False,
    overwrite: opt.Overwrite = False,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> int:
    """Write the records of a run folder into one file.

    First checks that the run has exactly one record for each video of its
    manifest. The records are in the order of the manifest. report, verify and
    eval --records read the file as one of scan --out.

    Examples:
      deepscan compact runs/one/ --out one.jsonl
      deepscan compact s3://bucket/run/ --out run.parquet
      deepscan compact runs/one/ --out so-far.csv --partial
    """
    from deepscan.cli.progress import ProgressView
    from deepscan.cli.progress import videos as counted
    from deepscan.cli.report import check_records
    from deepscan.scanning.compaction import CompactFile, compact_run
    from deepscan.scanning.folder_records import FolderRecords
    from deepscan.scanning.record_source import is_run_folder

    if not is_run_folder(run):
        raise UsageError(f"{run} is not a run folder", "name the folder that scan --out RUN/ wrote")
    check_records(run)
    with ProgressView(progress) as view:

        def show(what: str, done: int, total: int) -> None:
            view.count(WORK[what], done, total, milestone=False)

        found = compact_run(
            FolderRecords(run), CompactFile(out, overwrite), partial=partial, on_progress=show
        )
        if found.lacking:
            view.note(
                f"warning: the run is not complete: {found.written:,} of its {found.rows:,} videos are in "
                f"{out}"
            )
            for line in found.lacking:
                view.note(f"  {line}")
    print_line(f"{out}  {counted(found.written)}")
    return int(ExitCode.SOME_FAILED if found.lacking else ExitCode.OK)
