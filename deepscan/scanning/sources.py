"""Items that a scan works off: files of this machine, and objects that are fetched for it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from deepscan.outcomes import Status


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
        release: Called once when `file` is no longer needed.
    """

    path: bytes
    file: bytes | None = None
    sha256: str | None = None
    size: int | None = None
    etag: str | None = None
    failure: tuple[Status, str] | None = None
    release: Callable[[], None] = _keep


def local_items(paths: Iterable[bytes]) -> Iterator[ScanItem]:
    """Yield an item for each file of this machine."""
    return (ScanItem(path) for path in paths)
