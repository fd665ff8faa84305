"""The records of a scan as readers see them, and those in the file that a scan has written."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from deepscan.scanning.journal import read_journal
from deepscan.storage.address import is_address

if TYPE_CHECKING:
    from deepscan.scanning.output import ScanOutput
    from deepscan.scanning.picture_folder import PictureFolder

#: What the command line and the Python API accept as the place of records.
RecordsLocation: TypeAlias = str | os.PathLike[str]
#: Suffix of a file of records that `deepscan compact` wrote for tables.
TABLE = ".parquet"


@dataclass(frozen=True, slots=True)
class PlacedRecord:
    """A record and where it is.

    Attributes:
        place: Where it is, for `ScanRecords.at`.
        done: How much was read with it, in `ScanRecords.unit`.
        record: The record.
    """

    place: int
    done: int
    record: dict[str, Any]


class ScanRecords(ABC):
    """The records of one scan, read from the start or one by one.

    Attributes:
        location: Where they are, for messages.
        name: The last part of it.
        unit: What `size` and `PlacedRecord.done` count.
    """

    location: str
    name: str
    unit: Literal["bytes", "videos"]

    @property
    @abstractmethod
    def run_file(self) -> str:
        """The file that describes the run, for messages."""

    @property
    @abstractmethod
    def pictures(self) -> "PictureFolder | None":
        """The folder of the run's pictures; None if runs of this kind have none."""

    @abstractmethod
    def size(self) -> int:
        """Return how much there is to read, in `unit`."""

    @abstractmethod
    def placed(self) -> Iterator[PlacedRecord]:
        """Yield each record with its place.

        Raises:
            ContractError: This is not the output of a scan of this version.
        """

    @abstractmethod
    def at(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the records at the given places, after all were read once with `placed`."""

    @abstractmethod
    def run(self) -> dict[str, Any] | None:
        """Return the description of the run, None if it is missing.

        Raises:
            ContractError: It cannot be read, or is not from this version.
        """

    def unfinished(self) -> str:
        """Return how many records are missing, for people; empty if none are, or if it is not known."""
        return ""

    def labels(self) -> Iterator[tuple[bytes, str]]:
        """Yield path and label of each video that has a label in the manifest of the run."""
        return iter(())

    @abstractmethod
    def sha256(self) -> str:
        """Return the SHA-256 of all records as they are now, to compare with that of the run."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each record; errors are those of `placed`."""
        return (each.record for each in self.placed())


class JournalRecords(ScanRecords):
    """The records in a `.jsonl` file. An incomplete last line, left by a crash, is skipped.

    Args:
        path: The file. It is opened when records are read.

    Attributes:
        path: The file.
    """

    unit = "bytes"

    def __init__(self, path: Path) -> None:
        self.path, self.location, self.name = path, str(path), path.name

    @property
    def run_file(self) -> str:
        """The path of `*.run.json`."""
        return str(self._output.run)

    @property
    def pictures(self) -> "PictureFolder":
        """The folder of pictures next to the file."""
        return self._output.pictures

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return self.path.stat().st_size

    def placed(self) -> Iterator[PlacedRecord]:
        """Yield each record; its place is the offset of its line.

        Raises:
            ContractError: The file is not a journal of this version.
        """
        for offset, line, record in read_journal(self.path):
            yield PlacedRecord(offset, offset + len(line), record)

    def at(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the records at the given offsets."""
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                yield json.loads(file.readline())

    def run(self) -> dict[str, Any] | None:
        """Return the description in `*.run.json` next to the file, None if there is none."""
        from deepscan.scanning import runfile

        file = self._output.run
        return runfile.read(file) if file.exists() else None

    def sha256(self) -> str:
        """Return the SHA-256 of the file."""
        from deepscan.cards import sha256_of

        return sha256_of(self.path)

    @property
    def _output(self) -> "ScanOutput":
        # Imported here, so that records can be read quickly, and from a file of any name.
        from deepscan.scanning.output import ScanOutput

        return ScanOutput(self.path)


def is_run_folder(location: str) -> bool:
    """Return whether a location names a run folder, which may not exist, instead of a file."""
    return is_address(location) or location.endswith("/") or os.path.isdir(location)
