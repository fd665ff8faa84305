"""Timing of comparable cases: a warm-up run, then interleaved runs, with median and extremes."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Progress callback, called before each run: (done, total).
OnRun = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """Measurements of one run.

    Attributes:
        seconds: Wall-clock time.
        cpu: CPU time in seconds, over all cores and child processes that have ended; None if not measured.
        parts: Stage of the run -> its seconds.
        busy: Share of the time in which a GPU was busy, in percent; None if not measured.
    """

    seconds: float
    cpu: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    busy: float | None = None


@dataclass(frozen=True, slots=True)
class TimedCase:
    """A piece of work to time.

    Attributes:
        labels: Columns that identify the case in the table.
        count: Number of units that a run processes.
        unit: Plural name of the units.
        run: Runs the case once.
    """

    labels: Mapping[str, Any]
    count: int
    unit: str
    run: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Timing:
    """The timed runs of a case.

    Attributes:
        case: The case.
        samples: One for each run, without the warm-up.
    """

    case: TimedCase
    samples: Sequence[Sample]

    @property
    def seconds(self) -> float:
        """Median wall-clock time of the runs, in seconds."""
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def least_cpu(self) -> float:
        """Minimum CPU time of the runs, in seconds: other work on the machine can only increase it."""
        return min(sample.cpu for sample in self.samples if sample.cpu is not None)

    def row(self) -> dict[str, Any]:
        """Return the row of the table, without unknown values."""
        seconds = [sample.seconds for sample in self.samples]
        cpu = [sample.cpu for sample in self.samples if sample.cpu is not None]
        busy = [sample.busy for sample in self.samples if sample.busy is not None]
        known = {
            **self.case.labels,
            "count": self.case.count,
            "unit": self.case.unit,
            "per_second": round(self.case.count / self.seconds, 3) if self.seconds else None,
            "seconds": round(self.seconds, 5),
            "low": round(min(seconds), 5),
            "high": round(max(seconds), 5),
            "cpu_seconds": round(statistics.median(cpu), 5) if cpu else None,
            "repeats": len(seconds),
            "gpu_busy": round(statistics.median(busy), 1) if busy else None,
        }
        return {name: value for name, value in known.items() if value is not None}


def timed(work: Callable[[], object]) -> Sample:
    """Run a function in this process and return its timings."""
    started, cpu_started = time.perf_counter(), cpu_seconds()
    work()
    return Sample(time.perf_counter() - started, cpu_seconds() - cpu_started)


def measure_cases(cases: Sequence[TimedCase], repeats: int, on_run: OnRun) -> list[Timing]:
    """Run cases in turn, with a warm-up each, so that a slow phase of the machine affects all of them.

    Args:
        cases: The cases.
        repeats: Number of timed runs of each case, at least 1.
        on_run: Called before each run.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    samples: list[list[Sample]] = [[] for _ in cases]
    runs = (repeats + 1) * len(cases)
    for turn in range(repeats + 1):
        for index, case in enumerate(cases):
            on_run(turn * len(cases) + index, runs)
            sample = case.run()
            if turn:
                samples[index].append(sample)
    on_run(runs, runs)
    return [Timing(case, own) for case, own in zip(cases, samples, strict=True)]


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended, in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
