"""Plots of results: ROC curves, robustness, score distributions, comparison with papers.

`plot_style.save_figure` saves them as PNG, 1050 pixels wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from deepscan.errors import UsageError
from deepscan.evaluation.plot_style import (
    COLOURS,
    GREY,
    MARKERS,
    add_legend,
    line_of,
    new_figure,
    percent,
    shortened,
    styled,
)
from deepscan.evaluation.robustness import Robustness
from deepscan.metrics.binary import Interval, auc, check_samples

_Floats = NDArray[np.float64]
REAL, FAKE = COLOURS[0], COLOURS[1]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSet:
    """A set of samples with their scores.

    Attributes:
        name: Name of the set.
        labels: 0 for real, 1 for fake, shape (N,).
        scores: Probability of fake in [0, 1], shape (N,).

    Raises:
        UsageError: See `metrics.binary.check_samples`; the message names the set.
    """

    name: str
    labels: ArrayLike
    scores: ArrayLike

    def __post_init__(self) -> None:
        try:
            labels, scores = check_samples(self.labels, self.scores)
        except UsageError as error:
            raise UsageError(f"{self.name}: {error.message}", error.hint)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "scores", scores)

    def of(self, label: int) -> _Floats:
        """Return the scores of a class."""
        chosen: _Floats = np.asarray(self.scores)[np.asarray(self.labels) == label]
        return chosen


def roc_figure(sets: Sequence[ScoredSet]) -> Figure:
    """Plot the ROC curves of sets, on a linear and on a logarithmic axis of false positive rates.

    On the logarithmic axis, a curve starts at the rate of one false positive, since lower rates are not
    measurable.

    Args:
        sets: The sets, in legend order; the legend has the AUC of each.

    Raises:
        UsageError: There are no sets.
    """
    from sklearn.metrics import roc_curve

    _require_items(sets)
    with styled():
        figure = new_figure(3.5)
        whole, low = figure.subplots(1, 2)
        lowest = 10 ** np.floor(np.log10(1 / max(len(scored.of(0)) for scored in sets)))
        floor = float(np.clip(lowest, 1e-4, 0.1))
        handles = []
        for index, scored in enumerate(sets):
            false, true, _ = roc_curve(scored.labels, scored.scores)
            style = line_of(index)
            handles += whole.plot(false, true, **style)
            low.plot(*_spread(false, true, max(floor, 1 / len(scored.of(0)))), **style)
        chance = np.geomspace(floor, 1, 300)
        whole.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=1)
        handles += low.plot(chance, chance, color=GREY, linewidth=0.8, zorder=1)
        low.set_xscale("log")
        low.set_xlim(floor, 1)
        low.xaxis.set_minor_formatter(NullFormatter())
        whole.set_xlim(-0.01, 1.01)
        for axes in (whole, low):
            axes.set_ylim(-0.01, 1.01)
            axes.xaxis.set_major_formatter(FuncFormatter(percent))
            axes.yaxis.set_major_formatter(FuncFormatter(percent))
            axes.set_xlabel("Reals called fake")
        low.set_xlabel("Reals called fake (log scale)")
        whole.set_ylabel("Fakes called fake")
        labels = [f"{auc(scored.labels, scored.scores):.3f}  {shortened(scored.name, 32)}" for scored in sets]
        add_legend(figure, handles, [*labels, "0.500  chance"], "Area under the curve, and set")
    return figure


def _spread(false: _Floats, true: _Floats, start: float) -> tuple[_Floats, _Floats]:
    """Return a curve above a false positive rate, dense enough for a log axis, where segments are curved."""
    between = np.geomspace(start, 1, 300)
    x = np.concatenate((false[false >= start], between))
    y = np.concatenate((true[false >= start], np.interp(between, false, true)))
    order = np.lexsort((y, x))
    return x[order], y[order]


def robustness_figure(results: Sequence[Robustness]) -> Figure:
    """Plot the AUC against the level, with a line for each distortion.

    Args:
        results: The results, in legend order; the legend has the mean relative variation of each.

    Raises:
        UsageError: There are no results.
    """
    _require_items(results)
    with styled():
        figure = new_figure(3.5)
        axes = figure.subplots()
        handles = []
        for index, result in enumerate(results):
            handles += axes.plot(
                list(result.aucs),
                list(result.aucs.values()),
                marker=MARKERS[index % len(MARKERS)],
                **line_of(index),
            )
        values = [value for result in results for value in result.aucs.values()]
        labels = [f"{_signed(100 * result.figure, 1)} %  {result.distortion}" for result in results]
        bottom, top = min(values), max(values)
        if bottom < 0.6:
            handles.append(axes.axhline(0.5, color=GREY, linewidth=0.8, zorder=1))
            labels.append("chance")
            bottom = min(bottom, 0.5)
        margin = max(0.05 * (top - bottom), 0.02)
        axes.set_ylim(bottom - margin, top + margin)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("Level of the distortion (0: original crops)")
        axes.set_ylabel("Area under the ROC curve")
        add_legend(figure, handles, labels, "Relative variation of the area, mean over the levels")
    return figure


def distributions_figure(sets: Sequence[ScoredSet], bins: int = 25) -> Figure:
    """Plot the score distributions of reals and fakes, with a panel for each set.

    Args:
        sets: The sets.
        bins: Number of bins.

    Raises:
        UsageError: There are no sets.
    """
    _require_items(sets)
    columns = next(number for number, limit in ((1, 1), (2, 4), (3, 9), (4, len(sets))) if len(sets) <= limit)
    rows = -(-len(sets) // columns)
    with styled():
        figure = new_figure(max(3.2, 1.5 * rows))
        panels = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
        for scored, axes in zip(sets, panels, strict=False):
            _draw_scores(axes, scored, bins, 84 // columns)
            if columns > 2:
                axes.set_yticks([])
                axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        for axes in panels[len(sets) :]:
            axes.remove()
        for axes in panels[len(sets) - columns : len(sets)]:
            axes.tick_params(labelbottom=True)
        handles: list[Artist] = [
            Patch(facecolor=f"{REAL}55", edgecolor=REAL),
            Patch(facecolor=f"{FAKE}55", edgecolor=FAKE, linestyle="--"),
        ]
        figure.supxlabel("Score (probability of fake)", fontsize=9)
        scale_note = "" if columns <= 2 else " (scales differ between panels)"
        figure.supylabel(f"Share of the class{scale_note}", fontsize=9)
        add_legend(figure, handles, ["real", "fake"], side="outside upper center")
    return figure


def _draw_scores(axes: Axes, scored: ScoredSet, bins: int, limit: int) -> None:
    edges = np.linspace(0, 1, bins + 1)
    for label, colour, dashes in ((0, REAL, "-"), (1, FAKE, "--")):
        scores = scored.of(label)
        share = np.histogram(scores, edges)[0] / len(scores)
        axes.stairs(share, edges, fill=True, color=f"{colour}55")
        axes.stairs(share, edges, color=colour, linestyle=dashes, linewidth=1)
    counts = f"{_count(len(scored.of(0)))} real, {_count(len(scored.of(1)))} fake"
    axes.set_title(f"{shortened(scored.name, limit)}\n{counts}", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(percent))


@dataclass(frozen=True, slots=True)
class PaperBar:
    """A measured value of a set, and that of a paper.

    Attributes:
        name: Name of the set.
        measured: The measured value; None if it was not measured.
        paper: The paper's value; None if it has none.
        interval: Interval of the measured value.
    """

    name: str
    measured: float | None
    paper: float | None
    interval: Interval | None = None


def bars_figure(bars: Sequence[PaperBar], figure: str, *, chance: float = 0.5, decimals: int = 3) -> Figure:
    """Plot measured values with their intervals above those of the paper, with the numbers next to them.

    Args:
        bars: The bars, from top to bottom.
        figure: Label of the axis: the metric.
        chance: Baseline of the bars: the value of a random detector.
        decimals: Number of decimals.

    Raises:
        UsageError: There are no bars.
    """
    _require_items(bars)
    with styled():
        canvas = new_figure(0.34 * len(bars) + 0.9)
        axes, numbers = canvas.subplots(1, 2, sharey=True, width_ratios=(2.4, 1))
        rows = np.arange(len(bars))
        measured, paper = (
            np.array([np.nan if value is None else value for value in column])
            for column in zip(*((bar.measured, bar.paper) for bar in bars), strict=True)
        )
        bounds = np.array(
            [(bar.interval.low, bar.interval.high) if bar.interval else (np.nan, np.nan) for bar in bars]
        )
        measured_bars = axes.barh(rows - 0.2, measured - chance, 0.38, left=chance, color=COLOURS[0])
        paper_bars = axes.barh(
            rows + 0.2, paper - chance, 0.38, left=chance, color="white", edgecolor=COLOURS[1], hatch="/////"
        )
        handles: list[Artist] = [measured_bars.patches[0], paper_bars.patches[0]]
        labels = ["measured", "paper"]
        if np.isfinite(bounds).any():
            axes.hlines(rows - 0.2, bounds[:, 0], bounds[:, 1], color="black", linewidth=1.2)
            axes.plot(bounds.ravel(), np.repeat(rows - 0.2, 2), "|", color="black")
            handles.append(Line2D([], [], color="black", linewidth=1.2, marker="|"))
            labels.append("interval of the measured value")
        values = np.concatenate((measured, paper, bounds.ravel(), [chance]))
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        margin = 0.02 * max(high - low, 10.0**-decimals)
        axes.set_xlim(low - margin * (low < chance), high + margin)
        axes.axvline(chance, color="black", linewidth=0.8)
        axes.set_yticks(rows, [shortened(bar.name, 26) for bar in bars])
        axes.set_ylim(len(bars) - 0.45, -0.55)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(figure)
        _write_numbers(numbers, measured, paper, decimals)
        add_legend(canvas, handles, labels)
    return canvas


def _write_numbers(axes: Axes, measured: _Floats, paper: _Floats, decimals: int) -> None:
    """Write measured and printed values and their differences in three columns, with a row for each set."""
    texts = (
        [f"{value:.{decimals}f}" for value in measured],
        [f"{value:.{decimals}f}" for value in paper],
        [_signed(value, decimals) for value in measured - paper],
    )
    for position, column in enumerate(texts):
        for row, text in enumerate(column):
            shown = "–" if text.endswith("nan") else text
            axes.text(position, row, shown, ha="center", va="center", fontsize=8)
    axes.set_xlim(-0.5, 2.5)
    axes.set_xticks([0, 1, 2], ["measured", "paper", "difference"], fontsize=8)
    axes.tick_params(length=0, labelleft=False, labelbottom=False, labeltop=True)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


def _signed(value: float, decimals: int) -> str:
    # Adding 0 turns -0 into 0.
    return f"{round(value, decimals) + 0.0:+.{decimals}f}".replace("-", "−")


def _count(number: int) -> str:
    return f"{number:,}" if number < 100_000 else f"{number / 1000:,.0f} k"


def _require_items(items: Sequence[Any]) -> None:
    if not items:
        raise UsageError("no results to plot", "evaluate at least one test set")
