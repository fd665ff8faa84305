"""The journal of a run: one record a line, on disk before the next video ends, readable after any crash."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepscan.errors import ContractError
from deepscan.files import AppendFile, atomic_write
from deepscan.outcomes import Status
from deepscan.scanning.record_lines import SCHEMA, dump_line, recorded_path


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A record in a journal: where its line is, and what a resumed run goes by.

    Attributes:
        offset: First byte of its line.
        length: Bytes of its line, the newline included.
        path: Of the video, as the file system has it.
        status: Of the video.
        verdict: Of the video.
        sha256: Of the video, None where it could not be read.
        size: Of the video in bytes, None likewise.
        run: Identifier of the run.
    """

    offset: int
    length: int
    path: bytes
    status: Status
    verdict: str | None
    sha256: str | None
    size: int | None
    run: str


class Journal(AppendFile):
    """Appends records to a JSONL file; a context manager. Whoever makes one has claimed the file.

    Args:
        path: The file, made if need be.
        keep: Lines of an earlier run to begin with: the file is replaced by exactly these, whole or not at
            all. They may be read from the file itself.

    Raises:
        DeepscanError: The file cannot be written.
    """

    def __init__(self, path: Path, keep: Iterable[bytes] = ()) -> None:
        with atomic_write(path) as file:
            for line in keep:
                file.write(line)
        super().__init__(path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record and have it on disk.

        Raises:
            DeepscanError: There is no room for it.
        """
        self.write(dump_line(record).encode("ascii") + b"\n", sync=True)


def read_journal(path: Path) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Yield offset, line and record of each line; one that a crash tore off at the end is left out.

    Raises:
        ContractError: The file is no journal of this version.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line, parse_constant=_no_number)
                known = record["schema"] == SCHEMA and "path" in record and "status" in record
            except (ValueError, KeyError, TypeError):
                known = False
            if not line.endswith(b"\n") and (number > 1 or line.startswith(b"{")):
                return
            if not known:
                raise ContractError(
                    f"{path}, line {number}, is not a record of this version",
                    "name another file, or scan anew",
                )
            yield offset, line, record
            offset += len(line)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def entries(path: Path) -> Iterator[JournalEntry]:
    """Yield what a resumed run goes by of each record.

    Raises:
        ContractError: The file is no journal of this version.
    """
    for offset, line, record in read_journal(path):
        yield JournalEntry(
            offset,
            len(line),
            recorded_path(record),
            record["status"],
            record["verdict"],
            record["sha256"],
            record["bytes"],
            record["run"],
        )


def lines(path: Path, chosen: Iterable[JournalEntry]) -> Iterator[bytes]:
    """Yield the lines of entries of a journal."""
    with path.open("rb") as file:
        for entry in chosen:
            file.seek(entry.offset)
            yield file.read(entry.length)
