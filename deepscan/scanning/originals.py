"""Remember the records of a run by the content of their videos, in little memory, and read them back."""

import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deepscan.outcomes import Status
from deepscan.scanning.journal import JournalEntry
from deepscan.scanning.record_lines import RecordLine, dump_line

#: Statuses that depend only on the content of a file. Any other may differ for an equal file.
COPIED: frozenset[Status] = frozenset({"ok", "no_face", "too_short", "unsupported", "decode_error"})
#: Bytes that are kept of a SHA-256. The record that is found has the rest.
DIGEST = 16
#: Number of digests that are kept apart before they are sorted among the others: 12 MB.
RECENT = 65_536
#: Sizes of files are kept as bits, 8 MB of them; few of ten million videos then seem to have a known size.
SIZE_BITS = 26
#: Odd multiplier that spreads consecutive sizes over all bits (2**64 divided by the golden ratio).
_SPREAD = 0x9E3779B97F4A7C15
#: Bytes of records that a scan without an output keeps in memory, and in all.
SPOOL_MEMORY, SPOOL_MOST = 16 << 20, 1 << 30
_LENGTH = 4


class DigestMap:
    """Map from digests to places, 24 bytes for each of many; a dictionary would take more than 150."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._digests = np.empty(0, f"S{DIGEST}")
        self._places: NDArray[np.uint64] = np.empty(0, np.uint64)

    def __len__(self) -> int:
        return len(self._recent) + len(self._digests)

    def add(self, digest: bytes, place: int) -> None:
        """Add a digest of `DIGEST` bytes; one that is already there keeps its place."""
        if self.find(digest) is None:
            self._add(digest, place)

    def put(self, digest: bytes, place: int) -> None:
        """Add a digest of `DIGEST` bytes, or give it another place."""
        if digest not in self._recent and (at := self._sorted_at(digest)) is not None:
            self._places[at] = place
        else:
            self._add(digest, place)

    def _add(self, digest: bytes, place: int) -> None:
        self._recent[digest] = place
        if len(self._recent) < RECENT:
            return
        digests = np.concatenate([self._digests, np.array(list(self._recent), self._digests.dtype)])
        places = np.concatenate([self._places, np.array(list(self._recent.values()), np.uint64)])
        order = np.argsort(digests, kind="stable")
        self._digests, self._places = digests[order], places[order]
        self._recent.clear()

    def find(self, digest: bytes) -> int | None:
        """Return the place of a digest, None if it is missing."""
        if (place := self._recent.get(digest)) is not None:
            return place
        at = self._sorted_at(digest)
        return None if at is None else int(self._places[at])

    def _sorted_at(self, digest: bytes) -> int | None:
        if not len(self._digests):
            return None
        # NumPy drops zeros at the end of a string.
        at = int(np.searchsorted(self._digests, np.bytes_(digest)))
        there = at < len(self._digests) and bool(self._digests[at] == digest.rstrip(b"\0"))
        return at if there else None


class Originals:
    """The records of a run whose results apply to every file of equal content.

    Args:
        read: Returns the line of a record, given the place at which it was added.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._places = DigestMap()
        # Allocated by the system page by page, as they are written.
        self._sizes: NDArray[np.uint8] = np.zeros(1 << (SIZE_BITS - 3), np.uint8)

    def expect(self, size: int) -> bool:
        """Note the size of a file, and return whether an earlier one may have had the same.

        Rarely it only seems so: different sizes can share a bit.
        """
        bit = (size * _SPREAD & 0xFFFF_FFFF_FFFF_FFFF) >> (64 - SIZE_BITS)
        before = int(self._sizes[bit >> 3])
        self._sizes[bit >> 3] = before | 1 << (bit & 7)
        return bool(before >> (bit & 7) & 1)

    def add(self, record: RecordLine | JournalEntry, place: int | None) -> None:
        """Add a record, unless its results may differ for an equal file.

        Args:
            record: The record.
            place: Where to read its line, None if it cannot be read back.
        """
        if record.sha256 is None or record.size is None or place is None or record.status not in COPIED:
            return
        self.expect(record.size)
        self._places.add(bytes.fromhex(record.sha256)[:DIGEST], place)

    def find(self, sha256: str) -> Mapping[str, Any] | None:
        """Return the record of a video with this content, None if there is none or it cannot be read."""
        place = self._places.find(bytes.fromhex(sha256)[:DIGEST])
        if place is None:
            return None
        # Whoever changes the records during a scan loses time, not results: the video is scanned.
        with suppress(OSError, ValueError, KeyError, TypeError, zlib.error):
            record: dict[str, Any] = json.loads(self._read(place))
            return record if record["sha256"] == sha256 and record["status"] in COPIED else None
        return None


class RecordSpool:
    """Records of a scan that writes none, compressed in an unnamed temporary file; a context manager.

    When `SPOOL_MOST` is reached or there is no space, no more are kept: that never ends a scan.
    """

    def __init__(self) -> None:
        self._file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(SPOOL_MEMORY)  # noqa: SIM115
        self._end = 0

    def append(self, record: Mapping[str, Any]) -> int | None:
        """Keep a record; return its place, None if it was not kept."""
        content = zlib.compress(dump_line(record).encode("ascii"), 1)
        if self._end + _LENGTH + len(content) > SPOOL_MOST:
            return None
        place = self._end
        try:
            self._file.seek(place)
            self._file.write(len(content).to_bytes(_LENGTH, "big") + content)
        except OSError:
            return None
        self._end = self._file.tell()
        return place

    def read(self, place: int) -> bytes:
        """Return the line at a place."""
        self._file.seek(place)
        length = int.from_bytes(self._file.read(_LENGTH), "big")
        return zlib.decompress(self._file.read(length))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()


def line_reader(path: Path) -> Callable[[int], bytes]:
    """Return a function that reads the line of a file that begins at an offset in bytes."""

    def read(offset: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.readline()

    return read
