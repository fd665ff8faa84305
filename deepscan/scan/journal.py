"""The journal of a run: one record a line, on disk before the next video ends, readable after any crash."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from deepscan.errors import ContractError, UsageError
from deepscan.scan.records import SCHEMA, dump_line


class Journal:
    """Appends records to a JSONL file; a context manager.

    Args:
        path: The file, made if need be.
        keep: Records of an earlier run to begin with: the file is replaced by exactly these, at once and
            whole, so that a crash leaves the old file or the new one.

    Raises:
        UsageError: The file cannot be written.
        ContractError: Another run is writing to it.
    """

    def __init__(self, path: Path, keep: Iterable[Mapping[str, Any]] = ()) -> None:
        self.path = path
        fresh = path.with_name(path.name + ".part")
        try:
            # Locked before it takes the journal's place, and so for as long as that name leads to it.
            _refuse_if_locked(path)
            self._file: TextIO = fresh.open("w", encoding="ascii")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for record in keep:
                self._file.write(dump_line(record) + "\n")
            self._sync()
            fresh.replace(path)
        except BlockingIOError:
            raise ContractError(f"another run is writing {path}", "wait for it, or name another --out")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", "name another file with --out")

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record and have it on disk."""
        self._file.write(dump_line(record) + "\n")
        self._sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the records of a journal; a last line that a crash tore off is left out.

    Raises:
        ContractError: The file is no journal of this version.
    """
    lines = path.read_bytes().split(b"\n")
    torn = lines.pop()  # what follows the last newline: nothing, or a line that was never finished
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            known = record["schema"] == SCHEMA and "path" in record and "status" in record
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise ContractError(
                f"{path}, line {number}, is not a record of this version", "name another file with --out"
            )
        records.append(record)
    if torn and not records and not torn.startswith(b"{"):
        raise ContractError(f"{path} is not a journal", "name another file with --out")
    return records


def _refuse_if_locked(path: Path) -> None:
    if path.exists():
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
