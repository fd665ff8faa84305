"""The contract of every analysis: a model and labelled crops in, a table and a figure out."""

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
    """What an analysis works on.

    Attributes:
        card: The model.
        datasets: Labelled videos, a data set each; empty if an analysis needs none.
        folder: Output folder of the table and the figure.
        runs: Folders of trainings, as written by `train` (`MODEL/run`).
        most: Greatest number of crops of a data set and label; 0 for all.
        seed: Of the random draws.
        on_progress: Progress callback: (done, total); the total never changes.
    """

    card: ModelCard
    datasets: Sequence[VideoDataset]
    folder: Path
    runs: tuple[Path, ...] = ()
    most: int = 512
    seed: int = 1024
    on_progress: OnProgress | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The results of an analysis.

    Attributes:
        rows: The table, every row with the same columns.
        figure: The figure.
        lines: For the reader: the main results, beside the paper's if it prints any.
    """

    rows: Sequence[Mapping[str, Cell]]
    figure: "Figure"
    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.rows or any(row.keys() != self.rows[0].keys() for row in self.rows):
            raise ValueError("a table has rows, all with the same columns")


class WorkProgress:
    """Reports the progress of an analysis to its subject's `on_progress`.

    Args:
        subject: The subject.
        total: Number of steps, of all kinds of work together.
    """

    def __init__(self, subject: Subject, total: int) -> None:
        self._progress, self._total, self._done = subject.on_progress, total, 0

    def reached(self, done: int, _: int = 0) -> None:
        """Report that `done` steps are done in all; the signature is that of a progress callback."""
        # Where crops cannot be read, halves of them may be cut otherwise than was counted.
        self._done = min(done, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total)

    def more(self, count: int = 1) -> None:
        """Report that `count` more steps are done."""
        self.reached(self._done + count)

    def end(self) -> None:
        """Report that all steps are done, also those that were left out."""
        if self._done < self._total:
            self.reached(self._total)


class Analysis(ABC):
    """An analysis of a model; a frozen dataclass whose fields are its options.

    Attributes:
        summary: One line for `--help`.
        source: Paper and section that it follows.
        needs: What it needs: `crops`, `runs`, or only the `model`.
    """

    summary: str
    source: str
    needs: frozenset[str] = frozenset({"crops"})

    @abstractmethod
    def look(self, subject: Subject) -> Findings:
        """Run the analysis and return its results.

        Raises:
            UsageError: The model does not fit the analysis, or the crops lack a class.
            MissingError: Crops, runs or a package are missing.
        """


def write_findings(name: str, findings: Findings, folder: Path) -> tuple[Path, Path]:
    """Write NAME.csv and NAME.png into a folder and return their paths.

    Raises:
        UsageError: The folder cannot be made.
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
