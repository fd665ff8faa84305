"""Check that the files of a run are those it has written: its description, its records and their table."""

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from deepscan.cards import sha256_of
from deepscan.errors import ExitCode
from deepscan.scanning import runfile
from deepscan.scanning.model_check import Finding
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


def check_records_file(run: Mapping[str, Any], records: Path) -> Iterator[Finding]:
    """Yield how a file of records differs from the hash in its run's record, or that there is none.

    Args:
        run: The run's record.
        records: The journal.
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
    elif (found := sha256_of(records)) != recorded["sha256"]:
        lines = records.read_bytes().count(b"\n")
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
