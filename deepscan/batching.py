"""Runs stages on batches: isolates an item that fails, and shrinks the batch if memory runs out."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from deepscan.errors import DeepscanError, first_line
from deepscan.logs import get_logger

LOG = get_logger(__name__)
T = TypeVar("T")
R = TypeVar("R")

#: What torch, ONNX Runtime, CUDA, its libraries and C++ write when memory runs out. Exception classes do not
#: help: ONNX Runtime has none for this, and naming torch's would need torch.
OUT_OF_MEMORY = (
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
#: Successful batches of a reduced size before a larger one is tried. If that fails every time, it costs a
#: thirtieth of the time.
PASSED = 64


def run_isolating_failures(stage: Callable[[list[T]], Sequence[R]], batch: list[T]) -> list[R | Exception]:
    """Return the result of a stage for each item of a batch, or the exception that the item causes.

    A batch that fails is run again item by item, so that a frame on which a library fails affects only its
    own video.

    Raises:
        DeepscanError: The stage failed for a reason that is not an item.
    """
    try:
        return list(stage(batch))
    except DeepscanError:
        raise
    except Exception as error:
        return [error] if len(batch) == 1 else _apart(stage, batch)


class AdaptiveBatcher:
    """Runs a stage on as many items at once as memory allows.

    When memory runs out, the batch size is halved. It is doubled again after `PASSED` batches, because other
    programs may have freed memory. A single item that does not fit fails.

    Attributes:
        size: Most items in a batch.
        warning: Message for the user when memory has run out, otherwise empty; the caller clears it.
    """

    def __init__(self, most: int) -> None:
        self.size, self.warning = most, ""
        self._most, self._passed, self._warned = most, 0, False

    def run(self, stage: Callable[[list[T]], Sequence[R]], batch: list[T]) -> list[R | Exception]:
        """Return the result of the stage for each item, or the exception that the item causes."""
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
            # The memory of the stage is free only here, after the exception that referred to it is gone.
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
            LOG.debug("trying batches of %d again", self.size)

    def _shrink(self, count: int, reason: str) -> None:
        self.size, self._passed = count // 2, 0
        LOG.info("memory ran out with a batch of %d; continuing with %d: %s", count, self.size, reason)
        if not self._warned:
            self._warned = True
            self.warning = (
                f"memory ran out with a batch of {count}; continuing with smaller batches: {reason}"
            )


def is_short(error: BaseException) -> bool:
    """Return whether an exception means that memory ran out, on a CPU or a GPU."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY)


def _apart(stage: Callable[[list[T]], Sequence[R]], batch: list[T]) -> list[R | Exception]:
    return [result for item in batch for result in run_isolating_failures(stage, [item])]


def take_first(queue: deque[T], most: int) -> list[T]:
    """Remove at most `most` items from the front of a queue, and return them in order."""
    return [queue.popleft() for _ in range(min(most, len(queue)))]
