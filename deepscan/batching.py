"""Batches that fail: taken apart, so that an item costs itself alone, or halved where memory is short."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from deepscan.errors import DeepscanError, first_line
from deepscan.logs import get_logger

LOG = get_logger(__name__)
T = TypeVar("T")
R = TypeVar("R")

#: How torch, ONNX Runtime, CUDA, its libraries and C++ say that there was no memory. No class tells it: ONNX
#: Runtime has none for it, and torch's cannot be named without torch.
SHORT = (
    "out of memory",
    "outofmemory",
    "failed to allocate",
    "can't allocate memory",
    "not enough memory",
    "smaller than requested bytes",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
)
#: So many portions of a reduced size must have passed before a larger one is tried: where that fails again
#: and again, it costs a thirtieth of the time.
PASSED = 64


def run_isolating_failures(stage: Callable[[list[T]], Sequence[R]], batch: list[T]) -> list[R | Exception]:
    """Return what a stage makes of each item of a batch, or the exception that it raises for that item alone.

    A batch that fails is taken apart, so that a frame that some library chokes on costs its own video and no
    other. What is not due to an item, a `DeepscanError`, is raised.
    """
    try:
        return list(stage(batch))
    except DeepscanError:
        raise
    except Exception as error:
        return [error] if len(batch) == 1 else _apart(stage, batch)


class AdaptiveBatcher:
    """Runs a stage on as many items at once as memory allows.

    When memory runs out the portion is halved, and the next ones keep to that; after `PASSED` of them it is
    doubled again, for others may have given memory back meanwhile. A single item that does not fit fails.

    Attributes:
        size: How many items go through the stage together at most.
        warning: What a user must be told, empty where memory has sufficed; it is for the caller to clear.
    """

    def __init__(self, most: int) -> None:
        self.size, self.warning = most, ""
        self._most, self._passed, self._warned = most, 0, False

    def run(self, stage: Callable[[list[T]], Sequence[R]], batch: list[T]) -> list[R | Exception]:
        """Return what the stage makes of each item, or the exception that it raises for that item alone."""
        results: list[R | Exception] = []
        left = batch
        while left:
            part = left[: self.size]
            short = ""
            try:
                found: Sequence[R | Exception] = stage(part)
                self._grow(len(part))
            except DeepscanError:
                raise
            except Exception as error:
                if len(part) == 1:
                    found = [error]
                elif is_short(error):
                    short = first_line(error)
                else:
                    found = _apart(stage, part)
            # Only here, where the exception has let go of what the stage held, is its memory free.
            if short:
                self._shrink(len(part), short)
                continue
            results += found
            left = left[len(part) :]
        return results

    def _grow(self, count: int) -> None:
        self._passed += count == self.size
        if self._passed >= PASSED and self.size < self._most:
            self.size, self._passed = min(self._most, 2 * self.size), 0
            LOG.debug("batches of %d are tried again", self.size)

    def _shrink(self, count: int, told: str) -> None:
        self.size, self._passed = count // 2, 0
        LOG.info("memory ran out with a batch of %d, the next ones have %d: %s", count, self.size, told)
        if not self._warned:
            self._warned = True
            self.warning = f"memory ran out with {count} at once, smaller batches go on: {told}"


def is_short(error: BaseException) -> bool:
    """Return whether an exception says that memory has run out, on a CPU or on a GPU."""
    told = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(words in told for words in SHORT)


def _apart(stage: Callable[[list[T]], Sequence[R]], batch: list[T]) -> list[R | Exception]:
    return [result for item in batch for result in run_isolating_failures(stage, [item])]


def take_first(queue: deque[T], most: int) -> list[T]:
    """Take at most so many items from the front of a queue and return them, in order."""
    return [queue.popleft() for _ in range(min(most, len(queue)))]
