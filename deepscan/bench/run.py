"""One run of `bench`: every stage that was asked for in turn, and a row for each thing that was timed."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from deepscan.bench import accelerator, machine, stages, whole
from deepscan.bench.clips import CLIPS, make_clip
from deepscan.bench.options import BenchOptions
from deepscan.bench.timing import Sample, TimedCase, Timing, measure_cases
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.devices import cuda_devices
from deepscan.engines.scorer import Scorer
from deepscan.errors import MissingError, UsageError
from deepscan.faces.finder import open_finder
from deepscan.models.choice import NO_MODEL
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.run import load_scorer, suitable_workers

#: The columns of the table. What a row has no value for is empty.
# fmt: off
BENCH_COLUMNS = (
    "stage", "part", "frames", "faces", "faces_device", "model", "engine", "device", "precision", "batch",
    "workers", "count", "unit", "per_second", "seconds", "low", "high", "cpu_seconds", "repeats",
    "gflop_per_second", "of_matmul", "gpu_busy",
)
# fmt: on
BenchRow = Mapping[str, Any]
#: Stages that run a detector.
DETECTING = frozenset({"start-up", "detector", "scan"})


class BenchListener:
    """What a run tells whoever started it; each method may be overridden."""

    def begun(self, stage: str) -> None:
        """A stage begins."""

    def ran(self, done: int, total: int) -> None:
        """So many of the stage's runs have been made."""

    def note(self, line: str) -> None:
        """Something a reader of the figures should know."""

    def described(self, environment: Mapping[str, Any]) -> None:
        """The machine and the files are known."""

    def measured(self, row: BenchRow) -> None:
        """A row of the table; its keys are among `BENCH_COLUMNS`."""


def run_benchmark(
    paths: Sequence[bytes], options: BenchOptions, listener: BenchListener, folder: Path
) -> None:
    """Measure, and tell the listener.

    Args:
        paths: The files; none for clips made up for it.
        options: What is measured.
        listener: Is told what happens.
        folder: Where made-up clips may be written.

    Raises:
        DeepscanError: Nothing can be measured.
    """
    _Run(options, listener).run(paths, folder)


class _Run:
    """One run; see `run_benchmark`."""

    def __init__(self, options: BenchOptions, listener: BenchListener) -> None:
        self._options, self._listener = options, listener
        self._workers = options.workers or suitable_workers()
        self._labels: dict[tuple[str, ...], dict[str, Any]] = {}
        self._scorers: dict[tuple[str, ...], Scorer] = {}

    def run(self, paths: Sequence[bytes], folder: Path) -> None:
        """Choose the files, describe them and the machine, and measure stage by stage."""
        load = machine.load_average()
        chosen = self._look(paths or self._made(folder), load)
        scans = self._possible() if DETECTING & set(self._options.stages) else []
        if not cuda_devices():
            self._listener.note("no GPU here: what one would do is not measured")
        steps: dict[str, Callable[[], object]] = {
            "start-up": lambda: self._measure([*whole.start_up(scans[0], chosen[0])]),
            "decode": lambda: self._decode(chosen),
            "faces": lambda: self._faces(chosen),
            "detector": self._detector,
            "scan": lambda: self._scan(chosen, scans),
        }
        for stage, step in steps.items():
            if stage in self._options.stages:
                self._listener.begun(stage)
                step()

    def _made(self, folder: Path) -> list[bytes]:
        self._listener.begun("making clips")
        made = []
        for at, clip in enumerate(CLIPS):
            self._listener.ran(at, len(CLIPS))
            made.append(os.fsencode(make_clip(clip, folder)))
        return made

    def _look(self, paths: Sequence[bytes], load: float) -> list[bytes]:
        """Return the files that are measured: spread evenly over those named, without those that fail."""
        self._listener.begun("reading files")
        if len(paths) > (most := self._options.limit):
            self._listener.note(
                f"{most} of {len(paths)} files are measured, spread evenly: --limit takes more"
            )
            paths = [paths[at * len(paths) // most] for at in range(most)]
        reports = stages.decode_once(paths, self._options.decoding(max(self._options.frames)))
        for path, report in zip(paths, reports, strict=True):
            if report.status != "ok":
                name = os.path.basename(os.fsdecode(path))
                self._listener.note(f"left out: {name}: {report.status}: {report.detail}")
        read = [both for both in zip(paths, reports, strict=True) if both[1].status == "ok"]
        if not read:
            raise UsageError(f"none of {len(paths)} files can be decoded", "deepscan scan says why")
        chosen = [path for path, _ in read]
        files = machine.files(chosen, [report for _, report in read])
        facts = {**machine.describe(), "load": load, "workers": self._workers, "files": files}
        self._listener.described(facts)
        return chosen

    def _possible(self) -> list[ScanOptions]:
        """Return the scans whose detector can be loaded, one at least; keep those that are timed alone."""
        impossible: dict[tuple[str, ...], UsageError | MissingError] = {}
        for options in self._options.scans():
            way = _way(options)
            if way in self._labels or way in impossible:
                continue
            try:
                scorer = None if options.model == NO_MODEL else load_scorer(options)
            except (UsageError, MissingError) as error:
                self._listener.note(f"left out: {error.message}")
                impossible[way] = error
                continue
            self._labels[way] = _labels(scorer)
            if scorer is not None and "detector" in self._options.stages:
                self._scorers[way] = scorer
        if not self._labels:
            raise next(iter(impossible.values()))
        return [options for options in self._options.scans() if _way(options) in self._labels]

    def _measure(self, cases: Sequence[TimedCase]) -> None:
        for measurement in measure_cases(cases, self._options.repeats, self._listener.ran):
            self._listener.measured(measurement.row())

    def _decode(self, paths: Sequence[bytes]) -> None:
        self._measure(
            [
                stages.decoding(
                    paths, self._options.decoding(frames), workers, {"stage": "decode", "frames": frames}
                )
                for frames in self._options.frames
                for workers in sorted({1, self._workers})
            ]
        )

    def _faces(self, paths: Sequence[bytes]) -> None:
        finders = {mode: open_finder(mode, self._options.faces_device) for mode in self._options.faces}
        for frames in self._options.frames:
            held = stages.hold(paths, self._options.decoding(frames))
            if held.left_out:
                self._listener.note(
                    f"faces of {frames} frames: {len(held.videos)} of {len(paths)} files, what memory holds"
                )
            self._measure(
                [
                    stages.finding(
                        held,
                        finder,
                        {"stage": "faces", "frames": frames, "faces": mode, "faces_device": finder.device},
                    )
                    for mode, finder in finders.items()
                ]
            )

    def _detector(self) -> None:
        # They go with this stage: a scan loads its own.
        scorers, self._scorers = self._scorers, {}
        batches = [(way, batch) for way in scorers for batch in self._options.batches]
        cases = [
            stages.judging(scorers[way], batch, {"stage": "detector", **self._labels[way]})
            for way, batch in batches
        ]
        measured = measure_cases(cases, self._options.repeats, self._listener.ran)
        self._listener.begun("bare matrix products")
        # Each starts a process that imports torch: no variant asks for what another has asked.
        rate_of, operations_of = cache(accelerator.matmul_rate), cache(accelerator.operations)
        rates = {way: self._rates(scorer, rate_of, operations_of) for way, scorer in scorers.items()}
        for (way, _), measurement in zip(batches, measured, strict=True):
            self._listener.measured(measurement.row() | _share(measurement, *rates[way]))

    def _rates(
        self,
        scorer: Scorer,
        rate_of: Callable[[str, str], float | str],
        operations_of: Callable[[Path], float | str],
    ) -> tuple[float | None, float | None]:
        """Return the rate of bare matrix products and the operations a crop, None for what is not known."""
        card, engine = scorer.card, scorer.engine
        rate = rate_of(engine.device, engine.precision)
        operations = rate if isinstance(rate, str) else operations_of(card.folder)
        if isinstance(rate, float) and isinstance(operations, float):
            views = make_preprocessor(card.inputs, scorer.recipe, card.mean, card.std).views
            return rate, operations * views
        self._listener.note(
            f"{card.name}, {engine.precision}: no share of bare matrix products: {operations}"
        )
        return None, None

    def _scan(self, paths: Sequence[bytes], scans: Sequence[ScanOptions]) -> None:
        cases = []
        for options in scans:
            labels = {"stage": "scan", "part": "whole", "frames": options.frames, "faces": options.faces}
            labels |= {
                "faces_device": options.faces_device,
                **self._labels[_way(options)],
                "workers": self._workers,
            }
            cases.append(whole.scanning(paths, options, self._workers, labels))
        for measurement in measure_cases(cases, self._options.repeats, self._listener.ran):
            for row in (measurement.row(), *_parts(measurement)):
                self._listener.measured(row)


def _way(options: ScanOptions) -> tuple[str, ...]:
    return options.model, options.engine, options.device, options.precision


def _labels(scorer: Scorer | None) -> dict[str, Any]:
    """Return which columns of a row a detector fills, as it is and not as it was asked for."""
    if scorer is None:
        return {"model": NO_MODEL}
    told = scorer.to_json()
    return {"model": told["name"], **{key: told[key] for key in ("engine", "device", "precision")}}


def _share(measurement: Timing, rate: float | None, operations: float | None) -> dict[str, float]:
    if rate is None or operations is None:
        return {}
    reached = operations * measurement.case.count / measurement.seconds
    return {"gflop_per_second": round(reached / 1e9, 2), "of_matmul": round(reached / rate, 4)}


def _parts(measurement: Timing) -> Iterator[BenchRow]:
    """Yield a row for each stage of a scan: its seconds of all videos together; stages overlap."""
    case = measurement.case
    for stage in measurement.samples[0].parts:
        part = replace(case, labels={**case.labels, "part": stage})
        samples = [Sample(sample.parts.get(stage, 0.0)) for sample in measurement.samples]
        row = Timing(part, samples).row()
        yield {name: value for name, value in row.items() if name != "per_second"}
