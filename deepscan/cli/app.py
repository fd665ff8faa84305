"""The `deepscan` command: its subcommands, and how every error leaves it."""

import errno
import io
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated

import typer
from typer.exceptions import TyperException

from deepscan.cli.analyse import analyse
from deepscan.cli.bench import bench
from deepscan.cli.calibrate import calibrate
from deepscan.cli.compare import compare
from deepscan.cli.doctor import doctor
from deepscan.cli.eval import evaluate, refuse_moved
from deepscan.cli.export import export
from deepscan.cli.models import models
from deepscan.cli.prepare import prepare
from deepscan.cli.report import report
from deepscan.cli.scan import scan
from deepscan.cli.tables import tables
from deepscan.cli.train import train
from deepscan.cli.verify import verify
from deepscan.errors import DeepscanError, ExitCode, Interrupted, Terminated, Unread, exit_code_of
from deepscan.offline import turn_reports_off
from deepscan.version import __version__

DEBUG = "--debug"
COMMANDS: dict[str, Callable[..., int | None]] = {
    "scan": scan,
    "report": report,
    "verify": verify,
    "prepare": prepare,
    "train": train,
    "eval": evaluate,
    "calibrate": calibrate,
    "analyse": analyse,
    "compare": compare,
    "tables": tables,
    "export": export,
    "bench": bench,
    "doctor": doctor,
}

ABOUT = """
Batch video forensics: find which videos show a manipulated face, how sure that is, and why.

deepscan scan clip.mp4

deepscan COMMAND --help shows what a command takes, with examples.
"""
EXIT_CODES = """
Exit codes: 0 every input has an outcome | 1 internal error | 2 wrong usage, or a named path is missing |
3 some inputs failed | 4 mismatch (hash, golden score, resumed run) | 5 a dependency, device, data set or
weights are missing | 10 a fake was found, with --fail-on fake | 130 interrupted | 143 terminated
""".replace("\n", " ").strip()


def build() -> typer.Typer:
    """Return the application with its commands."""
    app = typer.Typer(
        name="deepscan",
        help=ABOUT,
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, command in COMMANDS.items():
        app.command(name, epilog=EXIT_CODES)(command)
    app.add_typer(models, epilog=EXIT_CODES)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Without the program's name; None for those of this process.
    """
    turn_reports_off()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    for number in (signal.SIGTERM, signal.SIGHUP):
        # What nohup has set to be ignored stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_terminate)
    for stream in (sys.stdout, sys.stderr):
        # A name that the locale has no letters for is shown, not a reason to end.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        words = [option for option in options if option != DEBUG]
        if words[:1] == ["eval"]:
            refuse_moved(words[1:])
        words += given[len(options) :]
        code = build()(words or ["--help"], standalone_mode=False)
        # typer turns Ctrl-C into its own way out, without a word.
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
    except TyperException as error:
        # pydantic's words, which say nothing to a user.
        message = error.format_message().replace(": Value error, ", ": ")
        code = _report(message, _usage_hint(given), ExitCode.USAGE)
    except Unread:
        code = ExitCode.UNREAD
    except (Exception, KeyboardInterrupt, Interrupted, Terminated) as error:
        if DEBUG in options:
            traceback.print_exc()
        code = _report(*_told(error), exit_code_of(error))
    sys.exit(int(code or 0))


def _told(error: BaseException) -> tuple[str, str]:
    if isinstance(error, DeepscanError | Interrupted):
        return error.message, error.hint
    if isinstance(error, KeyboardInterrupt | Terminated):
        word = "terminated" if isinstance(error, Terminated) else "interrupted"
        return word, "what was written is kept: repeat the command, with --resume if it has that option"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" for {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}", "free some space, and repeat the command"
    hint = f"this is a defect: repeat with {DEBUG} and report what it prints"
    return f"{type(error).__name__}: {error}", hint


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deepscan {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version),
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback of an error. Works anywhere on the line.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _report(message: str, hint: str, code: ExitCode) -> ExitCode:
    from deepscan.scanning.summary import printable

    # A name in it may hold what changes a terminal.
    sys.stderr.write(f"error: {printable(' '.join(message.split()))}\nhint: {printable(hint)}\n")
    return code


def _usage_hint(given: Sequence[str]) -> str:
    command = next((argument for argument in given if not argument.startswith("-")), "")
    known = {*COMMANDS, models.info.name}
    return f"deepscan {f'{command} ' if command in known else ''}--help shows what there is"
