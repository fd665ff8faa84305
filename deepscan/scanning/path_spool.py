"""Sequences and sets of millions of paths, in little memory."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from tempfile import SpooledTemporaryFile
from typing import overload
from weakref import finalize

import numpy as np

#: Bytes of paths that are kept in memory; beyond that, all are in a temporary file.
MEMORY = 16 << 20
#: Number of paths that are read at once.
BLOCK = 4096
#: Number of digests that are kept apart before they are sorted among the others: 60 MB.
RECENT = 500_000
#: Bytes of a digest. By chance, two of ten million paths have the same with a probability below 10**-24.
DIGEST = 16


class PathSpool(Sequence[bytes]):
    """Sequence of paths that moves to an unnamed temporary file as it grows; only append to it.

    In memory it takes 8 bytes for each path. A list of them would take more than 100.
    """

    def __init__(self) -> None:
        self._file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(MEMORY)  # noqa: SIM115
        finalize(self, self._file.close)
        # Place of each path's first byte, and of the byte after the last path.
        self._places = array("Q", [0])

    def append(self, path: bytes) -> None:
        """Add a path.

        Raises:
            OSError: There is no space for the temporary file.
        """
        self._file.seek(self._places[-1])
        self._file.write(path)
        self._places.append(self._places[-1] + len(path))

    def __len__(self) -> int:
        return len(self._places) - 1

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if isinstance(at, int):
            number = range(len(self))[at]
            return self._read(number, number + 1)[0]
        chosen = range(len(self))[at]
        if chosen.step == 1:
            return self._read(chosen.start, chosen.stop)
        return [self[number] for number in chosen]

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    def _read(self, start: int, stop: int) -> list[bytes]:
        """Return the paths from `start` up to `stop`."""
        if start >= stop:
            return []
        places = self._places[start : stop + 1]
        self._file.seek(places[0])
        content = self._file.read(places[-1] - places[0])
        ends = [place - places[0] for place in places]
        return [content[begin:end] for begin, end in pairwise(ends)]


class PathSet:
    """Set of paths of which only digests are kept: 16 bytes for each of many, instead of more than 100."""

    def __init__(self) -> None:
        self._recent: set[bytes] = set()
        self._sorted = np.empty(0, f"S{DIGEST}")

    def add(self, path: bytes) -> bool:
        """Add a path; return whether it is new."""
        digest = hashlib.blake2b(path, digest_size=DIGEST).digest()
        if digest in self._recent or self._is_sorted(digest):
            return False
        self._recent.add(digest)
        if len(self._recent) >= RECENT:
            recent = np.sort(np.array(list(self._recent), f"S{DIGEST}"))
            # A stable sort merges two sorted parts in linear time.
            self._sorted = np.concatenate([self._sorted, recent])
            self._sorted.sort(kind="stable")
            self._recent.clear()
        return True

    def _is_sorted(self, digest: bytes) -> bool:
        if not len(self._sorted):
            return False
        # NumPy drops zeros at the end of a string.
        key = np.bytes_(digest)
        place = int(np.searchsorted(self._sorted, key))
        return place < len(self._sorted) and bool(self._sorted[place] == key.rstrip(b"\0"))
