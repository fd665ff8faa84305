"""Options that several commands take in the same words."""

from typing import Annotated, Any

import typer

from deepscan.errors import UsageError

MODEL, OUTPUT = "Model", "Output"
STYLES = ("auto", "plain", "none")

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=MODEL)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is in --out.", rich_help_panel=OUTPUT)
]


def progress_option(panel: str, more: str = "; auto is a bar at a terminal, plain lines elsewhere") -> Any:
    """Return the option --progress, which refuses what is none of `STYLES`.

    Args:
        panel: Of the command's help, where it stands.
        more: What its help adds to their names.
    """
    return typer.Option(help=f"auto, plain or none{more}.", callback=_known_style, rich_help_panel=panel)


def _known_style(style: str) -> str:
    if style not in STYLES:
        raise UsageError(f"--progress {style!r} is unknown", f"choose from: {', '.join(STYLES)}")
    return style
