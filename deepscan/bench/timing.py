"""Timing what is comparable side by side: warm-up, turns, medians, and how far the turns lie apart."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Called before each run, with how many of how many have been made.
OnRun = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run.

    Attributes:
        seconds: By the clock on the wall.
        cpu: Of all cores and of processes that have ended meanwhile; None where it was not measured.
        parts: Stage of the run -> seconds of it.
        busy: How much of the time a GPU computed, in percent; None where it was not measured.
    """

    seconds: float
    cpu: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    busy: float | None = None


@dataclass(frozen=True, slots=True)
class TimedCase:
    """Something to be timed.

    Attributes:
        labels: Which columns of a row tell it from others.
        count: How many pieces of work a run does.
        unit: What a piece is.
        run: Does it once.
    """

    labels: Mapping[str, Any]
    count: int
    unit: str
    run: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Timing:
    """What came of the runs of a case.

    Attributes:
        case: What was timed.
        samples: One a run, those that warmed up left out.
    """

    case: TimedCase
    samples: Sequence[Sample]

    @property
    def seconds(self) -> float:
        """The median of the runs."""
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def least_cpu(self) -> float:
        """The least CPU time of the runs, in seconds: other work on the machine only adds to it."""
        return min(sample.cpu for sample in self.samples if sample.cpu is not None)

    def row(self) -> dict[str, Any]:
        """Return the row of the table, without what is not known."""
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
    """Do something in this process and return how long it took."""
    begun, spent = time.perf_counter(), cpu_seconds()
    work()
    return Sample(time.perf_counter() - begun, cpu_seconds() - spent)


def measure_cases(cases: Sequence[TimedCase], repeats: int, on_run: OnRun) -> list[Timing]:
    """Run cases in turns, each once untimed, so that a slow minute of the machine falls on all of them.

    Args:
        cases: What to run.
        repeats: How often each is timed, at least 1.
        on_run: Is called before each run.
    """
    if repeats < 1:
        raise ValueError(f"something is timed at least once, not {repeats} times")
    samples: list[list[Sample]] = [[] for _ in cases]
    runs = (repeats + 1) * len(cases)
    for turn in range(repeats + 1):
        for at, case in enumerate(cases):
            on_run(turn * len(cases) + at, runs)
            sample = case.run()
            if turn:
                samples[at].append(sample)
    on_run(runs, runs)
    return [Timing(case, own) for case, own in zip(cases, samples, strict=True)]


def cpu_seconds() -> float:
    """Return the seconds that the cores have worked for this process and those of its children that ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)
