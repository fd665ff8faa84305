"""Check that the files of a run are those it has written: its description, its records and their table."""

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from deepscan.errors import ContractError, ExitCode
from deepscan.scanning import runfile
from deepscan.scanning.folder_records import FolderRecords
from deepscan.scanning.model_check import Finding, FindingKind
from deepscan.scanning.record_source import JournalRecords
from deepscan.scanning.record_table import TableRecords
from deepscan.scanning.run_audit import Audit
from deepscan.scanning.writers import WRITERS

#: Exit codes of scans that ran to the end.
_FINISHED = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FOUND_FAKE)


def check_run_file(run: Mapping[str, Any], file: str) -> Iterator[Finding]:
    """Yield that the file that describes a run was edited, if its own hash says so.

    Args:
        run: Its content, with the hash.
        file: Its name.
    """
    if not runfile.is_unchanged(run):
        yield Finding(
            "mismatch",
            file,
            "SHA-256 of its content",
            str(run[runfile.OWN_HASH]),
            runfile.own_hash(run),
            "It was edited: case, parameters, thresholds and times may not be those of the scan.",
        )


def check_records_file(run: Mapping[str, Any], records: JournalRecords | TableRecords) -> Iterator[Finding]:
    """Yield how a file of records differs from the hash in its run's record, or that there is none.

    Args:
        run: The run's record.
        records: The records in one file.
    """
    recorded, sessions = run.get("records"), run.get("sessions") or [{}]
    if not recorded:
        finished = sessions[-1].get("exit_code") in _FINISHED
        yield Finding(
            "unchecked",
            records.name,
            "hash of the records: not recorded" if finished else "not finished",
            meaning="The run ended without recording a hash, like earlier versions, or the hash was removed."
            if finished
            else "The run was interrupted or is still going, so its file has no final hash: a removed record "
            "would not be noticed. Finish it with scan --resume.",
        )
    elif (found := records.sha256()) != recorded["sha256"]:
        lines = _count(records)
        counted = (
            "" if lines == recorded["count"] else f" It had {recorded['count']} records and has {lines}."
        )
        yield Finding(
            "mismatch",
            records.name,
            "SHA-256 of the records file",
            recorded["sha256"],
            found,
            "It was changed after the run ended. If a score or a verdict was changed, the findings below "
            f"show where.{counted}",
        )
    rows = (run.get("manifest") or {}).get("rows")
    if recorded and rows is not None and recorded["count"] < rows:
        yield Finding(
            "unchecked",
            records.name,
            f"not complete: {recorded['count']:,} of {rows:,} videos of the run",
            meaning="It was made by deepscan compact --partial, before the run was complete.",
        )


def _count(records: JournalRecords | TableRecords) -> int | None:
    """Return the number of records in a file that was changed, None if it cannot be read."""
    if isinstance(records, JournalRecords):
        return records.path.read_bytes().count(b"\n")
    try:
        return records.size()
    except ContractError:
        return None


def check_parts(records: FolderRecords, audit: Audit) -> Iterator[Finding]:
    """Yield which parts of a run are missing or wrong, and whether all are those that were sealed.

    Args:
        records: The records in a run folder.
        audit: The audit of its parts.
    """
    sealed = records.run()["records"]
    gone = "The run was complete: a part was deleted afterwards."
    open_ = "The run is not complete. Run the scan again: it scans what is missing."
    wrong = (
        "Its rows are not those of its chunk, or it is damaged. Delete it and run the scan again: it scans "
        "these videos again."
    )
    kind: FindingKind = "mismatch" if audit.wrong or sealed else "unchecked"
    meaning = wrong if audit.wrong else gone if sealed else open_
    for line in audit.lines:
        yield Finding(kind, records.name, line, meaning=meaning)
    if more := audit.missing + audit.wrong - len(audit.lines):
        yield Finding(kind, records.name, f"and {more:,} more parts", meaning=meaning)
    if sealed is None and audit.complete:
        meaning = (
            "A removed record would be noticed, an edited one may not. Run the scan again: it seals the run."
        )
        yield Finding("unchecked", records.name, "hash of the parts: not recorded", meaning=meaning)
    elif sealed is not None and audit.complete and sealed["sha256"] != audit.sha256:
        yield Finding(
            "mismatch",
            records.name,
            "SHA-256 of the parts",
            sealed["sha256"],
            audit.sha256,
            "A part was changed after the run ended. If a score or a verdict was changed, the findings below "
            "show where.",
        )


def made_table(run: Mapping[str, Any], table: Path) -> bool:
    """Return whether a finished run made the table next to its records, rather than somebody else.

    Args:
        run: The run's record.
        table: The table, which need not exist.
    """
    if "table" in (recorded := run.get("records") or {}):
        return str(recorded["table"]).endswith(table.suffix)
    # Earlier versions did not record it.
    if not table.is_file():
        return False
    arguments = [word for session in run.get("sessions") or () for word in session.get("command") or ()]
    return bool(run.get("records")) and any(word.endswith(table.name) for word in arguments)


def check_table(records: Iterable[Mapping[str, Any]], table: Path) -> Iterator[Finding]:
    """Yield the first row of the CSV file that differs from the records, or that the file is missing.

    Args:
        records: The records.
        table: The table.
    """
    if not table.is_file():
        meaning = "It was removed, moved or renamed. The records have all of its content."
        yield Finding("missing", table.name, "the table made by the scan", meaning=meaning)
        return
    expected = io.StringIO(newline="")
    WRITERS.get("csv")(records, expected)
    found = table.read_bytes().decode("utf-8", "replace")
    pairs = zip_longest(expected.getvalue().split("\n"), found.split("\n"), fillvalue="")
    for number, (row, own) in enumerate(pairs, start=1):
        if row != own:
            meaning = "The scan made the table from the records. One of the two was changed afterwards."
            yield Finding("mismatch", table.name, f"line {number} of the table", row, own, meaning)
            return
