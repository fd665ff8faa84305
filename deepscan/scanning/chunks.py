"""The rows of a run's manifest, in chunks. A chunk is scanned as a whole, and gives one part of the run."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from deepscan.errors import ContractError, UsageError, first_line, require
from deepscan.scanning.record_lines import path_fields

#: Hexadecimal digits of a chunk's name.
NAME_DIGITS = 16
#: Rows that are converted at once.
_BLOCK = 8192
#: Columns of a manifest file besides the path, in the order of the fields of `ManifestRow`.
_OTHERS = ("id", "label", "size", "etag", "sha256")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One video of a manifest.

    Attributes:
        path: Absolute path or address.
        id: The user's name for it.
        label: The user's label, such as `fake`.
        size: Size in bytes, if known.
        etag: The store's version of the object, if known.
        sha256: SHA-256 of the content, if known.
    """

    path: bytes
    id: str | None = None
    label: str | None = None
    size: int | None = None
    etag: str | None = None
    sha256: str | None = None

    @property
    def key(self) -> bytes:
        """What decides which content is scanned. A path contains no NUL, so that keys differ if rows do."""
        size = "" if self.size is None else str(self.size)
        return b"\0".join(
            [self.path, (self.etag or "").encode(), size.encode(), (self.sha256 or "").encode()]
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a manifest.

    Attributes:
        index: Its position in the manifest, from 0.
        rows: Its rows.
        name: Name of its part, 16 hexadecimal digits that depend on the rows only.
    """

    index: int
    rows: tuple[ManifestRow, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A share of a run's chunks: `number`, from 1, of `count`.

    Raises:
        UsageError: The number is not from 1 to the count.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(
                f"there is no shard {self.number} of {self.count}", "shards count from 1: 1/4 to 4/4"
            )

    def block(self, chunks: int) -> range:
        """Return the indices of this shard's chunks: consecutive, and as many as others have, or one more."""
        return range((self.number - 1) * chunks // self.count, self.number * chunks // self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def chunk_name(rows: Iterable[ManifestRow]) -> str:
    """Return the name of the chunk with these rows: names begin differently, which spreads requests."""
    return hashlib.sha256(b"\n\0".join(row.key for row in rows)).hexdigest()[:NAME_DIGITS]


def chunked(rows: Iterable[ManifestRow], size: int, first: int = 0) -> Iterator[Chunk]:
    """Yield rows in chunks.

    Args:
        rows: The rows, from the beginning of a chunk.
        size: Rows of a chunk; the last one may have fewer.
        first: Index of the first chunk.
    """
    left = iter(rows)
    index = first
    while part := tuple(islice(left, size)):
        yield Chunk(index, part, chunk_name(part))
        index += 1


def write_rows(rows: Iterable[ManifestRow]) -> tuple[bytes, int]:
    """Return rows as a Parquet file of a run's manifest, and how many there are."""
    pa = _pyarrow()
    import pyarrow.parquet as pq

    buffer, left, count = io.BytesIO(), iter(rows), 0
    with pq.ParquetWriter(buffer, _schema(), compression="zstd", write_page_checksum=True) as file:
        while block := list(islice(left, _BLOCK)):
            paths = [path_fields(row.path) for row in block]
            columns = {
                "path": [text for text, _ in paths],
                "path_bytes": [raw for _, raw in paths],
                **{name: [getattr(row, name) for row in block] for name in _OTHERS},
            }
            file.write_table(pa.table(columns, _schema()))
            count += len(block)
    return buffer.getvalue(), count


def read_rows(content: bytes, source: str) -> Iterator[ManifestRow]:
    """Yield the rows of such a file.

    Args:
        content: The file.
        source: Its name, for errors.

    Raises:
        ContractError: It is damaged, or was not written by this version.
    """
    pa = _pyarrow()
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        if not file.schema_arrow.equals(_schema()):
            raise pa.ArrowInvalid("its columns are different")
        for batch in file.iter_batches(_BLOCK):
            for text, raw, *rest in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield ManifestRow(text.encode() if raw is None else bytes.fromhex(raw), *rest)
    except (pa.ArrowException, OSError) as error:
        raise ContractError(f"{source} cannot be read: {first_line(error)}", "restore it, or start a new run")


def _pyarrow() -> Any:
    require(["pyarrow"], "store", "a run folder")
    import pyarrow as pa

    return pa


def _schema() -> Any:
    import pyarrow as pa

    order = ("path", "path_bytes", *_OTHERS)
    return pa.schema([(name, pa.int64() if name == "size" else pa.string()) for name in order])
