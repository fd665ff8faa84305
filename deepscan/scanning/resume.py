"""Going on with an interrupted run: which of its records still stand, and which videos are left."""

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deepscan.media.frames import Status
from deepscan.scanning.journal import JournalEntry


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What a resumed run keeps and what it does.

    Attributes:
        kept: Records that stand, those of videos that this command line does not name included.
        todo: Paths that are left to scan.
    """

    kept: tuple[JournalEntry, ...]
    todo: tuple[bytes, ...]


def plan(
    paths: Sequence[bytes], recorded: Iterable[JournalEntry], retry: Collection[Status] = ()
) -> ResumePlan:
    """Hold a journal against the files as they are now.

    A record stands while its file has the SHA-256 that it states. One without a SHA-256 (no permission, a
    name that leads nowhere) stands while there is no file to be read there.

    Args:
        paths: The files that the command line means.
        recorded: The journal's entries; of several for one path the last counts.
        retry: Statuses whose videos are scanned again.
    """
    known = {os.path.realpath(entry.path): entry for entry in recorded}
    wanted = {os.path.realpath(path): path for path in paths}
    again = [key for key in wanted if key in known and known[key].status not in retry]
    # Hashing leaves the interpreter free, so that threads read several files at once.
    with ThreadPoolExecutor() as threads:
        stood = threads.map(lambda key: _unchanged(key, known[key]), again)
        standing = {key for key, same in zip(again, stood, strict=True) if same}
    return ResumePlan(
        kept=tuple(entry for key, entry in known.items() if key in standing or key not in wanted),
        todo=tuple(path for key, path in wanted.items() if key not in standing),
    )


def _unchanged(path: bytes, entry: JournalEntry) -> bool:
    # Only a regular file is ever opened: reading a named pipe would wait for ever.
    readable = os.path.isfile(path) and os.access(path, os.R_OK)
    if entry.sha256 is None:
        return not readable
    try:
        if not readable or os.path.getsize(path) != entry.size:
            return False
        with open(path, "rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256)
    except OSError:
        # Gone or broken meanwhile: the scan will say how.
        return False
