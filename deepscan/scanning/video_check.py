"""Check by hashes that the videos of a run, in files and in object stores, are those that were scanned."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepscan.scanning.model_check import Finding, FindingKind
from deepscan.scanning.paths import place_of
from deepscan.scanning.sources import is_object
from deepscan.storage.errors import ObjectError

if TYPE_CHECKING:
    from deepscan.storage.fetch import FetchedObject

#: Progress callback: (bytes read, total bytes).
OnVideoBytes = Callable[[int, int], None]

#: Reported for a video that is no longer at its path.
NOT_THERE = "the video was not found"
_CHUNK = 1 << 20
#: Objects that are fetched at the same time.
_AHEAD = 4
_SUBJECT = "SHA-256 of the video"


@dataclass(frozen=True, slots=True)
class RecordedVideo:
    """A video according to its record.

    Attributes:
        path: Its path or address.
        shown: The same as text.
        sha256: Its SHA-256.
        size: Its size in bytes.
        changed: Whether it changed while it was scanned.
    """

    path: bytes
    shown: str
    sha256: str
    size: int
    changed: bool


def check_videos(
    videos: Sequence[RecordedVideo], root: Path | None, on_progress: OnVideoBytes | None
) -> Iterator[list[Finding]]:
    """Yield what is wrong with each video, in their order.

    Args:
        videos: The videos.
        root: Folder in which they are now, see `place_of`; None for the recorded paths. Objects that are not
            in it are fetched.
        on_progress: Called while they are read.

    Raises:
        DeepscanError: A store cannot be read at all.
    """
    places = [place_of(video.path, root) for video in videos]
    # Whoever changed a file may have changed its size.
    total = sum(
        video.size if place is None else os.path.getsize(place)
        for video, place in zip(videos, places, strict=True)
        if place is not None or is_object(video.path)
    )
    read = 0

    def count(size: int) -> None:
        nonlocal read
        read += size
        if on_progress is not None:
            on_progress(read, total)

    for video, place, fetched in _fetched_ahead(zip(videos, places, strict=True)):
        if place is None and fetched is None:
            yield [Finding("missing", video.shown, NOT_THERE)]
            continue
        try:
            found = _hash(place, count) if fetched is None else _hash_of(fetched, count)
        except OSError as error:
            yield [Finding("unchecked", video.shown, f"cannot be read: {error.strerror}")]
        except ObjectError as error:
            if error.ends_run(video.shown):
                raise error.of_run(video.shown) from error
            kind: FindingKind = "missing" if error.problem == "missing" else "unchecked"
            yield [Finding(kind, video.shown, error.detail)]
        else:
            yield list(_compare(video, found, place))


_Ahead = tuple[RecordedVideo, bytes | None, "Future[FetchedObject] | None"]


def _fetched_ahead(videos: Iterable[tuple[RecordedVideo, bytes | None]]) -> Iterator[_Ahead]:
    """Yield each video with its place, or with the object to come if it is in a store."""
    ahead: deque[_Ahead] = deque()
    fetcher = None
    try:
        for video, place in videos:
            future = None
            if place is None and is_object(video.path):
                if fetcher is None:
                    from deepscan.storage.copies import CopySpace
                    from deepscan.storage.fetch import Fetcher

                    fetcher = Fetcher(CopySpace())
                future = fetcher.start(os.fsdecode(video.path))
            ahead.append((video, place, future))
            if len(ahead) > _AHEAD:
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()
    finally:
        for _, _, future in ahead:
            if future is not None:
                future.cancel()


def _compare(video: RecordedVideo, found: str, place: bytes | None) -> Iterator[Finding]:
    if found == video.sha256:
        return
    where = "" if place in (None, video.path) else f" Checked file: {os.fsdecode(place or b'')}."
    meaning = "This is not the file that was scanned: the record does not apply to it."
    if video.changed:
        meaning = "It changed while it was being scanned, so the record has no score."
    yield Finding("mismatch", video.shown, _SUBJECT, video.sha256, found, meaning + where)


def _hash_of(fetched: "Future[FetchedObject]", count: Callable[[int], None]) -> str:
    """Return the SHA-256 of an object, which was hashed while it came."""
    found = fetched.result()
    with closing(found.copy):
        count(found.size)
    return found.sha256


def _hash(path: bytes | None, count: Callable[[int], None]) -> str:
    assert path is not None
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            count(len(chunk))
    return digest.hexdigest()
