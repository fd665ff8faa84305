"""`deepscan verify`: whether records, videos, pictures and models are unchanged since the scan."""

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepscan.cli import options as opt

if TYPE_CHECKING:
    from deepscan.scanning.model_check import Finding
    from deepscan.scanning.verification import Verification

#: Longest line, in columns: longer ones are hard to read.
WIDTH = 80
HEADINGS = {"mismatch": "DOES NOT MATCH", "missing": "MISSING", "unchecked": "NOT CHECKED"}
CLOSING = (
    "This check finds accidents and careless edits. It cannot find a forger who changed the records and the "
    "run file to match: for that, sign the run file."
)


def verify(
    records: Annotated[
        str,
        typer.Argument(
            metavar="FILE.jsonl|RUN",
            help="Records written by scan --out or compact, with FILE.run.json next to it, or a run folder "
            "or its address.",
        ),
    ],
    root: Annotated[
        Path | None,
        opt.input_option(
            help="Folder of the videos if they were moved. For a recorded path /a/b/c.mp4 it tries "
            "a/b/c.mp4, then b/c.mp4, then c.mp4 in this folder. Objects that are not in it are fetched.",
            metavar="DIR",
            show_default="the recorded paths",
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        opt.input_option(help="Folder of a model that was moved. Repeat for several.", metavar="DIR"),
    ] = None,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> int:
    """Check that a scan's records, videos, pictures and models are unchanged.

    Hashes every video again, also in an object store, recomputes each score and
    verdict from the frames in its record, and lists every mismatch. Of a run
    folder, it also compares every part with the manifest. It finds accidents
    and careless edits. It cannot find a forger who changed records and run file
    to match.

    Examples:
      deepscan verify videos.jsonl
      deepscan verify videos.jsonl --root /media/copy
    """
    from deepscan.cli.progress import ProgressView
    from deepscan.cli.report import check_records
    from deepscan.cli.streams import hand_on, stdout_console
    from deepscan.errors import UsageError
    from deepscan.scanning.verification import verify_run

    check_records(records)
    for folder in (*([root] if root else ()), *(model or ())):
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", "name an existing folder")
    with ProgressView(progress) as view:

        def show(what: str, done: int, total: int) -> None:
            # Records are small but slow to recompute: kB, not MB.
            unit, size = {"records": ("kB", 10**3), "videos": ("MB", 10**6)}.get(what, ("", 1))
            view.count(f"checking {what}", done // size, total // size, unit, milestone=False)

        result = verify_run(records, root=root, models=model or (), on_progress=show)
    width = min(stdout_console().width, WIDTH)
    hand_on("".join(f"{line}\n" for line in report_lines(records, result, width)), None)
    return int(result.exit_code)


def report_lines(records: str | Path, result: "Verification", width: int = WIDTH) -> Iterator[str]:
    """Yield the result as lines of at most `width` columns, except for names and hashes."""
    from deepscan.cli.wrapping import wrap
    from deepscan.scanning.summary import printable
    from deepscan.scanning.video_check import NOT_THERE

    run, name = result.run, display_name(records)
    if run:
        tool, last = run.get("tool") or {}, (run.get("sessions") or [{}])[-1]
        ended = f"ended {_when(last['ended'])}" if last.get("ended") else "not ended"
        yield from wrap(f"run {run.get('id')} by deepscan {tool.get('version')}, {ended}", width)
        custody = {name: text for name, text in (run.get("custody") or {}).items() if text}
        yield from (printable(f"{name} {text}") for name, text in custody.items())
    for _, alike in groupby(result.findings, key=lambda each: (each.kind, each.subject, each.meaning)):
        yield from _findings(list(alike), width)
    yield ""
    for what, (good, total) in result.checked.items():
        unknown = [
            each.what for each in result.findings if each.kind == "unchecked" and what == "records file"
        ]
        count = unknown[0] if unknown else f"{good:,} of {total:,} match"
        yield f"{'ok' if good == total and not unknown else '--'}  {what:<18}{count}"
    kinds = [finding.kind for finding in result.findings]
    bad, open_ = kinds.count("mismatch"), len(kinds) - kinds.count("mismatch")
    if not kinds:
        yield printable(f"{name}: everything matches")
    else:
        parts = [f"{bad:,} {'does' if bad == 1 else 'do'} not match"] * bool(bad)
        parts += [f"{open_:,} could not be checked"] * bool(open_)
        yield from wrap(f"{printable(name)}: {', '.join(parts)}", width)
    if any(finding.what == NOT_THERE for finding in result.findings):
        yield from wrap("Missing videos: if they were moved, add --root DIR with their folder.", width)
    yield from wrap(CLOSING, width)


def display_name(records: str | Path) -> str:
    """Return the last part of a path or address, with its slash at the end if it has one."""
    text = str(records)
    return text[text.rstrip("/").rfind("/") + 1 :]


def _when(time: str) -> str:
    """Return a time from a run file in a readable form, to the second."""
    return f"{time[:10]} {time[11:19]} UTC"


def _findings(alike: "Sequence[Finding]", width: int) -> Iterator[str]:
    """Yield the lines of findings that share subject and meaning."""
    from deepscan.cli.streams import is_terminal
    from deepscan.cli.wrapping import wrap
    from deepscan.scanning.summary import printable

    finding = alike[0]
    yield ""
    heading = printable(f"{HEADINGS[finding.kind]}: {finding.subject}")
    # A terminal would break a long path anywhere; in a file it stays in one piece, for searching.
    yield from wrap(heading, width) if is_terminal(sys.stdout) else [heading]
    for each in alike:
        yield printable(f"  {each.what}")
        for name, text in (("recorded", each.recorded), ("found", each.found)):
            if text:
                yield printable(f"    {name:<9}{text}")
    if finding.meaning:
        yield from wrap(printable(finding.meaning), width, 2)
