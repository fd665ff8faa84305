"""The contract that every analysis keeps: a model and labelled crops in, a table and a picture out."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard
from deepscan.evaluation.testsets import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float
FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked into.

    Attributes:
        card: The model.
        materials: Labelled videos, a data set each; empty where an analysis needs none.
        folder: Where table and picture go.
        runs: Folders of trainings, as `train` leaves them (`MODEL/run`); empty where none are named.
        most: How many crops of a data set and label are looked at, at most; 0 for all.
        seed: Of what is drawn.
        on_progress: Progress callback: (done, total); the total never changes.
    """

    card: ModelCard
    materials: Sequence[Material]
    folder: Path
    runs: tuple[Path, ...] = ()
    most: int = 512
    seed: int = 1024
    on_progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What an analysis found.

    Attributes:
        rows: The table, every row with the same columns.
        figure: The picture.
        lines: For the reader: the main results, beside the paper's if it prints any.
    """

    rows: Sequence[Mapping[str, Cell]]
    figure: "Figure"
    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.rows or any(row.keys() != self.rows[0].keys() for row in self.rows):
            raise ValueError("a table has rows, all with the same columns")


class WorkProgress:
    """Counts the pieces of work of an analysis for its subject's listener.

    Args:
        subject: Whose listener is told.
        total: How many there are, of all kinds of work together.
    """

    def __init__(self, subject: Subject, total: int) -> None:
        self._progress, self._total, self._done = subject.on_progress, total, 0

    def reached(self, done: int, _: int = 0) -> None:
        """Tell how many are done; reading crops, which is what comes first, tells it so."""
        # Where crops cannot be read, halves of them may be cut otherwise than was counted.
        self._done = min(done, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total)

    def more(self, count: int = 1) -> None:
        """Tell that some more are done."""
        self.reached(self._done + count)

    def end(self) -> None:
        """Tell that all are done, where some could be left out."""
        if self._done < self._total:
            self.reached(self._total)


class Analysis(ABC):
    """A look into a model; a frozen dataclass whose fields are its options.

    Attributes:
        summary: One line for people.
        source: Paper and section that it follows.
        needs: What it looks at: `crops`, `runs`, or nothing but the `model`.
    """

    summary: str
    source: str
    needs: frozenset[str] = frozenset({"crops"})

    @abstractmethod
    def look(self, subject: Subject) -> Findings:
        """Return what is found.

        Raises:
            UsageError: The model has not what is looked at, or the crops lack a class.
            MissingError: Crops, runs or a package are not there.
        """


def write_findings(name: str, findings: Findings, folder: Path) -> tuple[Path, Path]:
    """Write NAME.csv and NAME.png into a folder and return their paths.

    Raises:
        UsageError: The folder cannot be made.
    """
    from deepscan.evaluation.plot_style import save_figure
    from deepscan.evaluation.report import make_folder

    make_folder(folder)
    table, picture = folder / f"{name}.csv", folder / f"{name}.png"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[Any] = csv.DictWriter(file, list(findings.rows[0]))
        writer.writeheader()
        writer.writerows(findings.rows)
    save_figure(findings.figure, picture)
    return table, picture
