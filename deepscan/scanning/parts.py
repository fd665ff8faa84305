"""The records of one chunk as a Parquet file: flat columns for tables, and each record whole as JSON."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deepscan.errors import ContractError, first_line, require
from deepscan.scanning.record_lines import dump_line, recorded_path

#: What helps against a part that is not what it should be.
PART_HINT = "delete it, then run the scan again: it scans what is missing"
#: Version of the schema.
VERSION = 1
#: Column -> name of its type in Arrow. Nothing is inferred: a part of failures only would have null types.
COLUMNS = {
    "path": "string",
    "path_bytes": "string",
    "id": "string",
    "label": "string",
    "status": "string",
    "verdict": "string",
    "score": "float64",
    "sha256": "string",
    "bytes": "int64",
    "etag": "string",
    "model": "string",
    "copied_from": "string",
    "started": "time",
    "seconds": "float64",
    "cpu_seconds": "float64",
    "record": "string",
}
#: Columns that are copied from the record.
_COPIED = ("path", "path_bytes", "status", "verdict", "score", "sha256", "bytes", "etag", "copied_from")


@dataclass(frozen=True, slots=True)
class PartRow:
    """A row of a part.

    Attributes:
        record: The record, as JSON.
        id: The `id` of the video in the manifest.
        label: Its `label` in the manifest.
    """

    record: Mapping[str, Any]
    id: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was read.

    Attributes:
        chunk: Name of its chunk.
        run: Identifier of the run.
        table: A `pyarrow.Table` of its columns, or those that were asked for.
    """

    chunk: str
    run: str
    table: Any

    @property
    def paths(self) -> list[bytes]:
        """The paths of its rows; needs the columns `path` and `path_bytes`."""
        columns = (self.table.column(name).to_pylist() for name in ("path", "path_bytes"))
        return [recorded_path({"path": text, "path_bytes": raw}) for text, raw in zip(*columns, strict=True)]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records; needs the column `record`."""
        for line in self.lines():
            yield json.loads(line)

    def lines(self) -> Iterator[str]:
        """Yield the records as lines of JSON, without line ends; needs the column `record`."""
        for batch in self.table.column("record").chunks:
            for value in batch:
                yield value.as_py()


def write_part(rows: Iterable[PartRow], *, run: str, chunk: str) -> bytes:
    """Return the rows of a chunk as the content of its part.

    Args:
        rows: The rows, in the order of the manifest.
        run: Identifier of the run.
        chunk: Name of the chunk.
    """
    pa = _pyarrow()
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([_flat(row) for row in rows], part_schema(run=run, chunk=chunk))
    buffer = io.BytesIO()
    # A dictionary or a range of values of whole records would only take space.
    flat = [name for name in COLUMNS if name != "record"]
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=flat,
        write_statistics=flat,
        write_page_checksum=True,
    )
    return buffer.getvalue()


def read_part(content: bytes, source: str, columns: Sequence[str] | None = None) -> Part:
    """Read a part, or some of its columns.

    Args:
        content: The part.
        source: Its name, for errors.
        columns: The columns, None for all.

    Raises:
        ContractError: It is damaged, is not a part, or was written by another version.
    """
    pa = _pyarrow()

    file, facts = open_part(pa.BufferReader(content), source)
    try:
        table = file.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ContractError(f"{source} is damaged: {first_line(error).rstrip('.')}", PART_HINT)
    return Part(facts["chunk"], facts["run"], table)


def open_part(file: Any, source: str, hint: str = PART_HINT) -> tuple[Any, dict[str, str]]:
    """Open a Parquet file with the columns of a part.

    Args:
        file: Its path, or a file of `pyarrow`.
        source: Its name, for errors.
        hint: What helps if it is not what it should be.

    Returns:
        A `pyarrow.parquet.ParquetFile`, and the `run` and `chunk` it belongs to; the chunk is empty in a file
        that was made from many parts.

    Raises:
        ContractError: It is damaged, has other columns, or was written by another version.
    """
    pa = _pyarrow()
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file, page_checksum_verification=True)
        metadata = opened.schema_arrow.metadata or {}
        facts = {
            key: metadata.get(f"deepscan.{key}".encode(), b"").decode() for key in ("parts", "run", "chunk")
        }
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ContractError(f"{source} is damaged: {first_line(error).rstrip('.')}", hint)
    if not facts["parts"]:
        raise ContractError(f"{source} is not a part of a scan", hint)
    if facts["parts"] != str(VERSION):
        raise ContractError(f"{source} has version {facts['parts']}, not {VERSION}", hint)
    if not opened.schema_arrow.equals(_schema()):
        raise ContractError(f"{source} has other columns than a part has", hint)
    return opened, facts


def part_schema(*, run: str, chunk: str = "") -> Any:
    """Return the schema of a part: a `pyarrow.Schema`.

    Args:
        run: Identifier of the run.
        chunk: Name of the chunk, empty for a file that is made from many parts.
    """
    _pyarrow()
    return _schema().with_metadata(
        {"deepscan.parts": str(VERSION), "deepscan.run": run, "deepscan.chunk": chunk}
    )


def _flat(row: PartRow) -> dict[str, Any]:
    record = row.record
    seconds = record["seconds"]
    return {
        **{name: record.get(name) for name in _COPIED},
        "id": row.id,
        "label": row.label,
        "started": datetime.fromisoformat(record["started"]),
        "model": (record["model"] or {}).get("name"),
        "seconds": seconds.get("total"),
        "cpu_seconds": sum(value for stage, value in seconds.items() if stage.endswith("_cpu")),
        "record": dump_line(record),
    }


def _pyarrow() -> Any:
    require(["pyarrow"], "store", "a run folder")
    import pyarrow as pa

    return pa


def _schema() -> Any:
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "time": pa.timestamp("ms", "UTC"),
    }
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
