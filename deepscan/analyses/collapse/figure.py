"""Figure of the collapse analysis: AUC by radius, critical radii by layer, signal-to-noise by step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepscan.analyses.analysis import Cell
from deepscan.evaluation.plot_style import (
    GREY,
    MARKERS,
    add_legend,
    line_of,
    new_figure,
    plain_log,
    shortened,
    styled,
)

Panels = Any
Rows = Sequence[Mapping[str, Any]]
#: Number of measured steps on either side in the moving average of a ratio.
SMOOTHING = 3


def draw_collapse(rows: Sequence[Mapping[str, Cell]]) -> Figure:
    """Plot AUC by radius, COR by layer, and GSNR by step, for each kind and for the layers of the first kind.

    Args:
        rows: The table of the analysis.
    """
    kinds = list(dict.fromkeys((str(row["data"]), str(row["kind"])) for row in rows))
    with styled():
        figure = new_figure(5.6)
        panels = figure.subplots(2, 2)
        handles = [
            _draw_kind(panels, [row for row in rows if (row["data"], row["kind"]) == kind], index, len(kinds))
            for index, kind in enumerate(kinds)
        ]
        _draw_layers(panels[1, 1], [row for row in rows if (row["data"], row["kind"]) == kinds[0]])
        _label(panels, rows, kinds[0])
        add_legend(figure, handles, [shortened(", ".join(kind), 40) for kind in kinds])
    return figure


def _draw_kind(panels: Panels, rows: Rows, index: int, count: int) -> Artist:
    style, marker = line_of(index), MARKERS[index % len(MARKERS)]
    head = [row for row in rows if row["what"] == "radius"]
    # Offset the kinds, since many have the same radius.
    offset = (index - (count - 1) / 2) * min(0.1, 0.5 / count)
    drawn: Artist = panels[0, 0].errorbar(
        [position + offset for position in range(len(head))],
        [row["auc"] for row in head],
        [row["spread"] for row in head],
        marker=marker,
        capsize=3,
        **style,
    )
    layers = [row for row in rows if row["what"] == "layer"]
    numbers = [row["layer"] for row in layers]
    positions = [number + offset for number in numbers]
    radii = [row["cor"] for row in layers]
    panels[0, 1].plot(positions, radii, marker=marker, markersize=5, color=style["color"], clip_on=False)
    panels[0, 1].plot(numbers, [row["cor_theory"] for row in layers], "--", color=style["color"])
    not_reached = [row for row in layers if row["reached"] == "no"]
    panels[0, 1].plot(
        [row["layer"] + offset for row in not_reached],
        [row["cor"] * 1.7 for row in not_reached],
        linestyle="none",
        marker=6,
        color=style["color"],
    )
    last = [row for row in rows if row["what"] == "step" and row["layer"] == numbers[-1]]
    _draw_steps(panels[1, 0], last, **style)
    return drawn


def _draw_steps(axes: Axes, rows: Rows, **style: Any) -> None:
    """Draw a noisy ratio over steps, with its moving average in front."""
    finite = [row for row in rows if 0 < row["gsnr"] < np.inf]
    steps, logs = [row["step"] for row in finite], np.log([row["gsnr"] for row in finite])
    axes.plot(steps, np.exp(logs), **{**style, "linewidth": 0.6, "alpha": 0.4})
    reach = range(len(logs))
    smooth = [logs[max(0, index - SMOOTHING) : index + SMOOTHING + 1].mean() for index in reach]
    axes.plot(steps, np.exp(smooth), **style)


def _draw_layers(axes: Axes, rows: Rows) -> None:
    steps = [row for row in rows if row["what"] == "step"]
    count = max(row["layer"] for row in steps)
    shades = ScalarMappable(Normalize(1, max(2, count)), colormaps["viridis_r"])
    for layer in sorted({round(value) for value in np.linspace(1, count, 6)}):
        of_layer = [row for row in steps if row["layer"] == layer]
        _draw_steps(axes, of_layer, color=shades.to_rgba(layer))
    bar = axes.figure.colorbar(shades, ax=axes, label="Layer", ticks=MaxNLocator(6, integer=True))
    bar.outline.set_visible(False)


def _label(panels: Panels, rows: Rows, first: tuple[str, str]) -> None:
    radii = list(dict.fromkeys(row["radius"] for row in rows if row["what"] == "radius"))
    panels[0, 0].axhline(0.5, color=GREY, linewidth=0.8, zorder=1)
    panels[0, 0].set_xticks(range(len(radii)), [f"{radius:g}" for radius in radii])
    panels[0, 0].set(title="Retrained at each radius", xlabel="Radius of SAM", ylabel="Held-out AUC")
    panels[0, 1].set_yscale("symlog", linthresh=1e-3)
    panels[0, 1].set_ylim(bottom=0)
    plain_log(panels[0, 1].yaxis)
    panels[0, 1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0, 1].set(
        title="Measured (arrow: at least); by Eq. 11 (dashed)",
        xlabel="Layer",
        ylabel="Critical optimisation radius",
    )
    for axes, title in (
        (panels[1, 0], "Last layer"),
        (panels[1, 1], f"Layers, {shortened(', '.join(first), 32)}"),
    ):
        axes.set_xscale("symlog", linthresh=1)
        axes.set_yscale("log")
        axes.set_xlim(left=0)
        plain_log(axes.xaxis)
        plain_log(axes.yaxis)
        axes.set(title=title, xlabel="Step of training (log scale)", ylabel="GSNR of the gradients")
