"""What all figures share: their size, colours and type, their legend, and how they are written."""

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
#: Okabe and Ito's colours, which people who see few colours tell apart; their yellow is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Lines of one colour differ by their dashes, points also by their shape.
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#888888"
#: What the user's own settings of matplotlib do not change. A name may hold a dollar sign: it is no formula.
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
    """Return the context in which figures are made and written."""
    return style.context(["default", dict(STYLE)])


def new_figure(height: float) -> Figure:
    """Return an empty figure; it belongs to nobody but its holder, as `pyplot` has no part in it.

    Args:
        height: In inches, without its legend.
    """
    return Figure(figsize=(WIDTH, height), layout="constrained", dpi=DPI)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; the file tells nothing of time, place or program."""
    with styled():
        figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def add_legend(
    figure: Figure,
    handles: Sequence[Artist],
    labels: Sequence[str],
    title: str = "",
    side: Side = "outside lower center",
) -> None:
    """Put a legend outside of all axes, where it covers nothing, in as few rows as fit.

    Args:
        figure: Its layout is constrained; it is made taller by what the legend takes.
        handles: What is explained.
        labels: How, one a handle.
        title: Above all of them.
        side: Where no label of all axes together is.
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
    """Draw what each patch of a crop has, all on one scale of colours, and return the bar beside the maps.

    Args:
        figure: Its layout is constrained.
        panels: Where, one a map.
        maps: Title -> a value for each patch, shape (G, G).
        low: Where the colours begin.
        high: Where they end.
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


def shortened(name: str, most: int) -> str:
    """Return a name of at most so many characters, without its middle if it is longer."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[head + 1 - most :]}"


def line_of(index: int) -> dict[str, Any]:
    """Return the look of the line at a place in a legend; 28 differ."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def plain_log(axis: Axis) -> None:
    """Write the tens of a log axis as plain numbers: its own formulas are not set."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def percent(value: float, position: int | None = None) -> str:
    """Return a fraction in percent, as `FuncFormatter` calls it."""
    return f"{value * 100:.3g} %"
