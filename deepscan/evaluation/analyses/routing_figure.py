"""The pictures of how crops are routed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepscan.evaluation.canvas import (
    COLOURS,
    GREY,
    MARKS,
    add_legend,
    new_figure,
    percent,
    shortened,
    styled,
)

if TYPE_CHECKING:
    from deepscan.evaluation.analyses.routing import Masks, Ways

LABELS = ("real", "fake")
#: The data set of the paper's figures that are drawn beside the measured ones.
BESIDE = "Celeb-DF-v2"


def draw_ways(ways: "Ways", grid: int) -> Figure:
    """Return exits, the patches that routed blocks work on, the experts' weights, and depths by data set."""
    names = list(dict.fromkeys(ways.crops.sets.tolist()))
    panels: list[Any] = [["exits"] * 2 + ["experts"] * 2, ["map 0"] * 2 + ["map 1"] * 2]
    heights = [2.6, 2.4]
    if not ways.experts.shape[3]:
        panels[0] = ["exits"] * 4
    if len(names) > 1:
        panels.append(["sets"] * 4)
        heights.append(0.8 + 0.25 * len(names))
    with styled():
        figure = new_figure(sum(heights))
        axes = figure.subplot_mosaic(panels, height_ratios=heights)
        _draw_exits(axes["exits"], ways)
        handles: list[Artist] = [Patch(color=COLOURS[label]) for label in (0, 1)]
        labels = list(LABELS)
        if ways.experts.shape[3]:
            handles += _draw_experts(axes["experts"], ways)
            labels += [f"paper, {BESIDE}, {label}" for label in LABELS]
        worked = _worked(ways)
        _draw_maps(
            figure,
            [axes["map 0"], axes["map 1"]],
            worked,
            grid,
            "Patches worked on",
            "Share of routed blocks",
        )
        if len(names) > 1:
            _draw_sets(axes["sets"], ways, names)
        add_legend(figure, handles, labels, side="outside upper center")
    return figure


def draw_masks(masks: "Masks", grid: int) -> Figure:
    """Return what is kept of each region layer by layer, and which patches the last masks hold."""
    with styled():
        figure = new_figure(5.4)
        axes = figure.subplot_mosaic([["rates", "rates"], ["map 0", "map 1"]], height_ratios=[2.8, 2.4])
        layers = np.arange(1, masks.rates.shape[1] + 1)
        rates = [masks.rates[masks.crops.labels == label].mean(axis=0) for label in (0, 1)]
        # Little is dropped where the threshold is low: the axis begins at the tenth below.
        low = min(0.9, float(np.floor(10 * min(each.min() for each in rates)) / 10))
        handles: list[Artist] = []
        labels = []
        for at, region in enumerate(masks.regions):
            for label in (0, 1):
                look: dict[str, Any] = {"color": COLOURS[2 + at], "marker": MARKS[at]}
                look |= {"linestyle": ("-", "--")[label], "markersize": 4}
                look |= {"markerfacecolor": (COLOURS[2 + at], "white")[label]}
                handles += axes["rates"].plot(layers, rates[label][:, at], **look)
                labels.append(f"{region}, {LABELS[label]}")
        axes["rates"].set(xlabel="Layer", ylabel="Kept of the region", ylim=(low, 1 + 0.03 * (1 - low)))
        axes["rates"].yaxis.set_major_formatter(FuncFormatter(percent))
        axes["rates"].xaxis.set_major_locator(MaxNLocator(integer=True))
        held = [masks.held[masks.crops.labels == label].mean(axis=0) for label in (0, 1)]
        maps = [axes["map 0"], axes["map 1"]]
        _draw_maps(figure, maps, held, grid, "Patches kept", "Share of layers", low)
        add_legend(figure, handles, labels, side="outside upper center")
    return figure


def _worked(ways: "Ways") -> list[Any]:
    """Return by label which share of the routed blocks that crops go through works on each patch."""
    maps = []
    for label in (0, 1):
        rows = ways.crops.labels == label
        passed = ways.alive[:, ways.routed][rows].sum()
        maps.append(ways.kept[rows].sum(axis=(0, 1)) / max(1, passed))
    return maps


def _draw_exits(axes: Axes, ways: "Ways") -> None:
    blocks = ways.alive.shape[1]
    depths = np.arange(blocks - len(ways.routed), blocks + 1)
    for label in (0, 1):
        own = ways.depth[ways.crops.labels == label]
        shares = [(own == depth).mean() for depth in depths]
        axes.bar(depths + (label - 0.5) * 0.4, shares, 0.38, color=COLOURS[label])
    axes.set(xlabel=f"Blocks that a crop goes through, of {blocks}", ylabel="Share of the crops", ylim=(0, 1))
    axes.set_xticks(depths)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.grid(axis="x", visible=False)


def _draw_experts(axes: Axes, ways: "Ways") -> list[Artist]:
    """Draw the weights in the first routed block and the paper's; return what stands for the latter."""
    from deepscan.evaluation.analyses.routing import printed

    first, count = ways.routed[0], ways.experts.shape[3]
    places = np.arange(1, count + 1)
    handles: list[Artist] = []
    for label in (0, 1):
        rows = (ways.crops.labels == label) & ways.alive[:, first]
        if rows.any():
            means = ways.experts[rows, first].mean(axis=(0, 1))
            axes.plot(places + (label - 0.5) * 0.24, means, MARKS[label], color=COLOURS[label])
        theirs = [printed(BESIDE, LABELS[label], expert) for expert in places.tolist()]
        shown = [np.nan if value == "" else float(value) for value in theirs]
        look: dict[str, Any] = {"marker": MARKS[label], "markerfacecolor": "none", "linestyle": "none"}
        look |= {"color": COLOURS[label], "markersize": 8}
        axes.plot(places + (label - 0.5) * 0.72, shown, **look)
        handles.append(Line2D([], [], **look))
    axes.axhline(1 / count, color=GREY, linewidth=0.8, zorder=1)
    axes.set_xticks(places)
    axes.set_xlim(0.4, count + 0.6)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="Expert", ylabel=f"Weight at layer {first + 1}")
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    return handles


def _draw_sets(axes: Axes, ways: "Ways", names: Sequence[str]) -> None:
    for at, name in enumerate(names):
        for label in (0, 1):
            rows = (ways.crops.sets == name) & (ways.crops.labels == label)
            if rows.any():
                axes.plot(ways.depth[rows].mean(), at, MARKS[label], color=COLOURS[label])
    axes.set_yticks(range(len(names)), [shortened(name, 30) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("Mean number of blocks")


def _draw_maps(
    figure: Figure,
    panels: Sequence[Axes],
    maps: Sequence[Any],
    grid: int,
    title: str,
    legend: str,
    low: float = 0.0,
) -> None:
    for label, (axes, each) in enumerate(zip(panels, maps, strict=True)):
        image = axes.imshow(each.reshape(grid, grid), cmap="cividis", vmin=low, vmax=1)
        axes.set_title(f"{title}, {LABELS[label]}")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.85, aspect=14, panchor=False)
    bar.set_label(legend)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(percent))
    bar.outline.set_visible(False)
