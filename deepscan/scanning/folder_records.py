"""Read the records in the parts of a run folder."""

import json
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from deepscan.errors import ContractError, UsageError, require
from deepscan.scanning.chunks import Chunk
from deepscan.scanning.journal import parse_record
from deepscan.scanning.parts import PART_HINT, Part
from deepscan.scanning.record_source import PlacedRecord, ScanRecords
from deepscan.scanning.run_audit import Audit, audit_run, row_difference
from deepscan.scanning.run_folder import RUN, RunFolder, part_name
from deepscan.storage.address import is_address, local_path, require_readable_scheme, scheme_of

#: Columns of a part that readers need.
_COLUMNS = ("path", "path_bytes", "record")
#: Parts that are read ahead, and parts that are kept for reading single records.
_AHEAD, _KEPT = 8, 4
#: Bits of a place for the row within its part.
_ROW_BITS = 32


class FolderRecords(ScanRecords):
    """The records in a run folder, in the order of the manifest. Chunks without a part are left out.

    Args:
        location: The folder, or its address.
        strict: Whether a part that is damaged, or does not have the rows of its chunk, is an error. If not,
            it is left out.

    Attributes:
        folder: The folder.

    Raises:
        UsageError: There is no run in it.
        ContractError: The run is of another version.
        MissingError: A package that is needed to read it is missing.
    """

    unit = "videos"

    def __init__(self, location: str, *, strict: bool = True) -> None:
        require(["pyarrow"], "store", "reading a run folder")
        self.location, self.strict = location, strict
        if is_address(location):
            require_readable_scheme(location)
            if scheme_of(location) in ("http", "https"):
                raise UsageError(
                    f"{location} cannot be a run folder: web servers list no files",
                    "name a folder, or an address such as s3://bucket/run/",
                )
            location = local_path(location) if scheme_of(location) == "file" else location
        self.folder = RunFolder.open(location)
        shown = location if is_address(location) else os.path.abspath(location)
        self.name = f"{shown.rstrip('/').rpartition('/')[2]}/"
        self._run: dict[str, Any] | None = None
        self._audit: Audit | None = None
        # Index of each chunk that was read -> its name.
        self._names: dict[int, str] = {}
        self._kept: OrderedDict[int, list[str]] = OrderedDict()

    @property
    def run_file(self) -> str:
        """The path or address of the run's file."""
        return f"{self.location.rstrip('/')}/{RUN}"

    @property
    def pictures(self) -> None:
        """None: a scan into a run folder stores no pictures."""
        return None

    def size(self) -> int:
        """Return the number of videos of the run."""
        return self.folder.manifest.rows

    def placed(self) -> Iterator[PlacedRecord]:
        """Yield each record. `done` counts the videos before it, with those of missing parts.

        Raises:
            ContractError: A part is damaged, or does not have the rows of its chunk.
        """
        first = 0
        for chunk, part in self.parts():
            if part is not None:
                self._names[chunk.index] = chunk.name
                for row, line in enumerate(part.lines()):
                    if (record := parse_record(line)) is None:
                        raise ContractError(
                            f"{part_name(chunk.name)}, row {row + 1}, is not a record of this version",
                            PART_HINT,
                        )
                    yield PlacedRecord((chunk.index << _ROW_BITS) + row, first + row + 1, record)
            first += len(chunk.rows)

    def at(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the records at the given places."""
        for place in places:
            index, row = place >> _ROW_BITS, place & ((1 << _ROW_BITS) - 1)
            if index not in self._kept:
                part = self.folder.read_part(self._names[index], ["record"])
                self._kept[index] = list(part.lines())
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(index)
            yield json.loads(self._kept[index][row])

    def run(self) -> dict[str, Any]:
        """Return the description of the run, with sessions and seal as they were at the first call."""
        if self._run is None:
            self._run = self.folder.describe()
        return self._run

    def labels(self) -> Iterator[tuple[bytes, str]]:
        """Yield path and label of each video with a label, also if it has no record yet."""
        return ((row.path, row.label) for row in self.folder.rows() if row.label)

    def sha256(self) -> str:
        """Return the SHA-256 over the names and hashes of the correct parts."""
        return self.audit().sha256

    def audit(self, on_progress: Callable[[int, int], None] | None = None) -> Audit:
        """Compare the parts with the manifest, once.

        Args:
            on_progress: Called with the number of chunks compared, and of all.
        """
        if self._audit is None:
            self._audit = audit_run(self.folder, on_progress)
        return self._audit

    def unfinished(self) -> str:
        """Return how many videos have no record yet, for people; empty if the run is complete."""
        if self.run()["records"] is not None and self._audit is None:
            return ""
        done = self.folder.done()
        missing = [len(chunk.rows) for chunk in self.folder.chunks() if chunk.name not in done]
        if not missing:
            return ""
        rows, chunks = self.size(), self.folder.manifest.chunks
        return (
            f"the run is not complete: {rows - sum(missing):,} of {rows:,} videos have records "
            f"({len(missing):,} of {chunks:,} chunks are missing)"
        )

    def lenient(self) -> "FolderRecords":
        """Return these records without those of wrong parts; see `strict`."""
        return FolderRecords(self.location, strict=False)

    def parts(self, columns: Iterable[str] = _COLUMNS) -> Iterator[tuple[Chunk, Part | None]]:
        """Yield each chunk with its part, None if it has none.

        Args:
            columns: Columns to read, with `path` and `path_bytes`.

        Raises:
            ContractError: A part is damaged, or does not have the rows of its chunk.
        """
        wanted, done = tuple(columns), self.folder.done()

        def read(chunk: Chunk) -> Part | None:
            return self._part(chunk, wanted) if chunk.name in done else None

        threads = ThreadPoolExecutor(_AHEAD)
        ahead: deque[tuple[Chunk, Future[Part | None]]] = deque()
        try:
            for chunk in self.folder.chunks():
                ahead.append((chunk, threads.submit(read, chunk)))
                if len(ahead) > _AHEAD:
                    first, future = ahead.popleft()
                    yield first, future.result()
            for first, future in ahead:
                yield first, future.result()
        finally:
            threads.shutdown(cancel_futures=True)

    def _part(self, chunk: Chunk, columns: tuple[str, ...]) -> Part | None:
        name = part_name(chunk.name)
        try:
            part = self.folder.read_part(chunk.name, columns)
            problem = row_difference([row.path for row in chunk.rows], part.paths)
            if problem is not None:
                raise ContractError(f"{name}: {problem}", PART_HINT)
        except FileNotFoundError:
            return None  # it was deleted after the parts were listed
        except ContractError:
            if self.strict:
                raise
            return None
        return part
