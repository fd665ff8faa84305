"""Going on with an interrupted run: which of its records still stand, and which videos are left."""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from deepscan.media.frames import Status
from deepscan.scan.inputs import resolved
from deepscan.scan.records import recorded_path


@dataclass(frozen=True, slots=True)
class Plan:
    """What a resumed run keeps and what it does.

    Attributes:
        kept: Records that stand, those of videos that this command line does not name included.
        todo: Paths that are left to scan.
    """

    kept: tuple[Mapping[str, Any], ...]
    todo: tuple[bytes, ...]


def plan(
    paths: Sequence[bytes],
    records: Sequence[Mapping[str, Any]],
    retry: Collection[Status] = (),
    on_check: Callable[[], None] = lambda: None,
) -> Plan:
    """Hold a journal against the files as they are now.

    A record stands while its file has the SHA-256 that it states. One without a SHA-256 (no permission, a
    name that leads nowhere) stands while there is no file to be read there.

    Args:
        paths: The files that the command line means.
        records: The journal; of several for one path the last counts.
        retry: Statuses whose videos are scanned again.
        on_check: Called as each file has been checked.
    """
    recorded = {resolved(recorded_path(record)): record for record in records}
    wanted = {resolved(path): path for path in paths}

    def stands(key: bytes) -> bool:
        same = recorded[key]["status"] not in retry and _unchanged(key, recorded[key])
        on_check()
        return same

    again = [key for key in wanted if key in recorded]
    # Hashing leaves the interpreter free, so that threads read several files at once.
    with ThreadPoolExecutor() as threads:
        standing = {key for key, stood in zip(again, threads.map(stands, again), strict=True) if stood}
    return Plan(
        kept=tuple(record for key, record in recorded.items() if key in standing or key not in wanted),
        todo=tuple(path for key, path in wanted.items() if key not in standing),
    )


def _unchanged(path: bytes, record: Mapping[str, Any]) -> bool:
    # Only a regular file is ever opened: reading a named pipe would wait for ever.
    readable = os.path.isfile(path) and os.access(path, os.R_OK)
    if record["sha256"] is None:
        return not readable
    if not readable or os.path.getsize(path) != record["bytes"]:
        return False
    with open(path, "rb") as file:
        return bool(hashlib.file_digest(file, "sha256").hexdigest() == record["sha256"])
