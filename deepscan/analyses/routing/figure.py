"""Figures of the routing analysis."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepscan.analyses.routing.routes import Masks, Routes, printed
from deepscan.evaluation.plot_style import (
    COLOURS,
    GREY,
    MARKERS,
    add_legend,
    add_maps,
    new_figure,
    percent,
    shortened,
    styled,
)
from deepscan.evaluation.scores import LABEL_NAMES

#: Data set of the paper's expert weights that are plotted for comparison.
PRINTED_SET = "Celeb-DF-v2"


def draw_routes(routes: Routes, grid: int) -> Figure:
    """Plot exits, patches kept by routed blocks, expert weights, and depths by data set."""
    names = list(dict.fromkeys(routes.crops.sets.tolist()))
    panels: list[Any] = [["exits"] * 2 + ["experts"] * 2, ["map 0"] * 2 + ["map 1"] * 2]
    heights = [2.6, 2.4]
    if not routes.experts.shape[3]:
        panels[0] = ["exits"] * 4
    if len(names) > 1:
        panels.append(["sets"] * 4)
        heights.append(0.8 + 0.25 * len(names))
    with styled():
        figure = new_figure(sum(heights))
        axes = figure.subplot_mosaic(panels, height_ratios=heights)
        _draw_exits(axes["exits"], routes)
        handles: list[Artist] = [Patch(color=COLOURS[label]) for label in (0, 1)]
        labels = list(LABEL_NAMES)
        if routes.experts.shape[3]:
            handles += _draw_experts(axes["experts"], routes)
            labels += [f"paper, {PRINTED_SET}, {label}" for label in LABEL_NAMES]
        maps = {
            f"Patches processed, {LABEL_NAMES[label]}": _patch_shares(routes, label, grid) for label in (0, 1)
        }
        _add_shares(figure, axes, maps, "Share of routed blocks")
        if len(names) > 1:
            _draw_sets(axes["sets"], routes, names)
        add_legend(figure, handles, labels, side="outside upper center")
    return figure


def draw_masks(masks: Masks, grid: int) -> Figure:
    """Plot the kept share of each region by layer, and the share of layers that keep each patch."""
    with styled():
        figure = new_figure(5.4)
        axes = figure.subplot_mosaic([["rates", "rates"], ["map 0", "map 1"]], height_ratios=[2.8, 2.4])
        layers = np.arange(1, masks.rates.shape[1] + 1)
        rates = [masks.rates[masks.crops.labels == label].mean(axis=0) for label in (0, 1)]
        # With a low threshold little is dropped, so start the axis at the next lower tenth.
        low = min(0.9, float(np.floor(10 * min(rate.min() for rate in rates)) / 10))
        handles: list[Artist] = []
        labels = []
        for index, region in enumerate(masks.regions):
            for label in (0, 1):
                style: dict[str, Any] = {"color": COLOURS[2 + index], "marker": MARKERS[index]}
                style |= {"linestyle": ("-", "--")[label], "markersize": 4}
                style |= {"markerfacecolor": (COLOURS[2 + index], "white")[label]}
                handles += axes["rates"].plot(layers, rates[label][:, index], **style)
                labels.append(f"{region}, {LABEL_NAMES[label]}")
        axes["rates"].set(xlabel="Layer", ylabel="Kept of the region", ylim=(low, 1 + 0.03 * (1 - low)))
        axes["rates"].yaxis.set_major_formatter(FuncFormatter(percent))
        axes["rates"].xaxis.set_major_locator(MaxNLocator(integer=True))
        maps = {
            f"Patches kept, {LABEL_NAMES[label]}": share.mean(axis=0).reshape(grid, grid)
            for label in (0, 1)
            for share in [masks.kept_share[masks.crops.labels == label]]
        }
        _add_shares(figure, axes, maps, "Share of layers", low)
        add_legend(figure, handles, labels, side="outside upper center")
    return figure


def _patch_shares(routes: Routes, label: int, grid: int) -> Any:
    """Return the share of the routed blocks passed by a label's crops that process each patch, (G, G)."""
    rows = routes.crops.labels == label
    passed = routes.alive[:, routes.routed][rows].sum()
    return routes.kept[rows].sum(axis=(0, 1)).reshape(grid, grid) / max(1, passed)


def _draw_exits(axes: Axes, routes: Routes) -> None:
    blocks = routes.alive.shape[1]
    depths = np.arange(blocks - len(routes.routed), blocks + 1)
    for label in (0, 1):
        of_label = routes.depth[routes.crops.labels == label]
        shares = [(of_label == depth).mean() for depth in depths]
        axes.bar(depths + (label - 0.5) * 0.4, shares, 0.38, color=COLOURS[label])
    axes.set(xlabel=f"Blocks that a crop passes, of {blocks}", ylabel="Share of the crops", ylim=(0, 1))
    axes.set_xticks(depths)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.grid(axis="x", visible=False)


def _draw_experts(axes: Axes, routes: Routes) -> list[Artist]:
    """Draw the weights in the first routed block and those of the paper; return the handles of these."""
    first, count = routes.routed[0], routes.experts.shape[3]
    positions = np.arange(1, count + 1)
    handles: list[Artist] = []
    for label in (0, 1):
        rows = (routes.crops.labels == label) & routes.alive[:, first]
        if rows.any():
            means = routes.experts[rows, first].mean(axis=(0, 1))
            axes.plot(positions + (label - 0.5) * 0.24, means, MARKERS[label], color=COLOURS[label])
        printed_weights = [printed(PRINTED_SET, LABEL_NAMES[label], expert) for expert in positions.tolist()]
        shown = [np.nan if value == "" else float(value) for value in printed_weights]
        style: dict[str, Any] = {"marker": MARKERS[label], "markerfacecolor": "none", "linestyle": "none"}
        style |= {"color": COLOURS[label], "markersize": 8}
        axes.plot(positions + (label - 0.5) * 0.72, shown, **style)
        handles.append(Line2D([], [], **style))
    axes.axhline(1 / count, color=GREY, linewidth=0.8, zorder=1)
    axes.set_xticks(positions)
    axes.set_xlim(0.4, count + 0.6)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="Expert", ylabel=f"Weight at layer {first + 1}")
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    return handles


def _draw_sets(axes: Axes, routes: Routes, names: Sequence[str]) -> None:
    for row, name in enumerate(names):
        for label in (0, 1):
            rows = (routes.crops.sets == name) & (routes.crops.labels == label)
            if rows.any():
                axes.plot(routes.depth[rows].mean(), row, MARKERS[label], color=COLOURS[label])
    axes.set_yticks(range(len(names)), [shortened(name, 30) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("Mean number of blocks")


def _add_shares(
    figure: Figure, panels: Mapping[Any, Axes], maps: Mapping[str, Any], of: str, low: float = 0.0
) -> None:
    bar = add_maps(figure, [panels["map 0"], panels["map 1"]], maps, low, 1)
    bar.set_label(of)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(percent))
