"""One Parquet file with all records of a run: flat columns for tables, and each record whole as JSON."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from deepscan.cards import sha256_of
from deepscan.errors import ContractError, require
from deepscan.scanning import runfile
from deepscan.scanning.journal import parse_record
from deepscan.scanning.parts import open_part, part_schema
from deepscan.scanning.record_lines import recorded_path
from deepscan.scanning.record_source import PlacedRecord, ScanRecords

#: Rows that are written together, and read together to find one of them: about 20 MB.
GROUP_ROWS = 2048
#: What helps against a file that is not what it should be.
TABLE_HINT = "name another file, or make it again with deepscan compact"


class TableRecords(ScanRecords):
    """The records in one Parquet file, with the columns of a part.

    Args:
        path: The file. It is opened when records are read.

    Attributes:
        path: The file.

    Raises:
        MissingError: pyarrow is not installed.
    """

    unit = "videos"

    def __init__(self, path: Path) -> None:
        require(["pyarrow"], "store", "reading a Parquet file")
        self.path, self.location, self.name = path, str(path), path.name
        self._kept: tuple[int, list[str]] = (-1, [])

    @property
    def run_file(self) -> str:
        """The path of `*.run.json`."""
        return str(self.path.resolve().with_suffix(".run.json"))

    @property
    def pictures(self) -> None:
        """None: there are none."""
        return None

    def size(self) -> int:
        """Return the number of records."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def placed(self) -> Iterator[PlacedRecord]:
        """Yield each record; its place is the number of its row.

        Raises:
            ContractError: The file is damaged, or is not from this version.
        """
        place = 0
        with self._open() as file:
            for group in range(file.num_row_groups):
                for line in self._read(file, group, ["record"])[0]:
                    if (record := parse_record(line)) is None:
                        raise ContractError(
                            f"{self.path}, row {place + 1}, is not a record of this version",
                            TABLE_HINT,
                        )
                    yield PlacedRecord(place, place + 1, record)
                    place += 1

    def at(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Yield the records in the given rows."""
        with self._open() as file:
            sizes = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
            starts = [0, *accumulate(sizes)]
            for place in places:
                group = bisect_right(starts, place) - 1
                if self._kept[0] != group:
                    self._kept = group, self._read(file, group, ["record"])[0]
                yield json.loads(self._kept[1][place - starts[group]])

    def run(self) -> dict[str, Any] | None:
        """Return the description in `*.run.json` next to the file, None if there is none."""
        file = Path(self.run_file)
        return runfile.read(file) if file.exists() else None

    def labels(self) -> Iterator[tuple[bytes, str]]:
        """Yield path and label of each row with a label."""
        with self._open() as file:
            for group in range(file.num_row_groups):
                columns = self._read(file, group, ["path", "path_bytes", "label"])
                for path, raw, label in zip(*columns, strict=True):
                    if label:
                        yield recorded_path({"path": path, "path_bytes": raw}), label

    def sha256(self) -> str:
        """Return the SHA-256 of the file."""
        return sha256_of(self.path)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        # An OSError is raised for a missing file, as for other files of records.
        with self.path.open("rb") as file:
            yield open_part(file, self.location, TABLE_HINT)[0]

    def _read(self, file: Any, group: int, columns: Sequence[str]) -> list[list[Any]]:
        """Return columns of a row group."""
        import pyarrow as pa

        try:
            table = file.read_row_group(group, columns=list(columns))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ContractError(f"{self.location} is damaged: {error}", TABLE_HINT)
        return [table.column(name).to_pylist() for name in columns]


class TableWriter:
    """Writes parts one after another as the row groups of one Parquet file.

    Args:
        file: The file, open for writing.
        run: Identifier of the run.
    """

    def __init__(self, file: IO[bytes], run: str) -> None:
        require(["pyarrow"], "store", "writing a Parquet file")
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(
            file, part_schema(run=run), compression="zstd", write_page_checksum=True
        )
        self._waiting: list[Any] = []

    def add(self, table: Any) -> None:
        """Add the rows of a part.

        Args:
            table: A `pyarrow.Table` with all columns of a part.
        """
        self._waiting.append(table)
        if sum(len(each) for each in self._waiting) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write the rest. The file stays open."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            joined = pa.concat_tables(each.replace_schema_metadata(None) for each in self._waiting)
            self._writer.write_table(joined.replace_schema_metadata(self._writer.schema.metadata))
            self._waiting.clear()
