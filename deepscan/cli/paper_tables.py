"""Result tables of the papers, laid out for a terminal."""

import textwrap
from collections.abc import Sequence

from rich.table import Table as Grid
from rich.text import Text

from deepscan.evaluation.papers.table import METRIC_LABELS, PaperTable
from deepscan.evaluation.tables import load_tables


def index() -> Grid:
    """Return the list of all tables."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("table", no_wrap=True)
    grid.add_column("metric", max_width=14)
    grid.add_column("source", overflow="fold")
    for given in load_tables().values():
        source = Text(f"{given.number}: ", style="dim").append(given.title, style="not dim")
        grid.add_row(Text(given.name), _figures(given) if given.rows else "not available", source)
    return grid


def render(table: PaperTable, width: int = 80) -> Grid:
    """Return a table for display, transposed if it is too wide.

    Args:
        table: The table.
        width: Columns that it should fit into.
    """
    page = Grid.grid()
    page.add_column(max_width=width, overflow="fold")
    page.add_row(Text(f"{table.title} ({_figures(table)})", style="bold"))
    page.add_row(Text(f"{table.name}: {table.paper}, {table.number}", style="dim"))
    if table.rows:
        page.add_row()
        page.add_row(_laid_out(table, width))
        page.add_row()
    for note in (*table.notes, *([f"Not available: {table.lost}."] if table.lost else ())):
        page.add_row(Text(note, style="dim"))
    return page


def _figures(given: PaperTable) -> str:
    return f"{given.level} {METRIC_LABELS.get(given.metric, given.metric)}".strip()


def _laid_out(given: PaperTable, width: int) -> Grid:
    upright = [[row.name, *map(str, row.cells)] for row in given.rows]
    names, *columns = zip(*upright, strict=True)
    turned = [[head, *figures] for head, figures in zip(given.columns, columns, strict=True)]
    if _least(upright) <= max(width, _least(turned)):
        return _grid([given.heading, *given.columns], upright, width)
    return _grid(["", *names], turned, width)


def _least(body: Sequence[Sequence[str]]) -> int:
    # Names wrap at 14 characters, numbers never; columns are one space apart.
    columns = [[len(cell) for cell in column] for column in zip(*body, strict=True)]
    return min(14, max(columns[0])) + sum(1 + max(column) for column in columns[1:])


def _grid(heads: Sequence[str], body: Sequence[Sequence[str]], width: int) -> Grid:
    """Return a grid, narrowing gaps, then names, then headings until it fits."""
    figures = [max(len(cell) for cell in column) for column in zip(*body, strict=True)][1:]
    longest = max(len(row[0]) for row in (heads, *body))

    def folded(fold: int) -> list[list[str]]:
        return [textwrap.wrap(head, max(fold, size)) for head, size in zip(heads[1:], figures, strict=True)]

    def taken(fold: int, gap: int, name: int) -> int:
        return name + sum(
            gap + max(size, *map(len, head)) for head, size in zip(folded(fold), figures, strict=True)
        )

    layouts = [
        (fold, gap, min(longest, name))
        for fold in range(max(map(len, heads)), 0, -1)
        for gap, name in ((2, longest), (1, longest), (1, 24), (1, 14))
    ]
    fold, gap, name = next((layout for layout in layouts if taken(*layout) <= width), layouts[-1])
    grid = Grid(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    grid.add_column(heads[0], max_width=name, overflow="fold")
    for head in folded(fold):
        grid.add_column("\n".join(head), justify="right", no_wrap=True)
    for row in body:
        grid.add_row(*map(Text, row))
    return grid
