"""Figure of the landscape analysis: contours of the loss over a plane, and its rise with the distance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from deepscan.evaluation.plot_style import COLOURS, MARKERS, new_figure, shortened, styled

_RISES = tuple(digit * 10.0**power for power in range(-3, 1) for digit in (1, 2, 5))
#: Boundaries of the colour scale, the same for every model, so that figures are comparable.
SHADES = (*(-rise for rise in reversed(_RISES) if rise <= 1), *_RISES, 10.0)
TICKS = (-1, -0.1, -0.01, 0, 0.01, 0.1, 1, 10)
#: Number of contour lines, at levels chosen for each figure.
LINES = 8


def draw_landscape(rows: Sequence[Mapping[str, Any]], name: str = "") -> Figure:
    """Plot the rise of the loss over the plane, and the highest rise found at each radius.

    Args:
        rows: The table of the analysis.
        name: Name of the model.
    """
    with styled():
        figure = new_figure(3.6)
        plane, rise = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_plane(plane, [row for row in rows if row["what"] == "surface"], name)
        _draw_rise(rise, [row for row in rows if row["what"] == "ascent"])
    return figure


def _draw_plane(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    steps = sorted({row["a"] for row in rows})
    index = {step: number for number, step in enumerate(steps)}
    rises = np.empty((len(steps), len(steps)))
    for row in rows:
        rises[index[row["b"]], index[row["a"]]] = row["rise"]
    colours = colormaps["viridis"]
    norm = BoundaryNorm(SHADES, colours.N, extend="both")
    filled = axes.contourf(steps, steps, rises, levels=SHADES, norm=norm, cmap=colours, extend="both")
    lines = axes.contour(steps, steps, rises, levels=LINES, colors="white", linewidths=0.6, alpha=0.8)
    axes.clabel(lines, fontsize=8, fmt=_number)
    axes.plot([0], [0], "*", color=COLOURS[1], markersize=10, markeredgecolor="white")
    # Both directions have the norm of the weights.
    length = next(row["radius"] / row["a"] for row in rows if row["a"] == steps[-1] and row["b"] == 0)
    axes.set(
        title=f"Loss around {shortened(name, 24)}" if name else "Loss around the model",
        xlabel=f"First direction (1: a distance of {length:.3g})",
        ylabel="Second direction",
        aspect="equal",
    )
    axes.grid(visible=False)
    bar = axes.figure.colorbar(filled, ax=axes, label="Rise of the cross-entropy (nats)", shrink=0.9)
    bar.set_ticks(TICKS)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_number))
    bar.outline.set_visible(False)


def _draw_rise(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    radii = list(dict.fromkeys(row["radius"] for row in rows))
    highest = [max(row["rise"] for row in rows if row["radius"] == radius) for radius in radii]
    from_gradient = [row["rise"] for row in rows if row["start"] == "gradient"]
    positions = range(len(radii))
    axes.plot(positions, highest, marker=MARKERS[0], color=COLOURS[0], label="highest of all ascents")
    axes.plot(
        positions,
        from_gradient,
        "--",
        marker=MARKERS[1],
        color=COLOURS[1],
        label="from the gradient",
        markersize=4,
    )
    axes.set_xticks(positions, [f"{radius:g}" for radius in radii])
    axes.set_ylim(bottom=0)
    axes.set(title="Highest rise found", xlabel="Distance from the weights", ylabel="Rise (nats)")
    axes.legend(loc="upper left")


def _number(value: float, _: int | None = None) -> str:
    return f"{value:.3g}".replace("-", "−")
