"""Plan how to resume a run: its parameters and inputs, the records to keep, and the videos left."""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from deepscan.cards import CARD
from deepscan.devices import usable_cpus
from deepscan.errors import ContractError
from deepscan.media.decoders import AUTO
from deepscan.outcomes import Status
from deepscan.scanning.journal import JournalEntry
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.path_spool import PathSet, PathSpool
from deepscan.scanning.paths import ScanInputs, identity
from deepscan.scanning.recorded import RecordedEntries
from deepscan.scanning.runfile import FREE_PARAMETERS, typed_option
from deepscan.scanning.sources import ScanItem, append_item, fetch_object, is_object, listed_items
from deepscan.storage.errors import ObjectError
from deepscan.storage.listing import object_info

#: Files that are checked before the first result is taken, for each thread.
_CHECKED_AHEAD = 4
#: Seconds within which two modifications of a file may have the same time: FAT counts in steps of two.
_CLOCK_RESOLUTION = 2.0


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What a resumed run keeps and what it scans.

    Attributes:
        kept: Records to keep, including those of videos that this command line does not name.
        todo: Paths and addresses that are left to scan.
        etags: ETags of the objects among these, see `ScanPaths.etags`.
    """

    kept: Sequence[JournalEntry]
    todo: Sequence[bytes]
    etags: Sequence[bytes] = ()

    def items(self) -> Iterator[ScanItem]:
        """Yield what is left to scan."""
        return listed_items(self.todo, self.etags)


def resumed_options(run: Mapping[str, Any], overrides: Mapping[str, Any]) -> ScanOptions:
    """Return the parameters with which a run was started.

    Args:
        run: The run's record.
        overrides: Parameters that are given again, by their names in `ScanOptions`.

    Raises:
        ContractError: One of them differs.
        UsageError: The run's record has values that this version does not know.
    """
    recorded = run.get("parameters") or {}
    names = [field.name for field in fields(ScanOptions) if field.name != "quality"]
    kept = {"model": AUTO, "also": (), **{name: recorded[name] for name in names if name in recorded}}
    kept |= {
        "model": _found_again(kept["model"], run),
        "also": tuple(_found_again(name, run) for name in kept["also"]),
    }
    differing = [
        f"{typed_option(name)} {_shown(kept[name])}, not {_shown(value)}"
        for name, value in overrides.items()
        if name not in FREE_PARAMETERS and name in kept and kept[name] != value
    ]
    if differing:
        raise ContractError(
            f"the run was started with {'; '.join(differing)}",
            "leave these options out: --resume uses those of the run",
        )
    # A model that is named replaces the others.
    return ScanOptions(**{**kept, **({"also": ()} if "model" in overrides else {}), **overrides})


def resumed_inputs(run: Mapping[str, Any]) -> ScanInputs:
    """Return the inputs of all sessions of a run together; empty if they were not recorded."""
    inputs = [
        ScanInputs.from_json(session["inputs"])
        for session in run.get("sessions", ())
        if session.get("inputs")
    ]
    return ScanInputs(
        named=tuple(dict.fromkeys(name for part in inputs for name in part.named)),
        lists=tuple(dict.fromkeys(name for part in inputs for name in part.lists)),
        stdin=any(part.stdin for part in inputs),
        null=any(part.null for part in inputs),
        folder=inputs[0].folder if inputs else "",
    )


def _shown(value: object) -> str:
    """Return the value of a parameter as it is typed, or `on` or `off` for a switch."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _found_again(model: str, run: Mapping[str, Any]) -> str:
    """Return the name of a model, or its folder if the run's first session had it there."""
    sessions = run.get("sessions") or [{}]
    folder = Path(sessions[0].get("folder") or ".") / model
    return str(folder) if (folder / CARD).is_file() else model


def plan(
    paths: Iterable[bytes],
    recorded: RecordedEntries,
    retry: Collection[Status] = (),
    *,
    etags: Sequence[bytes] = (),
    verify_inputs: bool = False,
) -> ResumePlan:
    """Compare a journal with the files as they are now.

    A record is kept if its file still has the recorded size and time of modification, or else the recorded
    SHA-256. A record without SHA-256 (no permission, a broken link) is kept if there is still not a readable
    file. An object is not read: its ETag must be the recorded one.

    Args:
        paths: The files and objects that the command line names; there may be millions.
        recorded: The journal's entries. Those of videos that are to be scanned again are dropped.
        retry: Statuses of videos to scan again.
        etags: ETag of each object, see `ScanPaths.etags`. Stores are asked for those that are missing.
        verify_inputs: Whether to hash files with the recorded time of modification too, and objects with the
            recorded ETag.

    Raises:
        DeepscanError: A store cannot be read.
    """
    todo, todo_etags, seen = PathSpool(), PathSpool(), PathSet()
    workers = min(32, usable_cpus() + 4)
    # Hashing releases the interpreter lock, so threads can read several files at once.
    with ThreadPoolExecutor(workers) as threads:
        checking: deque[tuple[ScanItem, bytes, bool | Future[bool]]] = deque()

        def settle_first() -> None:
            item, key, unchanged = checking.popleft()
            if not (unchanged if isinstance(unchanged, bool) else unchanged.result()):
                append_item(todo, todo_etags, item)
                recorded.drop(key)

        try:
            for item in listed_items(paths, etags):
                path, key = item.path, identity(item.path)
                if not seen.add(key):
                    continue
                entry = recorded.find(key)
                unchanged: bool | Future[bool] = False
                if entry is None or entry.status in retry:
                    pass
                elif is_object(path):
                    unchanged = not verify_inputs and _is_listed_unchanged(item, entry)
                    if not unchanged and (item.etag is None or verify_inputs):
                        unchanged = threads.submit(_unchanged_object, os.fsdecode(path), entry, verify_inputs)
                else:
                    unchanged = not verify_inputs and _seems_unchanged(key, entry)
                    if not unchanged:
                        unchanged = threads.submit(_unchanged, key, entry)
                checking.append((item, key, unchanged))
                if len(checking) > _CHECKED_AHEAD * workers:
                    settle_first()
            while checking:
                settle_first()
        except BaseException:
            # Do not hash the other files first.
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return ResumePlan(recorded.kept(), todo, todo_etags)


def _is_listed_unchanged(item: ScanItem, entry: JournalEntry) -> bool:
    """Return whether a listing gives an object the recorded ETag."""
    return item.etag is not None and item.etag == entry.etag and entry.status != "changed"


def _unchanged_object(address: str, entry: JournalEntry, verify: bool) -> bool:
    """Return whether a store gives an object the recorded ETag, or with `verify` the recorded SHA-256.

    Raises:
        DeepscanError: The store cannot be read.
    """
    try:
        if entry.sha256 is None:
            # It is kept if it still cannot be read.
            object_info(address)
            return False
        if entry.status == "changed" or (not verify and entry.etag is None):
            return False
        if not verify:
            return object_info(address).etag == entry.etag
        found = fetch_object(address)
        found.copy.close()
        return found.sha256 == entry.sha256
    except ObjectError as failure:
        if failure.ends_run(address):
            raise failure.of_run(address) from failure
        return entry.sha256 is None and failure.problem in ("missing", "forbidden")


def _seems_unchanged(path: bytes, entry: JournalEntry) -> bool:
    """Return whether a file has the recorded size and time of modification, without reading it."""
    if entry.mtime_ns is None or entry.status == "changed":
        return False
    try:
        now = os.stat(path)
    except OSError:
        return False
    if not stat.S_ISREG(now.st_mode) or (now.st_size, now.st_mtime_ns) != (entry.size, entry.mtime_ns):
        return False
    # A file that is modified twice within the resolution of the file system's clock keeps the first time, so
    # that time proves nothing about a file that was scanned right after it had been modified.
    try:
        started = datetime.fromisoformat(entry.started).timestamp()
    except ValueError:
        return False
    return entry.mtime_ns / 1e9 + _CLOCK_RESOLUTION < started


def _unchanged(path: bytes, entry: JournalEntry) -> bool:
    # Only open regular files: reading a named pipe would block forever.
    readable = os.path.isfile(path) and os.access(path, os.R_OK)
    if entry.sha256 is None:
        return not readable
    try:
        if not readable or os.path.getsize(path) != entry.size:
            return False
        with open(path, "rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256)
    except OSError:
        # It has vanished or broken in the meantime; the scan will report it.
        return False
