"""Decide which worker of a cluster scans which chunk, and what happens to the chunks of one that died."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from deepscan.scanning.attempts import MOST_DEATHS
from deepscan.scanning.chunks import Chunk

#: A chunk may lose this many machines; after that, a lost machine counts as a death of its worker. Otherwise,
#: a video that brings machines down would bring down all of them.
MOST_LOST = 2
#: Status and verdict of a video -> number of videos.
Outcomes = Mapping[tuple[str, str | None], int]


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """What a worker is to scan.

    Attributes:
        chunk: The chunk.
        alone: Whether to scan it video by video, because it killed workers.
    """

    chunk: Chunk
    alone: bool = False


@dataclass(frozen=True, slots=True)
class LedgerState:
    """How far a run is.

    Attributes:
        waiting: Number of chunks that no worker has.
        held: Number of chunks that workers have.
        ended: Number of videos with a record, including those of chunks that are not finished.
        outcomes: Outcomes of the videos of finished chunks.
        suspects: Number of videos of chunks that killed workers, all together.
    """

    waiting: int
    held: int
    ended: int
    outcomes: Outcomes
    suspects: int

    @property
    def left(self) -> int:
        """Number of chunks that are not finished."""
        return self.waiting + self.held


@dataclass(slots=True)
class _Holder:
    tasks: dict[str, ChunkTask] = field(default_factory=dict)
    #: Videos with a record, of chunks that are not finished.
    ended: int = 0


class ChunkLedger:
    """Hands out the chunks of a run, each to one worker at a time.

    Args:
        chunks: The chunks to scan; consumed as workers take them.
        count: Number of these.
        deaths: Returns how many workers had died with a chunk before this ledger was made.
    """

    def __init__(self, chunks: Iterable[Chunk], count: int, deaths: Callable[[str], int]) -> None:
        self._chunks, self._fresh, self._earlier = iter(chunks), count, deaths
        self._again: deque[Chunk] = deque()
        self._alone: deque[Chunk] = deque()
        self._holders: dict[str, _Holder] = {}
        self._deaths: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._outcomes: Counter[tuple[str, str | None]] = Counter()
        self._suspects = 0
        self._stopped = False

    def take(self, worker: str, *, idle: bool) -> ChunkTask | None:
        """Return what a worker is to scan next, None if there is nothing for it.

        Args:
            worker: The worker.
            idle: Whether it scans nothing now, and ends if it gets nothing. Only then it may get a chunk to
                scan alone.
        """
        holder = self._holders.setdefault(worker, _Holder())
        task = None if self._stopped else self._next(idle=idle)
        if task is not None:
            holder.tasks[task.chunk.name] = task
        return task

    def report(self, worker: str, ended: int) -> bool:
        """Note how many videos of its unfinished chunks have a record; return whether to go on."""
        if (holder := self._holders.get(worker)) is not None:
            holder.ended = ended
        return not self._stopped

    def finish(self, worker: str, chunk: str, outcomes: Outcomes) -> None:
        """Note that the part of a chunk is written. It counts once, even if two workers have scanned it."""
        holder = self._holders.get(worker)
        if holder is None or holder.tasks.pop(chunk, None) is None:
            return
        holder.ended = max(0, holder.ended - sum(outcomes.values()))
        self._outcomes.update(outcomes)

    def held(self, worker: str) -> tuple[str, ...]:
        """Return the names of the chunks that a worker has."""
        holder = self._holders.get(worker)
        return tuple(holder.tasks) if holder else ()

    def release(self, worker: str, *, died: bool = False, lost: bool = False) -> bool:
        """Take back the chunks of a worker that has ended, and return whether they are held responsible.

        Args:
            worker: The worker.
            died: Whether its process died. Chunks that were there at several deaths are scanned alone.
            lost: Whether it ended with its machine; see `MOST_LOST`.
        """
        holder = self._holders.pop(worker, None)
        blamed = died
        for task in reversed(holder.tasks.values() if holder else ()):
            chunk = task.chunk
            self._lost[chunk.name] += lost
            if died or self._lost[chunk.name] > MOST_LOST:
                blamed = True
                self._deaths[chunk.name] += 1
            if task.alone:
                # `scan_alone` counts the deaths of its videos.
                self._alone.appendleft(chunk)
            elif self._earlier(chunk.name) + self._deaths[chunk.name] >= MOST_DEATHS:
                self._suspect(chunk)
            else:
                self._again.appendleft(chunk)
        return blamed

    def stop(self) -> None:
        """Give out nothing more, and tell workers that report to end."""
        self._stopped = True

    def state(self) -> LedgerState:
        """Return how far the run is."""
        holders = self._holders.values()
        return LedgerState(
            waiting=self._fresh + len(self._again) + len(self._alone),
            held=sum(len(holder.tasks) for holder in holders),
            ended=self._outcomes.total() + sum(holder.ended for holder in holders),
            outcomes=dict(self._outcomes),
            suspects=self._suspects,
        )

    def _next(self, *, idle: bool) -> ChunkTask | None:
        """Return the next task. Suspects come last, so that everything else is safe if they kill much."""
        if self._again:
            return ChunkTask(self._again.popleft())
        for chunk in self._chunks:
            self._fresh -= 1
            if self._earlier(chunk.name) < MOST_DEATHS:
                return ChunkTask(chunk)
            self._suspect(chunk)
        if self._alone and idle:
            return ChunkTask(self._alone.popleft(), alone=True)
        return None

    def _suspect(self, chunk: Chunk) -> None:
        self._suspects += len(chunk.rows)
        self._alone.append(chunk)
