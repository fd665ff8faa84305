"""How steady a training is: AUC over its epochs, and over repeats with other seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, FloatArray, Subject
from deepscan.analyses.trainings import TrainingLog, read_trainings
from deepscan.errors import UsageError
from deepscan.evaluation.plot_style import MARKERS, add_legend, line_of, new_figure, shortened, styled
from deepscan.training.recipe import Select

#: The end of a training over which its spread is taken.
TAIL = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class AucCurve:
    """Trainings of one recipe.

    Attributes:
        name: What they are called.
        runs: The trainings, each with another seed.
        values: AUC after each epoch that all have, shape (runs, epochs).
    """

    name: str
    runs: tuple[TrainingLog, ...]
    values: FloatArray

    @property
    def mean(self) -> FloatArray:
        """The mean over the trainings, shape (epochs,)."""
        mean: FloatArray = self.values.mean(axis=0)
        return mean


@ANALYSES.register("stability")
@dataclass(frozen=True)
class StabilityAnalysis(Analysis):
    """Reads AUC over training from the logs of trainings; those of one recipe make a band.

    The AUC is that of the validation crops that choose the epoch. CoRIT's Fig. 5 shows it on data sets that
    training never saw; to see that, evaluate checkpoints of several epochs.

    Attributes:
        metric: `auc` of crops, or `video_auc`.
    """

    summary = "AUC over training: best epoch, last epoch, spread at the end, band over seeds"
    source = "CoRIT, Sec. V-B4, Fig. 5"
    needs = frozenset({"runs"})

    metric: Select = "auc"

    def __post_init__(self) -> None:
        if self.metric not in get_args(Select):
            raise UsageError(
                f"metric must be one of {', '.join(get_args(Select))}, not {self.metric!r}", "correct metric"
            )

    def look(self, subject: Subject) -> Findings:
        """Return what each training came to, and the mean of those that are repeats of one."""
        curves = _curves(read_trainings(subject.runs, subject.card.folder), self.metric)
        rows: list[dict[str, Cell]] = []
        for curve in curves:
            for run in curve.runs:
                named = {"run": run.name, "seed": "" if run.seed is None else run.seed}
                rows.append({**named, **summarise_curve(run.curve(self.metric))})
            if len(curve.runs) > 1:
                rows.append({"run": curve.name, "seed": "mean", **summarise_curve(curve.mean.tolist())})
        lines = [
            f"{row['run']}: best {row['best']:.4f} after epoch {row['best_epoch']} of {row['epochs']}, "
            f"last {row['last']:.4f}, spread {row['spread']:.4f} over the last {_tail(int(row['epochs']))}"
            for row in rows
        ]
        return Findings(
            rows,
            draw_stability(curves, self.metric),
            (*lines, "the paper draws its curves (Fig. 5) and prints no figure of them"),
        )


def summarise_curve(values: Sequence[float]) -> dict[str, Cell]:
    """Return the main figures of a curve.

    Args:
        values: AUC after each epoch.

    Returns:
        How many `epochs`, the `best_epoch`, the first of them from 1, its AUC `best`, the `last`, by how much
        that is `below` the best, and the `spread`, greatest less least, over the last quarter of the epochs,
        or two of them where that is fewer.
    """
    best = int(np.argmax(values))
    tail = values[-_tail(len(values)) :]
    return {
        "epochs": len(values),
        "best_epoch": best + 1,
        "best": values[best],
        "last": values[-1],
        "below": values[best] - values[-1],
        "spread": max(tail) - min(tail),
    }


def _tail(epochs: int) -> int:
    return min(epochs, max(2, math.ceil(TAIL * epochs)))


def _curves(runs: Sequence[TrainingLog], metric: str) -> list[AucCurve]:
    """Return the trainings by recipe; a seed that occurs twice is not another one."""
    sorts: dict[str, list[TrainingLog]] = {}
    for run in runs:
        repeats = sorts.setdefault(run.sort, [])
        if run.seed in [other.seed for other in repeats]:
            repeats = sorts.setdefault(f"{run.sort} {run.folder}", [])
        repeats.append(run)
    curves = []
    for repeats in sorts.values():
        values = [run.curve(metric) for run in repeats]
        common = min(map(len, values))
        more = f" and {len(repeats) - 1} more" if len(repeats) > 1 else ""
        curves.append(
            AucCurve(f"{repeats[0].name}{more}", tuple(repeats), np.array([aucs[:common] for aucs in values]))
        )
    return curves


def draw_stability(curves: Sequence[AucCurve], metric: str) -> Figure:
    """Return AUC against epoch: a line a recipe, the range over its seeds behind, the best epoch marked.

    Args:
        curves: In the order of the legend.
        metric: What they are of.
    """
    with styled():
        figure = new_figure(3.5)
        axes = figure.subplots()
        handles = [_draw(axes, curve, index) for index, curve in enumerate(curves)]
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        level = "videos" if metric == "video_auc" else "crops"
        axes.set(xlabel="Epochs", ylabel=f"AUC of validation {level}")
        labels = [
            f"{curve.mean.max():.3f}, at the end {curve.mean[-1]:.3f}  {shortened(curve.name, 32)}"
            for curve in curves
        ]
        add_legend(figure, handles, labels, "Best epoch, and training")
    return figure


def _draw(axes: Axes, curve: AucCurve, index: int) -> Artist:
    look: Mapping[str, Any] = line_of(index)
    epochs = np.arange(1, curve.values.shape[1] + 1)
    if len(curve.runs) > 1:
        low, high = curve.values.min(axis=0), curve.values.max(axis=0)
        axes.fill_between(epochs, low, high, color=look["color"], alpha=0.18, linewidth=0)
    best = int(curve.mean.argmax())
    (line,) = axes.plot(
        epochs, curve.mean, marker=MARKERS[index % len(MARKERS)], markevery=[best], markersize=7, **look
    )
    return line
