"""The results of an evaluation, with those of papers, and the files of a report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from deepscan.cards import Calibration
from deepscan.evaluation.counting import Counting
from deepscan.evaluation.measurements import Coverage, Measurement, Missing, cover, measure_all, measure_kinds
from deepscan.evaluation.protocols import Level
from deepscan.evaluation.robustness import Robustness
from deepscan.evaluation.scores import Column, Scores, write_scores
from deepscan.evaluation.tables import PrintedFigure
from deepscan.files import atomic_write, make_folder

#: Name of the report's JSON file.
REPORT = "report.json"
#: Fields of a `PrintedFigure` in the report.
PAPER_KEYS = ("value", "printed", "table", "number", "row", "column")


@dataclass(frozen=True, slots=True)
class Result:
    """The metrics of one test set at one level.

    Attributes:
        test: Name of the test set.
        dataset: Its data set.
        counting: Name of the counting.
        level: Whether a sample is a frame or a video.
        coverage: Numbers of samples with and without a score.
        figures: Name -> metric.
        samples: The measured samples; not written to the report.
        kinds: Kind of fake -> its metrics against all reals; empty if there is one kind.
        paper: The printed result of the model's method; None if there is none.
        notes: Remarks for readers.
        videos: All videos, also those without a score; None at frame level. Not written to the report.
    """

    test: str
    dataset: str
    counting: str
    level: Level
    coverage: Coverage
    figures: Mapping[str, Measurement]
    samples: Scores
    kinds: Mapping[str, Mapping[str, Measurement]] = field(default_factory=dict)
    paper: PrintedFigure | None = None
    notes: tuple[str, ...] = ()
    videos: Scores | None = None

    def value(self, metric: str) -> float | None:
        """Return the value of a metric; None if it is undefined or not computed at this level."""
        return self.figures[metric].value if metric in self.figures else None

    def to_json(self) -> dict[str, Any]:
        """Return the result in the format of report.json."""
        return {
            "test": self.test,
            "dataset": self.dataset,
            "counting": self.counting,
            "level": self.level,
            "coverage": self.coverage.to_json(),
            "figures": [figure.to_json() for figure in self.figures.values()],
            "kinds": {kind: [figure.to_json() for figure in of.values()] for kind, of in self.kinds.items()},
            "paper": _paper(self.paper),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All results of an evaluation.

    Attributes:
        metadata: Model, data and settings of the evaluation.
        results: Ordered by test set, then counting and level.
        robustness: Test set -> the AUCs under each distortion.
        papers_means: Counting and level -> the printed mean over exactly these test sets.
    """

    metadata: Mapping[str, Any]
    results: tuple[Result, ...]
    robustness: Mapping[str, Sequence[Robustness]] = field(default_factory=dict)
    papers_means: Mapping[tuple[str, Level], PrintedFigure] = field(default_factory=dict)

    def of(self, counting: str, level: Level) -> tuple[Result, ...]:
        """Return the results of a counting at a level."""
        return tuple(
            result for result in self.results if (result.counting, result.level) == (counting, level)
        )

    def mean(self, counting: str, level: Level, metric: str) -> float | None:
        """Return the unweighted mean of a metric over the test sets; None if one of them lacks it."""
        values = [result.value(metric) for result in self.of(counting, level)]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known and len(known) == len(values) else None

    def to_json(self) -> dict[str, Any]:
        """Return the content of report.json."""
        examples = {(result.counting, result.level): result for result in self.results}
        means = [
            {
                "counting": counting,
                "level": level,
                **{name: self.mean(counting, level, name) for name in example.figures},
                "paper": _paper(self.papers_means.get((counting, level))),
            }
            for (counting, level), example in examples.items()
        ]
        return {
            **self.metadata,
            "results": [result.to_json() for result in self.results],
            "means": means,
            "robustness": {test: [result.to_json() for result in of] for test, of in self.robustness.items()},
        }


def measure_scores(
    scores: Scores,
    *,
    test: str,
    dataset: str,
    counting: Counting,
    level: Level,
    calibration: Calibration | None,
    missing: Missing,
    paper: PrintedFigure | None = None,
    notes: tuple[str, ...] = (),
) -> Result:
    """Compute all metrics of a counting at a level.

    Args:
        scores: Scores of frames or videos, according to the level.
        test: Name of the test set.
        dataset: Its data set.
        counting: The counting.
        level: Whether a sample is a frame or a video.
        calibration: Calibration of the model, if it has one.
        missing: Policy for samples without a score.
        paper: The printed result of a paper.
        notes: Remarks for readers.
    """
    covered = cover(scores.scores, scores.status.texts() if scores.status.has_values else (), missing)
    kept = replace(scores.take(covered.rows), scores=covered.scores)
    groups = kept.groups()
    labels = kept.labels
    measured = measure_all(labels, covered.scores, groups, calibration, measures=counting.measures)
    figures = {figure.metric: figure for figure in measured if level in counting.levels(figure.metric)}
    kinds: dict[str, dict[str, Measurement]] = {}
    # A merged video has the kind of its first frame only.
    kinds_known = level == "frame" or counting.video_key == "full"
    if kinds_known and len(set(kept.kind.codes[labels == 1].tolist())) > 1:
        found = measure_kinds(
            labels, covered.scores, kept.kind.texts(), groups, calibration, measures=counting.measures
        )
        kinds = {kind: {figure.metric: figure for figure in of} for kind, of in found.items()}
    videos = scores if level == "video" else None
    return Result(test, dataset, counting.name, level, covered, figures, kept, kinds, paper, notes, videos)


def write_report(report: Report, folder: Path, metric: str, level: Level) -> list[Path]:
    """Write the files of a report into a folder and return their paths.

    These are report.json, the video scores of each test set and counting in the format of `read_scores`, and
    plots of the first counting.

    Args:
        report: The report.
        folder: Output folder; it is created.
        metric: The main metric.
        level: Its level.

    Raises:
        DeepscanError: A file cannot be written.
        UsageError: The folder cannot be created.
    """
    from deepscan.evaluation import plots
    from deepscan.evaluation.plot_style import save_figure

    make_folder(folder)
    with atomic_write(folder / REPORT) as file:
        file.write(json.dumps(report.to_json(), indent=1).encode())
    paths = [folder / REPORT, *_write_videos(report, folder)]
    results = report.of(report.results[0].counting, level)
    sets = [
        plots.ScoredSet(result.test, result.samples.labels, result.samples.scores)
        for result in results
        if result.value("auc") is not None
    ]
    figures = {"roc": plots.roc_figure(sets), "scores": plots.distributions_figure(sets)} if sets else {}
    if any(result.paper for result in results):
        bars = [
            plots.PaperBar(
                result.test,
                result.value(metric),
                result.paper.value if result.paper else None,
                result.figures[metric].interval if metric in result.figures else None,
            )
            for result in results
        ]
        chance = 0.5 if metric == "auc" else 0.0
        figures["papers"] = plots.bars_figure(bars, f"{metric} per {level}", chance=chance)
    for test, of in report.robustness.items():
        name = "robustness" if len(report.robustness) == 1 else f"robustness-{test}"
        figures[name] = plots.robustness_figure(of)
    for name, figure in figures.items():
        paths.append(folder / f"{file_name(name)}.png")
        save_figure(figure, paths[-1])
    return paths


def _write_videos(report: Report, folder: Path) -> Iterator[Path]:
    for counting in dict.fromkeys(result.counting for result in report.results):
        subfolder = folder / f"videos-{counting}"
        subfolder.mkdir(exist_ok=True)
        for result in report.of(counting, "video"):
            if result.videos is not None:
                write_scores(subfolder / f"{file_name(result.test)}.csv", _as_videos(result.videos))
        yield subfolder


def _as_videos(scores: Scores) -> Scores:
    """Replace the status of scored videos, which is that of their first frame, by `ok`."""
    statuses = zip(np.isnan(scores.scores).tolist(), scores.status.texts(), strict=True)
    status = Column.of([reason if missing else "ok" for missing, reason in statuses])
    return replace(scores, status=status)


def file_name(name: str) -> str:
    """Return a file name for a data set, whose name may have characters that file names must not have."""
    return quote(name, safe=" ()+")


def _paper(figure: PrintedFigure | None) -> dict[str, Any] | None:
    return None if figure is None else {name: getattr(figure, name) for name in PAPER_KEYS}
