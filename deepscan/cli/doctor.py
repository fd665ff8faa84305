"""`deepscan doctor`: what works here, what is missing, and how to fix it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepscan.cli import options as opt
from deepscan.cli.streams import print_line, stdout_console

if TYPE_CHECKING:
    from deepscan.doctor import Check

MARKS = {"ok": ("ok", "green"), "optional": ("-", "yellow"), "failed": ("FAILED", "bold red")}


def doctor(json_: opt.Json = False, quiet: opt.Quiet = False, verbose: opt.Verbose = 0) -> int:
    """Check this installation: packages, decoders, engines, GPUs and models.

    For each problem, says how to fix it.

    Examples:
      deepscan doctor
      deepscan doctor --json
    """
    from deepscan.doctor import examine
    from deepscan.errors import ExitCode

    with nullcontext() if quiet else Console(stderr=True).status("checking"):
        checks = list(examine())
    worst = max((check.code for check in checks), default=ExitCode.OK)
    if json_:
        print_line(json.dumps({"works": worst == ExitCode.OK, "checks": list(_as_json(checks))}, indent=2))
        return int(worst)
    console = stdout_console()
    console.print(_as_table(checks))
    console.print(
        "scan works here" if worst == ExitCode.OK else "scan does not work here: fix what FAILED",
        style="green" if worst == ExitCode.OK else "bold red",
        highlight=False,
    )
    return int(worst)


def _as_json(checks: "Sequence[Check]") -> Iterator[dict[str, object]]:
    for check in checks:
        yield {
            "name": check.name,
            "state": check.state,
            "found": check.found,
            "advice": check.advice,
            "exit_code": int(check.code),
        }


def _as_table(checks: "Sequence[Check]") -> Table:
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in checks:
        mark, style = MARKS[check.state]
        found = Text(check.found)
        if check.advice:
            found.append(f"\n-> {check.advice}", style=style)
        grid.add_row(Text(mark, style=style), check.name, found)
    return grid
