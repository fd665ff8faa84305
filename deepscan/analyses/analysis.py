"""Base class of analyses: from a model and labelled crops to a table and a figure."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard
from deepscan.evaluation.testsets import VideoDataset
from deepscan.files import make_folder
from deepscan.progress import OnProgress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float
FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Subject:
    """Input of an analysis.

    Attributes:
        card: Card of the model.
        datasets: Data sets of labelled videos; empty if the analysis needs none.
        folder: Output folder of the table and the figure.
        runs: Folders of trainings, as written by `train` (`MODEL/run`).
        max_crops: Maximum number of crops per data set and label; 0 for all.
        seed: Seed of random draws.
        on_progress: Progress callback: (done, total); the total never changes.
    """

    card: ModelCard
    datasets: Sequence[VideoDataset]
    folder: Path
    runs: tuple[Path, ...] = ()
    max_crops: int = 512
    seed: int = 1024
    on_progress: OnProgress | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The results of an analysis.

    Attributes:
        rows: The table, every row with the same columns.
        figure: The figure.
        lines: The main results as text, with those of the paper if it prints any.
    """

    rows: Sequence[Mapping[str, Cell]]
    figure: "Figure"
    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.rows or any(row.keys() != self.rows[0].keys() for row in self.rows):
            raise ValueError("a table needs rows, all with the same columns")


class WorkProgress:
    """Reports the progress of an analysis to its subject's `on_progress`.

    Args:
        subject: The subject.
        total: Total number of steps.
    """

    def __init__(self, subject: Subject, total: int) -> None:
        self._progress, self._total, self._done = subject.on_progress, total, 0

    def reached(self, done: int, _: int = 0) -> None:
        """Report the total number of finished steps; usable as a progress callback."""
        # Unreadable crops may change the number of steps.
        self._done = min(done, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total)

    def more(self, count: int = 1) -> None:
        """Report `count` further finished steps."""
        self.reached(self._done + count)

    def end(self) -> None:
        """Report that all steps are finished, including skipped ones."""
        if self._done < self._total:
            self.reached(self._total)


class Analysis(ABC):
    """An analysis of a model; a frozen dataclass whose fields are its options.

    Attributes:
        summary: One line for `--help`.
        source: Paper and section.
        needs: Required input: `crops`, `runs`, or only the `model`.
    """

    summary: str
    source: str
    needs: frozenset[str] = frozenset({"crops"})

    @abstractmethod
    def run(self, subject: Subject) -> Findings:
        """Run the analysis and return its results.

        Raises:
            UsageError: The analysis does not support the model, or the crops lack a class.
            MissingError: Crops, runs or a package are missing.
        """


def write_findings(name: str, findings: Findings, folder: Path) -> tuple[Path, Path]:
    """Write NAME.csv and NAME.png into a folder and return their paths.

    Raises:
        UsageError: The folder cannot be created.
    """
    from deepscan.evaluation.plot_style import save_figure

    make_folder(folder)
    table, picture = folder / f"{name}.csv", folder / f"{name}.png"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[Any] = csv.DictWriter(file, list(findings.rows[0]))
        writer.writeheader()
        writer.writerows(findings.rows)
    save_figure(findings.figure, picture)
    return table, picture
