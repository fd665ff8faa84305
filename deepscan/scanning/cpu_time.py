"""Measure the CPU time of stages that run at the same time in one process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Lap:
    """What one run of a stage took, or several together.

    Attributes:
        seconds: Elapsed time in seconds, 0 until the end.
        cpu: CPU time in seconds, of all threads that worked for it.
    """

    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, other: "Lap", share: float = 1.0) -> None:
        """Add a share, in [0, 1], of what another run took."""
        self.seconds += share * other.seconds
        self.cpu += share * other.cpu


class CpuClock:
    """Divides the CPU time of this process among the stages that are running.

    Libraries compute in threads that they do not share with their caller, so only the time of the whole
    process includes all of it. While two stages run, each is given half. What the process does
    beside them is counted with the stage that runs meanwhile. Thread-safe.

    Args:
        read: Returns the CPU time of the process in seconds.
    """

    def __init__(self, read: Callable[[], float] = time.process_time) -> None:
        self._read, self._lock = read, threading.Lock()
        self._laps: list[Lap] = []
        self._last = read()

    @contextmanager
    def lap(self) -> Iterator[Lap]:
        """Measure one run of a stage."""
        lap, started = Lap(), time.monotonic()
        with self._lock:
            self._divide()
            self._laps.append(lap)
        try:
            yield lap
        finally:
            with self._lock:
                self._divide()
                # Laps are compared by identity.
                self._laps.remove(lap)
            lap.seconds = time.monotonic() - started

    def _divide(self) -> None:
        now = self._read()
        for lap in self._laps:
            lap.cpu += (now - self._last) / len(self._laps)
        self._last = now
