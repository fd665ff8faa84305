"""`deepscan version`: which deepscan this is, and where it is installed."""

import json
import platform
import sys
from pathlib import Path

import typer

from deepscan.cli import options as opt
from deepscan.version import __version__
from deepscan.versions import source_commit


def version(json_: opt.Json = False) -> None:
    """Show the version, the Python and the folder of this installation.

    In a git checkout, also shows the commit.

    Examples:
      deepscan version
      deepscan version --json
    """
    facts = _facts()
    if json_:
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(version_line())
    if facts["commit"]:
        typer.echo(f"commit:  {facts['commit']}")
    typer.echo(f"python:  {facts['python']} ({facts['executable']})")
    typer.echo(f"folder:  {facts['folder']}")


def version_line() -> str:
    """Return the name and version, such as `deepscan 0.1.0`."""
    return f"deepscan {__version__}"


def _facts() -> dict[str, str | None]:
    return {
        "version": __version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "folder": str(Path(__file__).parents[1]),
    }
