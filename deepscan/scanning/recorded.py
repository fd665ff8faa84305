"""Keep the entries of a journal while a run is resumed: millions of them, in little memory."""

import hashlib
import marshal
from array import array
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import overload

from deepscan.scanning.journal import JournalEntry
from deepscan.scanning.originals import DIGEST, DigestMap
from deepscan.scanning.path_spool import PathSpool
from deepscan.scanning.paths import identity

_FIELDS = attrgetter(*JournalEntry.__dataclass_fields__)


class RecordedEntries:
    """The entries of a journal by the videos that they are about; the last one of a video counts.

    In memory it takes 33 bytes for each; the entries are in an unnamed temporary file.

    Args:
        entries: The entries, in the order of the journal.

    Raises:
        OSError: There is no space for the temporary file.
    """

    def __init__(self, entries: Iterable[JournalEntry]) -> None:
        self._packed = PathSpool()
        self._numbers = DigestMap()
        self._dropped = bytearray()
        #: Identifiers of the runs that the records are of.
        self.runs: set[str] = set()
        for number, entry in enumerate(entries):
            digest = _digest(identity(entry.path))
            if (former := self._numbers.find(digest)) is not None:
                self._dropped[former] = 1
            self._numbers.put(digest, number)
            self._packed.append(marshal.dumps(_FIELDS(entry)))
            self._dropped.append(0)
            self.runs.add(entry.run)

    def __len__(self) -> int:
        return len(self._packed)

    def find(self, key: bytes) -> JournalEntry | None:
        """Return the entry of a video, None if it has none or it was dropped.

        Args:
            key: The `identity` of its path.
        """
        number = self._numbers.find(_digest(key))
        return None if number is None or self._dropped[number] else _unpacked(self._packed[number])

    def drop(self, key: bytes) -> None:
        """Drop the entry of a video, if it has one."""
        number = self._numbers.find(_digest(key))
        if number is not None:
            self._dropped[number] = 1

    def kept(self) -> "KeptEntries":
        """Return the entries that count and were not dropped."""
        return KeptEntries(
            self._packed,
            array("Q", (number for number, dropped in enumerate(self._dropped) if not dropped)),
        )


class KeptEntries(Sequence[JournalEntry]):
    """Entries that are kept, in the order of the journal.

    Args:
        packed: All entries.
        numbers: The numbers of those that are kept, ascending.
    """

    def __init__(self, packed: Sequence[bytes] = (), numbers: Sequence[int] = ()) -> None:
        self._packed, self._numbers = packed, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> JournalEntry: ...

    @overload
    def __getitem__(self, at: slice) -> "KeptEntries": ...

    def __getitem__(self, at: "int | slice") -> "JournalEntry | KeptEntries":
        if isinstance(at, slice):
            return KeptEntries(self._packed, self._numbers[at])
        return _unpacked(self._packed[self._numbers[at]])

    def __iter__(self) -> Iterator[JournalEntry]:
        # All are read in blocks, which is faster than one by one.
        numbers = iter(self._numbers)
        wanted = next(numbers, None)
        for number, packed in enumerate(self._packed):
            if number == wanted:
                yield _unpacked(packed)
                wanted = next(numbers, None)
            if wanted is None:
                return


def _unpacked(packed: bytes) -> JournalEntry:
    return JournalEntry(*marshal.loads(packed))


def _digest(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=DIGEST).digest()
