"""`deepscan version`: which deepscan this is, and where it is installed."""

import json
import platform
import sys
from pathlib import Path

from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.version import __version__
from deepscan.versions import source_commit


def version(json_: opt.Json = False) -> None:
    """Show version, Python and folder of this installation.

    In a git checkout, also shows the commit.

    Examples:
      deepscan version
      deepscan version --json
    """
    facts = _facts()
    if json_:
        print_line(json.dumps(facts, indent=2))
        return
    print_line(version_line())
    if facts["commit"]:
        print_line(f"commit:  {facts['commit']}")
    print_line(f"python:  {facts['python']} ({facts['executable']})")
    print_line(f"folder:  {facts['folder']}")


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
