"""Write and read the journal of a run: one record per line, on disk at once, readable after any crash."""

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
    """A record in a journal: the place of its line, and the fields used to resume.

    Attributes:
        offset: Offset of its line in bytes.
        length: Length of its line in bytes, including the newline.
        path: Path of the video as bytes.
        status: Status of the video.
        verdict: Verdict on the video, None if it has none.
        sha256: SHA-256 of the video, None if it could not be read.
        size: Size of the video in bytes, None likewise.
        run: Identifier of the run.
        mtime_ns: When the video was last modified, in nanoseconds since 1970; None likewise, for objects, and
            in records of earlier versions.
        started: When its scan began, UTC, ISO 8601; empty if unknown.
        etag: ETag of the object, None for files.
    """

    offset: int
    length: int
    path: bytes
    status: Status
    verdict: str | None
    sha256: str | None
    size: int | None
    run: str
    mtime_ns: int | None = None
    started: str = ""
    etag: str | None = None


class Journal(AppendFile):
    """JSONL file that records are appended to; a context manager. The caller must have locked the file.

    Args:
        path: The file, created if needed.
        keep: Lines of an earlier run to begin with; they may be read from the file itself. The file is
            replaced atomically with exactly these.

    Raises:
        DeepscanError: The file cannot be written.
    """

    def __init__(self, path: Path, keep: Iterable[bytes] = ()) -> None:
        with atomic_write(path) as file:
            for line in keep:
                file.write(line)
        super().__init__(path)

    def append(self, record: Mapping[str, Any]) -> int:
        """Write a record and flush it to disk; return the offset of its line in bytes.

        Raises:
            DeepscanError: There is not enough space.
        """
        offset = self._file.tell()
        self.write(dump_line(record).encode("ascii") + b"\n", sync=True)
        return offset


def read_journal(path: Path) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Yield offset, line and record of each line; an incomplete last line, left by a crash, is skipped.

    Raises:
        ContractError: The file is not a journal of this version.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            record = parse_record(line)
            if not line.endswith(b"\n") and (number > 1 or line.startswith(b"{")):
                return
            if record is None:
                raise ContractError(
                    f"{path}, line {number}, is not a record of this version",
                    "name another file, or scan again",
                )
            yield offset, line, record
            offset += len(line)


def parse_record(line: bytes | str) -> dict[str, Any] | None:
    """Return the record in a line, None if it is not a record of this version."""
    try:
        record: dict[str, Any] = json.loads(line, parse_constant=_refuse_constant)
        known = record["schema"] == SCHEMA and "path" in record and "status" in record
    except (ValueError, KeyError, TypeError):
        return None
    return record if known else None


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def entries(path: Path) -> Iterator[JournalEntry]:
    """Yield the entry of each record.

    Raises:
        ContractError: The file is not a journal of this version.
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
            record.get("mtime_ns"),
            record.get("started", ""),
            record.get("etag"),
        )


def lines(path: Path, chosen: Iterable[JournalEntry]) -> Iterator[bytes]:
    """Yield the lines of the given entries of a journal."""
    with path.open("rb") as file:
        for entry in chosen:
            file.seek(entry.offset)
            yield file.read(entry.length)
