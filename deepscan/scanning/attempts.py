"""Find the videos that kill the process which scans them, so that each costs two processes and not a run.

Before a chunk is scanned, an attempt is noted in the run folder; it is deleted when its part is written, and
when the process ends in an orderly way. Attempts that remain are those of processes that died.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from deepscan.scanning.chunks import Chunk, ManifestRow
from deepscan.scanning.record_lines import RecordLine
from deepscan.storage.store import Store

ATTEMPTS = "attempts"
#: After this many deaths, a chunk is scanned video by video, and a video not again.
MOST_DEATHS = 2
#: Detail of the record of a video that killed its processes.
DIED = "its worker died twice"


class AttemptLedger:
    """The attempts in a run folder. They are listed once, when the ledger is made, not for every chunk.

    Args:
        store: The run folder.
        session: Identifier of this process's session.
    """

    def __init__(self, store: Store, session: str) -> None:
        self._store, self._session = store, session
        self._begun: set[str] = set()
        # An attempt is ATTEMPTS/WHAT/SESSION.
        self._deaths = Counter(name.rpartition("/")[0] for name in store.names_below(ATTEMPTS))

    def deaths(self, what: str) -> int:
        """Return how many earlier processes began a chunk or a video, and neither finished nor left it."""
        return self._deaths[what]

    def begin(self, what: str) -> None:
        """Note that this process begins a chunk or a video."""
        self._begun.add(what)
        self._store.put_once(f"{ATTEMPTS}/{what}/{self._session}", b"")

    def end(self, what: str) -> None:
        """Delete this process's note: the chunk or video is finished, or left to another process."""
        self._store.delete(f"{ATTEMPTS}/{what}/{self._session}")
        self._begun.discard(what)

    def withdraw(self) -> None:
        """Delete all notes of this process, which ends in an orderly way."""
        for what in tuple(self._begun):
            self.end(what)

    def keep(self, chunk: str, number: int, record: dict[str, Any]) -> None:
        """Keep the record of a video that was scanned alone, until the part of its chunk is written.

        Args:
            chunk: Name of the chunk.
            number: Position of the video in the chunk, from 0.
            record: Its record.
        """
        content = json.dumps(record, allow_nan=False).encode("ascii")
        self._store.put_once(f"{ATTEMPTS}/{chunk}/records/{number:06}.json", content)

    def kept(self, chunk: str) -> dict[int, dict[str, Any]]:
        """Return the records that were kept of a chunk's videos, by position."""
        folder = f"{ATTEMPTS}/{chunk}/records"
        return {
            int(name.removesuffix(".json")): json.loads(self._store.read(f"{folder}/{name}"))
            for name in self._store.names(folder)
        }


def withdraw_session(store: Store, session: str) -> None:
    """Delete all notes of a process that has ended for another reason than what it scanned."""
    for name in tuple(store.names_below(ATTEMPTS)):
        if name.rpartition("/")[2] == session:
            store.delete(f"{ATTEMPTS}/{name}")


def scan_alone(
    chunk: Chunk, scan: Callable[[ManifestRow], dict[str, Any]], ledger: AttemptLedger, run: str
) -> Iterator[dict[str, Any]]:
    """Scan a chunk video by video, so that a death has one suspect, and yield its records in order.

    Args:
        chunk: A chunk that has killed processes.
        scan: Scans one video and returns its record. The process must not scan another meanwhile.
        ledger: The attempts.
        run: Identifier of the run.
    """
    kept = ledger.kept(chunk.name)
    for number, row in enumerate(chunk.rows):
        video = f"{chunk.name}/videos/{number:06}"
        if number in kept:
            yield kept[number]
        elif ledger.deaths(video) >= MOST_DEATHS:
            yield RecordLine(row.path, "error", DIED, run).to_json()
        else:
            ledger.begin(video)
            record = scan(row)
            ledger.keep(chunk.name, number, record)
            ledger.end(video)
            yield record
