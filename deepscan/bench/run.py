"""One run of `bench`: measures the requested stages in turn, with a table row for each timed case."""

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
from deepscan.devices import cuda_devices, usable_cpus
from deepscan.engines.scorer import Scorer
from deepscan.errors import MissingError, UsageError
from deepscan.faces.finder import open_finder
from deepscan.models.choice import NO_MODEL
from deepscan.scanning.loading import load_scorer
from deepscan.scanning.options import ScanOptions

#: The columns of the table; a row may leave some of them empty.
# fmt: off
BENCH_COLUMNS = (
    "stage", "part", "frames", "faces", "faces_device", "model", "engine", "device", "precision", "batch",
    "workers", "count", "unit", "per_second", "seconds", "low", "high", "cpu_seconds", "repeats",
    "gflop_per_second", "of_matmul", "gpu_busy",
)
# fmt: on
BenchRow = Mapping[str, Any]
#: Stages that run a detector.
DETECTOR_STAGES = frozenset({"start-up", "detector", "scan"})


class BenchListener:
    """Callbacks of a benchmark run; override the ones you need."""

    def begun(self, stage: str) -> None:
        """Called when a stage begins."""

    def ran(self, done: int, total: int) -> None:
        """Called with the number of finished runs of the stage, and their total."""

    def note(self, line: str) -> None:
        """Called with a remark that readers of the figures need."""

    def described(self, environment: Mapping[str, Any]) -> None:
        """Called with the description of the machine and the files."""

    def measured(self, row: BenchRow) -> None:
        """Called with a row of the table; its keys are among `BENCH_COLUMNS`."""


def run_benchmark(
    paths: Sequence[bytes], options: BenchOptions, listener: BenchListener, folder: Path
) -> None:
    """Run a benchmark and report its rows to a listener.

    Args:
        paths: The files; empty to measure synthetic clips.
        options: What to measure.
        listener: Receives progress, notes and rows.
        folder: Folder for synthetic clips.

    Raises:
        DeepscanError: No file can be decoded, or no model can be loaded.
    """
    _Run(options, listener).run(paths, folder)


class _Run:
    """State of one run; see `run_benchmark`."""

    def __init__(self, options: BenchOptions, listener: BenchListener) -> None:
        self._options, self._listener = options, listener
        self._workers = options.workers or usable_cpus()
        self._labels: dict[tuple[str, ...], dict[str, Any]] = {}
        self._scorers: dict[tuple[str, ...], Scorer] = {}

    def run(self, paths: Sequence[bytes], folder: Path) -> None:
        """Choose the files, describe them and the machine, and measure stage by stage."""
        load = machine.load_average()
        chosen = self._select_files(paths or self._make_clips(folder), load)
        scans = self._loadable_scans() if DETECTOR_STAGES & set(self._options.stages) else []
        if not cuda_devices():
            self._listener.note("no GPU found: only the CPU is measured")
        steps: dict[str, Callable[[], object]] = {
            "start-up": lambda: self._measure([*whole.start_up_cases(scans[0], chosen[0])]),
            "decode": lambda: self._decode(chosen),
            "faces": lambda: self._faces(chosen),
            "detector": self._detector,
            "scan": lambda: self._scan(chosen, scans),
        }
        for stage, step in steps.items():
            if stage in self._options.stages:
                self._listener.begun(stage)
                step()

    def _make_clips(self, folder: Path) -> list[bytes]:
        self._listener.begun("making clips")
        clips = []
        for at, clip in enumerate(CLIPS):
            self._listener.ran(at, len(CLIPS))
            clips.append(os.fsencode(make_clip(clip, folder)))
        return clips

    def _select_files(self, paths: Sequence[bytes], load: float) -> list[bytes]:
        """Return the files to measure: an evenly spread subset of the given ones, without those that fail."""
        self._listener.begun("reading files")
        if len(paths) > (most := self._options.limit):
            self._listener.note(
                f"measuring {most} of {len(paths)} files, spread evenly: raise --limit to measure more"
            )
            paths = [paths[at * len(paths) // most] for at in range(most)]
        reports = stages.decode_once(paths, self._options.decoding(max(self._options.frames)))
        for path, report in zip(paths, reports, strict=True):
            if report.status != "ok":
                name = os.path.basename(os.fsdecode(path))
                self._listener.note(f"skipped: {name}: {report.status}: {report.detail}")
        decodable = [pair for pair in zip(paths, reports, strict=True) if pair[1].status == "ok"]
        if not decodable:
            raise UsageError(
                f"none of the {len(paths)} files can be decoded", "run deepscan scan on them to see why"
            )
        chosen = [path for path, _ in decodable]
        files = machine.files(chosen, [report for _, report in decodable])
        facts = {**machine.describe(), "load": load, "workers": self._workers, "files": files}
        self._listener.described(facts)
        return chosen

    def _loadable_scans(self) -> list[ScanOptions]:
        """Return the scans whose detector loads, at least one; keep the detectors for their own stage."""
        errors: dict[tuple[str, ...], UsageError | MissingError] = {}
        for options in self._options.scans():
            variant = _variant(options)
            if variant in self._labels or variant in errors:
                continue
            try:
                scorer = None if options.model == NO_MODEL else load_scorer(options)
            except (UsageError, MissingError) as error:
                self._listener.note(f"skipped: {error.message}")
                errors[variant] = error
                continue
            self._labels[variant] = _labels(scorer)
            if scorer is not None and "detector" in self._options.stages:
                self._scorers[variant] = scorer
        if not self._labels:
            raise next(iter(errors.values()))
        return [options for options in self._options.scans() if _variant(options) in self._labels]

    def _measure(self, cases: Sequence[TimedCase]) -> None:
        for measurement in measure_cases(cases, self._options.repeats, self._listener.ran):
            self._listener.measured(measurement.row())

    def _decode(self, paths: Sequence[bytes]) -> None:
        self._measure(
            [
                stages.decode_case(
                    paths, self._options.decoding(frames), workers, {"stage": "decode", "frames": frames}
                )
                for frames in self._options.frames
                for workers in sorted({1, self._workers})
            ]
        )

    def _faces(self, paths: Sequence[bytes]) -> None:
        finders = {mode: open_finder(mode, self._options.faces_device) for mode in self._options.faces}
        for frames in self._options.frames:
            decoded = stages.decode_within_memory(paths, self._options.decoding(frames))
            if decoded.left_out:
                self._listener.note(
                    f"{frames} frames: only {len(decoded.videos)} of {len(paths)} files fit into memory"
                )
            self._measure(
                [
                    stages.faces_case(
                        decoded,
                        finder,
                        {"stage": "faces", "frames": frames, "faces": mode, "faces_device": finder.device},
                    )
                    for mode, finder in finders.items()
                ]
            )

    def _detector(self) -> None:
        # Free them after this stage: a scan loads its own detector.
        scorers, self._scorers = self._scorers, {}
        batches = [(variant, batch) for variant in scorers for batch in self._options.batches]
        cases = [
            stages.detector_case(scorers[variant], batch, {"stage": "detector", **self._labels[variant]})
            for variant, batch in batches
        ]
        measured = measure_cases(cases, self._options.repeats, self._listener.ran)
        self._listener.begun("bare matrix products")
        # Each call starts a process that imports torch, so variants share the results.
        rate_of, operations_of = cache(accelerator.matmul_rate), cache(accelerator.operations)
        rates = {variant: self._rates(scorer, rate_of, operations_of) for variant, scorer in scorers.items()}
        for (variant, _), measurement in zip(batches, measured, strict=True):
            self._listener.measured(measurement.row() | _matmul_share(measurement, *rates[variant]))

    def _rates(
        self,
        scorer: Scorer,
        rate_of: Callable[[str, str], float | str],
        operations_of: Callable[[Path], float | str],
    ) -> tuple[float | None, float | None]:
        """Return the rate of matrix products and the operations per crop, or None for both if unknown."""
        card, engine = scorer.card, scorer.engine
        rate = rate_of(engine.device, engine.precision)
        operations = rate if isinstance(rate, str) else operations_of(card.folder)
        if isinstance(rate, float) and isinstance(operations, float):
            views = make_preprocessor(card.inputs, scorer.recipe, card.mean, card.std).views
            return rate, operations * views
        self._listener.note(
            f"{card.name}, {engine.precision}: not compared with bare matrix products: {operations}"
        )
        return None, None

    def _scan(self, paths: Sequence[bytes], scans: Sequence[ScanOptions]) -> None:
        cases = []
        for options in scans:
            labels = {"stage": "scan", "part": "whole", "frames": options.frames, "faces": options.faces}
            labels |= {
                "faces_device": options.faces_device,
                **self._labels[_variant(options)],
                "workers": self._workers,
            }
            cases.append(whole.scan_case(paths, options, self._workers, labels))
        for measurement in measure_cases(cases, self._options.repeats, self._listener.ran):
            for row in (measurement.row(), *_parts(measurement)):
                self._listener.measured(row)


def _variant(options: ScanOptions) -> tuple[str, ...]:
    return options.model, options.engine, options.device, options.precision


def _labels(scorer: Scorer | None) -> dict[str, Any]:
    """Return the columns of a row that describe the loaded detector, rather than the requested one."""
    if scorer is None:
        return {"model": NO_MODEL}
    loaded = scorer.facts.to_json()
    return {"model": loaded["name"], **{key: loaded[key] for key in ("engine", "device", "precision")}}


def _matmul_share(measurement: Timing, rate: float | None, operations: float | None) -> dict[str, float]:
    if rate is None or operations is None:
        return {}
    rate_reached = operations * measurement.case.count / measurement.seconds
    return {"gflop_per_second": round(rate_reached / 1e9, 2), "of_matmul": round(rate_reached / rate, 4)}


def _parts(measurement: Timing) -> Iterator[BenchRow]:
    """Yield a row for each stage of a scan, with its seconds summed over all videos; stages overlap."""
    case = measurement.case
    for stage in measurement.samples[0].parts:
        part = replace(case, labels={**case.labels, "part": stage})
        samples = [Sample(sample.parts.get(stage, 0.0)) for sample in measurement.samples]
        row = Timing(part, samples).row()
        yield {name: value for name, value in row.items() if name != "per_second"}
