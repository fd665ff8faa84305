"""Decide which videos of a run are scanned, and which get the record of one with equal content."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from deepscan.media.jobs import Hashed
from deepscan.scanning.originals import Originals
from deepscan.scanning.sources import ScanItem

#: Most videos that wait for one of equal content, and most of them that hold a copy in memory.
MOST_WAITING, MOST_COPIES_WAITING = 1000, 2

#: What happens to a video: it is decoded; it is decoded unless its content is that of another; it waits for
#: that other one; or it gets the record of that other one.
Fate = Literal["decode", "ask", "wait"] | Mapping[str, Any]


@dataclass(slots=True, eq=False)
class _Active:
    """A video in a decoding process, or on its way through the later stages.

    Attributes:
        size: Its size in bytes, None if unknown.
        asks: Whether its process will wait for an answer, or waits.
        sha256: Its SHA-256, None until known.
    """

    size: int | None
    asks: bool
    sha256: str | None = None


class Duplicates:
    """Finds videos of equal content in a run, so that each content is decoded once.

    Only a file that is as large as an earlier one has to ask, once it is hashed, whether to go on. All others
    are scanned as if there were no duplicates.

    Args:
        originals: The records of the run so far. The caller adds the record of a video before it calls
            `ended`.
    """

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self._active: dict[int, _Active] = {}
        # SHA-256 -> the video that is being scanned, whose record others wait for.
        self._owners: dict[str, int] = {}
        # Videos whose processes wait for an answer, in the order of their questions.
        self._asking: dict[int, None] = {}
        self._waiting: defaultdict[str, list[int]] = defaultdict(list)
        # Videos that wait, and those of them that hold a copy in memory.
        self._count, self._copies = 0, set[int]()

    @property
    def full(self) -> bool:
        """Whether so many videos wait that no other should be begun."""
        return self._count >= MOST_WAITING or len(self._copies) >= MOST_COPIES_WAITING

    def begin(self, number: int, item: ScanItem, *, alone: bool = False) -> Fate:
        """Return what happens to a video that could be given to a decoder now.

        Args:
            number: Its number in this run.
            item: The video.
            alone: Whether to scan it in any case.
        """
        size = _size_of(item)
        known = size is not None and self._originals.expect(size)
        # Only of a copy is it certain that the hash is that of the content.
        sha256 = None if item.file is None else item.sha256
        if sha256 is not None and not alone:
            if sha256 in self._owners:
                self._copies.add(number)
                self._wait(number, sha256)
                return "wait"
            if (record := self._originals.find(sha256)) is not None:
                return record
        asks = known and not alone and (sha256 is None or self._is_hashing(size))
        self._active[number] = _Active(size, asks, sha256)
        if sha256 is not None and not asks:
            self._owners.setdefault(sha256, number)
        return "ask" if asks else "decode"

    def hashed(self, event: Hashed) -> None:
        """Note the content of a video."""
        video = self._active.get(event.job.id)
        if video is None or (video.sha256 is not None and not video.asks):
            return
        video.sha256, video.size = event.sha256, event.size
        if video.asks:
            self._asking[event.job.id] = None
        else:
            self._owners.setdefault(event.sha256, event.job.id)

    def answers(self) -> Iterator[tuple[int, Fate]]:
        """Yield what happens to videos that ask, each when it can be decided: never `ask`."""
        for number in list(self._asking):
            fate = self._answer(number, self._active[number])
            if fate is None:
                continue
            del self._asking[number]
            yield number, fate

    def _answer(self, number: int, video: _Active) -> Fate | None:
        assert video.sha256 is not None
        if video.sha256 in self._owners:
            del self._active[number]
            self._wait(number, video.sha256)
            return "wait"
        if (record := self._originals.find(video.sha256)) is not None:
            del self._active[number]
            return record
        if self._is_hashing(video.size):
            return None
        video.asks = False
        self._owners[video.sha256] = number
        return "decode"

    def _is_hashing(self, size: int | None) -> bool:
        """Return whether a file of this size that does not ask is still being hashed: its time is limited."""
        return any(
            each.sha256 is None and not each.asks and each.size == size for each in self._active.values()
        )

    def ended(self, number: int) -> Iterator[tuple[int, Fate]]:
        """Note that a video's record is written, and yield what happens to those that waited for it.

        If its record is not for them, they are scanned: `begin` them again, with `alone`.
        """
        video = self._active.pop(number, None)
        self._asking.pop(number, None)
        if video is None or video.sha256 is None or self._owners.get(video.sha256) != number:
            return
        del self._owners[video.sha256]
        waiting = self._waiting.pop(video.sha256, [])
        record = self._originals.find(video.sha256) if waiting else None
        for other in waiting:
            self._count -= 1
            self._copies.discard(other)
            yield other, "decode" if record is None else record

    def _wait(self, number: int, sha256: str) -> None:
        self._waiting[sha256].append(number)
        self._count += 1


def _size_of(item: ScanItem) -> int | None:
    if item.size is not None:
        return item.size
    try:
        return os.stat(item.path if item.file is None else item.file).st_size
    except (OSError, ValueError):
        return None
