"""`deepscan doctor`: what works here, what is missing, and what to do about it."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepscan.cli.streams import stdout_console

MARKS = {"ok": ("ok", "green"), "optional": ("-", "yellow"), "failed": ("FAILED", "bold red")}


def doctor() -> int:
    """Check versions, decoders, engines, GPUs and models, and advise on what is missing.

    Exits with 0 if scan works here, else with the exit code that scan would
    have.

    deepscan doctor
    """
    from deepscan.doctor import examine
    from deepscan.errors import ExitCode

    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    codes = [ExitCode.OK]
    with Console(stderr=True).status("checking"):
        for check in examine():
            mark, style = MARKS[check.state]
            found = Text(check.found)
            if check.advice:
                found.append(f"\n-> {check.advice}", style=style)
            grid.add_row(Text(mark, style=style), check.name, found)
            codes.append(check.code)
    console = stdout_console()
    console.print(grid)
    worst = max(codes)
    console.print(
        "scan works here" if worst == ExitCode.OK else "scan does not work here: mend what FAILED",
        style="green" if worst == ExitCode.OK else "bold red",
        highlight=False,
    )
    return int(worst)
