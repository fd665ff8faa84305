"""Stability of training: AUC over the epochs, and over repeats with other seeds."""

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

#: Fraction of the epochs, at the end, over which the spread is computed.
TAIL = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class AucCurve:
    """Trainings with the same recipe.

    Attributes:
        name: Name for the legend.
        runs: The trainings, each with a different seed.
        values: AUC after each common epoch, shape (runs, epochs).
    """

    name: str
    runs: tuple[TrainingLog, ...]
    values: FloatArray

    @property
    def mean(self) -> FloatArray:
        """Mean over the trainings, shape (epochs,)."""
        mean: FloatArray = self.values.mean(axis=0)
        return mean


@ANALYSES.register("stability")
@dataclass(frozen=True)
class StabilityAnalysis(Analysis):
    """Reads the AUC over the epochs from training logs; trainings with the same recipe form a band.

    The AUC is measured on the validation crops that select the epoch. CoRIT's Fig. 5 shows it on unseen data
    sets, which requires evaluating the checkpoints of several epochs.

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
                f"metric must be one of {', '.join(get_args(Select))}, not {self.metric!r}",
                f"for example: metric={get_args(Select)[0]}",
            )

    def run(self, subject: Subject) -> Findings:
        """Return the results of each training, and their mean over repeats."""
        curves = _curves(read_trainings(subject.runs, subject.card.folder), self.metric)
        rows: list[dict[str, Cell]] = []
        for curve in curves:
            for run in curve.runs:
                columns = {"run": run.name, "seed": "" if run.seed is None else run.seed}
                rows.append({**columns, **summarise_curve(run.curve(self.metric))})
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
            (*lines, "the paper only plots its curves (Fig. 5), without numbers"),
        )


def summarise_curve(values: Sequence[float]) -> dict[str, Cell]:
    """Summarise a curve.

    Args:
        values: AUC after each epoch.

    Returns:
        The number of `epochs`, the first `best_epoch`, counted from 1, its AUC `best`, the `last` AUC, its
        difference `below` the best, and the `spread` (maximum minus minimum) over the last quarter of the
        epochs, at least two.
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
    """Group the trainings by recipe; a repeated seed starts a new group."""
    by_recipe: dict[str, list[TrainingLog]] = {}
    for run in runs:
        repeats = by_recipe.setdefault(run.sort, [])
        if run.seed in [other.seed for other in repeats]:
            repeats = by_recipe.setdefault(f"{run.sort} {run.folder}", [])
        repeats.append(run)
    curves = []
    for repeats in by_recipe.values():
        values = [run.curve(metric) for run in repeats]
        common = min(map(len, values))
        more = f" and {len(repeats) - 1} more" if len(repeats) > 1 else ""
        curves.append(
            AucCurve(f"{repeats[0].name}{more}", tuple(repeats), np.array([aucs[:common] for aucs in values]))
        )
    return curves


def draw_stability(curves: Sequence[AucCurve], metric: str) -> Figure:
    """Plot the AUC against the epoch: a line for each recipe, with its range over seeds and its best epoch.

    Args:
        curves: The curves, in legend order.
        metric: The metric of the curves.
    """
    with styled():
        figure = new_figure(3.5)
        axes = figure.subplots()
        handles = [_draw(axes, curve, index) for index, curve in enumerate(curves)]
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        level = "videos" if metric == "video_auc" else "crops"
        axes.set(xlabel="Epochs", ylabel=f"AUC of validation {level}")
        labels = [
            f"{curve.mean.max():.3f}, last {curve.mean[-1]:.3f}  {shortened(curve.name, 32)}"
            for curve in curves
        ]
        add_legend(figure, handles, labels, "Best epoch, and training")
    return figure


def _draw(axes: Axes, curve: AucCurve, index: int) -> Artist:
    style: Mapping[str, Any] = line_of(index)
    epochs = np.arange(1, curve.values.shape[1] + 1)
    if len(curve.runs) > 1:
        low, high = curve.values.min(axis=0), curve.values.max(axis=0)
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.18, linewidth=0)
    best = int(curve.mean.argmax())
    (line,) = axes.plot(
        epochs, curve.mean, marker=MARKERS[index % len(MARKERS)], markevery=[best], markersize=7, **style
    )
    return line
