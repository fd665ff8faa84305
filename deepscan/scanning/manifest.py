"""Read which videos to scan from a CSV or Parquet manifest, and decide how many of them a chunk has."""

import csv
import io
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from deepscan.errors import UsageError, first_line, require
from deepscan.scanning.chunks import ManifestRow
from deepscan.scanning.path_spool import PathSet
from deepscan.scanning.paths import open_list
from deepscan.storage.address import is_address, local_path, scheme_of

#: Suffixes of manifests. A list of any other name has one path in each line.
TABLES = (".csv", ".parquet")
#: Columns that may name a video; the first of them in the manifest is used.
PATH_COLUMNS = ("path", "uri")
#: Other columns that are read. Columns of any other name are ignored.
OTHER_COLUMNS = ("id", "label", "size", "etag", "sha256")
#: Most rows of a chunk, unless `--chunk` says otherwise.
CHUNK_ROWS = 256
#: A shard gets at least this many chunks if it has enough videos, so that little is lost when it is killed.
CHUNKS_PER_SHARD = 8
_FORM = "a manifest has a column path (or uri), and may have id, label, size, etag and sha256"


def is_table(name: str) -> bool:
    """Return whether a list is a CSV or Parquet manifest, by its suffix."""
    return name.lower().endswith(TABLES)


def default_chunk(rows: int, shards: int) -> int:
    """Return how many rows a chunk has by default.

    Args:
        rows: Number of rows of the manifest.
        shards: Number of shards that share them, at least 1.
    """
    return max(1, min(CHUNK_ROWS, -(-rows // (CHUNKS_PER_SHARD * shards))))


def table_rows(name: str, folder: str = "") -> Iterator[ManifestRow]:
    """Yield the rows of a manifest as they are read.

    Args:
        name: Its path or address, which ends in `.csv` or `.parquet`.
        folder: The folder that paths in it are relative to; empty for the current one.

    Raises:
        UsageError: It cannot be read, has no column of paths, or names a video twice; the message says where.
        MissingError: A package is missing.
    """
    seen = PathSet()
    for place, row in _numbered(name, folder):
        if seen.add(row.path):
            yield row
            continue
        first = next(earlier for earlier, other in _numbered(name, folder) if other.path == row.path)
        raise UsageError(
            f"{name!r} names {os.fsdecode(row.path)!r} twice, in {first} and {place}",
            "remove one of them: each video gets one record",
        )


def _numbered(name: str, folder: str) -> Iterator[tuple[str, ManifestRow]]:
    """Yield the rows of a manifest, with the place of each for messages."""
    read = _csv_values if name.lower().endswith(".csv") else _parquet_values
    with open_list(name) as file:
        for place, values in read(name, file):
            try:
                yield place, _row(values, folder)
            except ValueError as error:
                raise UsageError(f"{place} of {name!r}: {error}", _FORM)


def _csv_values(name: str, file: BinaryIO) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # Paths may have bytes that are not UTF-8. Excel writes a byte order mark.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text, restkey="")
    try:
        columns = _columns(name, reader.fieldnames or ())
        for values in reader:
            place = f"line {reader.line_num}"
            if "" in values:
                raise UsageError(
                    f"{place} of {name!r} has more fields than the header", "quote fields that have a comma"
                )
            yield place, {column: values[own] for column, own in columns.items()}
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num} of {name!r} is not CSV: {error}", _FORM)
    finally:
        text.detach()


def _parquet_values(name: str, file: BinaryIO) -> Iterator[tuple[str, Mapping[str, Any]]]:
    require(("pyarrow",), "store", "a Parquet manifest")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        columns = _columns(name, table.schema_arrow.names)
        number = 0
        for batch in table.iter_batches(4096, columns=list(columns.values())):
            values = [batch.column(own).to_pylist() for own in columns.values()]
            for row in zip(*values, strict=True):
                number += 1
                yield f"row {number}", dict(zip(columns, row, strict=True))
    except pa.ArrowException as error:
        raise UsageError(f"{name!r} is not a Parquet file: {first_line(error)}", _FORM)


def _columns(name: str, found: Sequence[str]) -> dict[str, str]:
    """Return field of `ManifestRow` -> column of a manifest."""
    path = next((column for column in PATH_COLUMNS if column in found), None)
    if path is None:
        raise UsageError(
            f"the manifest {name!r} has no column path or uri; its columns are: {', '.join(found) or 'none'}",
            _FORM,
        )
    twice = [column for column in (path, *OTHER_COLUMNS) if list(found).count(column) > 1]
    if twice:
        raise UsageError(f"the manifest {name!r} has two columns {twice[0]}", "remove one of them")
    return {"path": path, **{column: column for column in OTHER_COLUMNS if column in found}}


def _row(values: Mapping[str, Any], folder: str) -> ManifestRow:
    """Return a row of a manifest.

    Raises:
        ValueError: A value is missing or impossible.
    """
    path = values["path"]
    if not isinstance(path, str | bytes):
        raise ValueError("it has no path" if path is None else f"its path is {path!r}, which is not text")
    raw = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
    if not raw or b"\0" in raw:
        raise ValueError("its path has a NUL byte" if raw else "it has no path")
    return ManifestRow(_absolute(raw, folder), *(_READERS[each](values.get(each)) for each in OTHER_COLUMNS))


def _absolute(path: bytes, folder: str) -> bytes:
    name = os.fsdecode(path)
    if is_address(name):
        return path if scheme_of(name) != "file" else os.fsencode(local_path(name))
    return os.path.abspath(os.path.join(os.fsencode(folder), path))


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _size(value: Any) -> int | None:
    # pandas writes whole numbers as floats where some are missing, and NaN for these.
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        size = int(value)
        if size != float(value) or size < 0:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"its size is {value!r}, which is not a number of bytes")
    return size


def _etag(value: Any) -> str | None:
    etag = _text(value)
    return etag if etag is None or etag.startswith("W/") else etag.strip('"') or None


def _sha256(value: Any) -> str | None:
    digest = (_text(value) or "").lower()
    if digest and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise ValueError(f"its sha256 is {value!r}, not 64 hexadecimal digits")
    return digest or None


#: Column -> how its values are read.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "id": _text,
    "label": _text,
    "size": _size,
    "etag": _etag,
    "sha256": _sha256,
}
