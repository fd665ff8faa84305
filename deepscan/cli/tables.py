"""`deepscan tables`: the result tables of the papers."""

from typing import Annotated

import typer


def tables(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Tables to print.", show_default=False),
    ] = None,
) -> None:
    """Print result tables of the papers.

    Without NAME, lists all tables.

    Examples:
      deepscan tables
      deepscan tables qtfp-cross-dataset corit-frame
    """
    from deepscan.cli import paper_tables
    from deepscan.cli.streams import stdout_console
    from deepscan.evaluation.tables import paper_table

    console = stdout_console()
    for shown in [paper_tables.render(paper_table(name)) for name in names or ()] or [paper_tables.index()]:
        console.print(shown)
