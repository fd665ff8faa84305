"""Shared style of all figures: size, colours, fonts, legends, and the way they are saved."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

Side = Literal["outside lower center", "outside upper center"]
#: Pixels per inch, and the width of every figure in inches.
DPI, WIDTH = 150, 7.0
#: The colour-blind safe palette of Okabe and Ito, without yellow, which is invisible on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Lines of the same colour differ in their dashes, points also in their markers.
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#888888"
#: Style that overrides the user's settings of matplotlib. Names may have dollar signs, so math is disabled.
STYLE: Mapping[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "text.parse_math": False,
}


def styled() -> AbstractContextManager[None]:
    """Return the style context for making and saving figures."""
    return style.context(["default", dict(STYLE)])


def new_figure(height: float) -> Figure:
    """Return an empty figure that is independent of `pyplot`'s global state.

    Args:
        height: Height in inches, without the legend.
    """
    return Figure(figsize=(WIDTH, height), layout="constrained", dpi=DPI)


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure as PNG, without metadata."""
    with styled():
        figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def add_legend(
    figure: Figure,
    handles: Sequence[Artist],
    labels: Sequence[str],
    title: str = "",
    side: Side = "outside lower center",
) -> None:
    """Add a legend outside of all axes, in as few rows as fit.

    Args:
        figure: A figure with constrained layout; its height grows by that of the legend.
        handles: The artists to explain.
        labels: Label of each handle.
        title: Title of the legend.
        side: A side of the figure without a shared axis label.
    """
    for rows in range(1, len(labels) + 1):
        legend = figure.legend(
            handles,
            labels,
            loc=side,
            ncols=-(-len(labels) // rows),
            title=title or None,
            handlelength=2.6,
        )
        extent = legend.get_window_extent()
        if extent.width <= figure.bbox.width or rows == len(labels):
            break
        legend.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + extent.height / figure.dpi)


def add_maps(
    figure: Figure, panels: Sequence[Axes], maps: Mapping[str, NDArray[Any]], low: float, high: float
) -> Colorbar:
    """Draw maps of patches on a common colour scale, and return the colour bar.

    Args:
        figure: A figure with constrained layout.
        panels: The axes of each map.
        maps: Title -> a value for each patch, shape (G, G).
        low: Lower end of the colour scale.
        high: Upper end of the colour scale.
    """
    for axes, (title, values) in zip(panels, maps.items(), strict=True):
        image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high)
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.85, aspect=14, panchor=False)
    bar.outline.set_visible(False)
    return bar


def shortened(name: str, limit: int) -> str:
    """Shorten a name to a maximum length by cutting out its middle."""
    if len(name) <= limit:
        return name
    head = (limit - 1) // 2
    return f"{name[:head]}…{name[head + 1 - limit :]}"


def line_of(index: int) -> dict[str, Any]:
    """Return colour and dashes of a line, given its index in the legend; 28 are different."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def plain_log(axis: Axis) -> None:
    """Label a log axis with plain numbers, since math text is disabled."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def percent(value: float, position: int | None = None) -> str:
    """Format a fraction as a percentage, with the signature of `FuncFormatter`."""
    return f"{value * 100:.3g} %"
