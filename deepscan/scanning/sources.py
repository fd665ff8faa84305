"""Items that a scan works off: files of this machine, and objects that are fetched for it."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

from deepscan.devices import usable_memory
from deepscan.outcomes import Status
from deepscan.scanning.path_spool import PathSpool
from deepscan.storage.address import is_address

if TYPE_CHECKING:
    from deepscan.storage.fetch import FetchedObject, Fetcher

#: Objects that are fetched ahead, in addition to one for each decoder; the most with any number of these.
_AHEAD, _MOST_AHEAD = 2, 32
#: Share of the memory that copies of objects may take together, and the most bytes.
_MEMORY_SHARE, _MOST_MEMORY = 1 / 8, 2 << 30


def _keep() -> None:
    """Release nothing."""


@dataclass(frozen=True, slots=True)
class ScanItem:
    """A video to scan.

    Attributes:
        path: Its path or address as bytes, as the record has it.
        file: The file to open, such as a copy in memory; None to open `path`.
        sha256: SHA-256 of the content in hexadecimal, None if unknown.
        size: Its size in bytes, None if unknown.
        etag: ETag of an object, None for files.
        failure: Status and detail of a video that cannot be fetched: its record is written without decoding.
        seconds: Stage before decoding -> seconds, such as `fetch`.
        release: Called once when `file` is no longer needed.
    """

    path: bytes
    file: bytes | None = None
    sha256: str | None = None
    size: int | None = None
    etag: str | None = None
    failure: tuple[Status, str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    release: Callable[[], None] = _keep

    @property
    def to_fetch(self) -> bool:
        """Whether it is an object that must be fetched before it can be decoded."""
        return self.file is None and self.failure is None and is_object(self.path)


def is_object(path: bytes) -> bool:
    """Return whether the path of a record is an address; paths of files are absolute."""
    return not path.startswith(b"/") and is_address(os.fsdecode(path))


def local_items(paths: Iterable[bytes]) -> Iterator[ScanItem]:
    """Yield an item for each file of this machine."""
    return (ScanItem(path) for path in paths)


def listed_items(paths: Iterable[bytes], etags: Sequence[bytes] = ()) -> Iterator[ScanItem]:
    """Yield an item for each path or address.

    Args:
        paths: The paths and addresses.
        etags: ETag of each, empty if unknown; may end before the paths do.
    """
    for path, etag in zip(paths, chain(etags, repeat(b"")), strict=False):
        yield ScanItem(path, etag=os.fsdecode(etag) or None)


def append_item(paths: PathSpool, etags: PathSpool, item: ScanItem) -> None:
    """Append what `listed_items` reads again: the path, and the ETag at the same place if it is known."""
    if item.etag is not None:
        for _ in range(len(paths) - len(etags)):
            etags.append(b"")
        etags.append(os.fsencode(item.etag))
    paths.append(item.path)


def fetch_object(address: str, fetcher: "Fetcher | None" = None) -> "FetchedObject":
    """Fetch an object that was named, and wait for it.

    Args:
        address: Its address.
        fetcher: What fetches, None for one with the default limits.

    Raises:
        DeepscanError: No object of its store can be read.
        ObjectError: Only this object cannot be read.
    """
    from deepscan.storage.errors import ObjectError

    try:
        return (fetcher or new_fetcher()).fetch(address)
    except ObjectError as failure:
        if failure.ends_run(address):
            raise failure.of_run(address) from failure
        raise


def fetched_items(
    items: Iterable[ScanItem | None],
    workers: int,
    scratch: Path | None = None,
    fetcher: "Fetcher | None" = None,
) -> Generator[ScanItem | None, None, None]:
    """Fetch the objects among items, a few ahead, and yield each item when it can be decoded.

    Close it when the scan ends: this stops the transfers and deletes the copies that were not yielded.

    Args:
        items: The items; those that need not be fetched are yielded as they are. None means that none is
            ready yet.
        workers: Number of decoders.
        scratch: Folder for objects that are too large for memory, None for that of the system.
        fetcher: What fetches, None for one with the default limits.

    Yields:
        Items in the order in which they have arrived, and None if none has arrived yet.

    Raises:
        DeepscanError: A store refuses the credentials or cannot be reached, or there is no such bucket.
    """
    source, exhausted = iter(items), False
    arrivals = _Arrivals(lambda: fetcher or new_fetcher(scratch))
    most = min(workers + _AHEAD, _MOST_AHEAD)
    try:
        while not exhausted or len(arrivals):
            while len(arrivals) < most and not exhausted:
                try:
                    item = next(source)
                except StopIteration:
                    exhausted = True
                    break
                if item is None:
                    break
                arrivals.add(item)
            if (arrived := arrivals.first()) is not None or len(arrivals) or not exhausted:
                yield arrived
    finally:
        arrivals.drop()


class _Arrivals:
    """Items that are being fetched or have arrived.

    Args:
        new_fetcher: Makes what fetches, when the first object is to be fetched.
    """

    def __init__(self, new_fetcher: "Callable[[], Fetcher]") -> None:
        self._new_fetcher = new_fetcher
        self._fetcher: Fetcher | None = None
        self._waiting: dict[Future[FetchedObject], ScanItem] = {}
        self._ready: deque[ScanItem] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._ready)

    def add(self, item: ScanItem) -> None:
        """Begin to fetch an item, if it must be fetched."""
        if not item.to_fetch:
            self._ready.append(item)
            return
        self._fetcher = self._fetcher or self._new_fetcher()
        self._waiting[self._fetcher.start(os.fsdecode(item.path), item.etag)] = item

    def first(self) -> ScanItem | None:
        """Return an item that has arrived, None if there is none."""
        for future in [future for future in self._waiting if future.done()]:
            self._ready.append(_arrived(self._waiting.pop(future), future))
        return self._ready.popleft() if self._ready else None

    def drop(self) -> None:
        """Stop all transfers, and delete the copies."""
        for item in self._ready:
            item.release()
        for future in self._waiting:
            if not future.cancel() and future.exception() is None:
                future.result().copy.close()
        self._ready.clear()
        self._waiting.clear()


def new_fetcher(scratch: Path | None = None) -> "Fetcher":
    """Return a fetcher whose copies take a small share of the memory.

    Args:
        scratch: Folder for objects that are too large for memory, None for that of the system.
    """
    # Here, because few scans need it.
    from deepscan.storage.copies import CopySpace
    from deepscan.storage.fetch import Fetcher

    memory = min(_MOST_MEMORY, int(usable_memory() * _MEMORY_SHARE))
    return Fetcher(CopySpace(scratch, all_in_memory=memory))


def _arrived(item: ScanItem, future: "Future[FetchedObject]") -> ScanItem:
    """Return the item with the copy of its object, or with the reason why there is none."""
    from deepscan.storage.errors import ObjectError

    try:
        found = future.result()
    except ObjectError as failure:
        if failure.ends_run(os.fsdecode(item.path)):
            raise failure.of_run(os.fsdecode(item.path)) from failure
        status: Status = "changed" if failure.problem == "changed" else "error"
        return replace(item, etag=None, failure=(status, failure.detail))
    return replace(
        item,
        file=found.copy.file,
        sha256=found.sha256,
        size=found.size,
        etag=found.etag,
        seconds={"fetch": found.seconds},
        release=found.copy.close,
    )
