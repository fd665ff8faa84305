"""Figure of the cost analysis."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepscan.analyses.cost.items import BACKBONE, CostItem, format_cost
from deepscan.evaluation.plot_style import COLOURS, add_legend, new_figure, styled


def draw_cost(items: Sequence[CostItem], frames: int) -> Figure:
    """Plot a panel for each kind of cost, with measured and printed bars and their values.

    Args:
        items: The costs.
        frames: Number of frames in an epoch.
    """
    panels = {
        "Parameters (millions)": ("parameters", 1e-6),
        "GFLOPs a crop": ("GFLOPs a crop", 1.0),
        "Time a crop (ms)": ("time a crop", 1e3),
        f"Training epoch of {frames:,} frames (min)": ("training epoch", 1 / 60),
        "Memory of training (MB)": ("memory of training", 1.0),
    }
    shown = {
        title: ([item for item in items if item.measure.startswith(measure)], scale)
        for title, (measure, scale) in panels.items()
    }
    shown = {title: chosen for title, chosen in shown.items() if chosen[0]}
    bars = [sum(1 + (item.paper is not None) for item in chosen) for chosen, _ in shown.values()]
    with styled():
        figure = new_figure(sum(0.27 * count + 0.75 for count in bars))
        axes = figure.subplots(len(bars), 1, squeeze=False, height_ratios=[count + 1.2 for count in bars])
        for panel, (title, (chosen, scale)) in zip(axes.flat, shown.items(), strict=True):
            _draw(panel, chosen, scale)
            panel.set_title(title, loc="left")
        if any(item.paper is not None for item in items):
            handles = [Patch(color=COLOURS[0]), Patch(facecolor="white", edgecolor=COLOURS[1], hatch="/////")]
            add_legend(figure, handles, ["measured", f"paper, {BACKBONE}"], side="outside upper center")
    return figure


def _draw(axes: Axes, items: Sequence[CostItem], scale: float) -> None:
    names: list[str] = []
    maximum = max(max(item.value, item.paper or 0.0) for item in items) * scale
    for item in items:
        axes.barh(len(names), item.value * scale, 0.7, color=COLOURS[0])
        _write(axes, len(names), item.value * scale, maximum, format_cost(item.value, item))
        names.append(item.of)
        if item.paper is not None:
            drawn = axes.barh(len(names), item.paper * scale, 0.7, color="white", edgecolor=COLOURS[1])
            drawn.patches[0].set_hatch("/////")
            _write(axes, len(names), item.paper * scale, maximum, format_cost(item.paper, item))
            names.append(f"paper: {item.source.rpartition(', ')[2]}")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, maximum * 1.17)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _write(axes: Axes, row: int, value: float, maximum: float, text: str) -> None:
    axes.text(value + 0.01 * maximum, row, text, va="center", fontsize=8)
