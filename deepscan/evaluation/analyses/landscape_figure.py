"""The picture of `landscape`: contours of the loss over a plane, and its rise with the distance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepscan.evaluation.canvas import COLOURS, MARKS, new_figure, shortened, styled

#: Levels of colour, and lines between them.
LEVELS, LINES = 24, 8


def figure_of(rows: Sequence[Mapping[str, Any]], name: str = "") -> Figure:
    """Return contours of the loss, and beside them the highest rise found at each radius.

    Args:
        rows: The table of the analysis.
        name: The model's.
    """
    with styled():
        figure = new_figure(3.4)
        plane, rise = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_plane(plane, [row for row in rows if row["what"] == "surface"], name)
        _draw_rise(rise, [row for row in rows if row["what"] == "ascent"])
    return figure


def _draw_plane(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    steps = sorted({float(row["a"]) for row in rows})
    at = {step: number for number, step in enumerate(steps)}
    losses = np.empty((len(steps), len(steps)))
    for row in rows:
        losses[at[float(row["b"])], at[float(row["a"])]] = row["loss"]
    filled = axes.contourf(steps, steps, losses, levels=LEVELS, cmap="viridis")
    lines = axes.contour(steps, steps, losses, levels=LINES, colors="white", linewidths=0.6, alpha=0.8)
    axes.clabel(lines, fontsize=6, fmt="%.3g")
    axes.plot([0], [0], "*", color=COLOURS[1], markersize=10, markeredgecolor="white")
    axes.set(
        title=f"Loss around {shortened(name, 24)}" if name else "Loss around the model",
        xlabel="Step along the first direction",
        ylabel="Step along the second",
        aspect="equal",
    )
    axes.grid(visible=False)
    bar = axes.figure.colorbar(filled, ax=axes, label="Cross-entropy")
    bar.outline.set_visible(False)


def _draw_rise(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    radii = list(dict.fromkeys(row["radius"] for row in rows))
    highest = [max(row["rise"] for row in rows if row["radius"] == radius) for radius in radii]
    own = [row["rise"] for row in rows if row["start"] == "gradient"]
    places = range(len(radii))
    axes.plot(places, highest, marker=MARKS[0], color=COLOURS[0], label="highest of all ascents")
    axes.plot(places, own, "--", marker=MARKS[1], color=COLOURS[1], label="from the gradient", markersize=4)
    axes.set_xticks(places, [f"{radius:g}" for radius in radii])
    axes.set_ylim(bottom=0)
    axes.set(title="Highest rise found", xlabel="Radius around the weights", ylabel="Rise of the loss")
    axes.legend(loc="upper left")
