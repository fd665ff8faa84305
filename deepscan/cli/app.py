"""The `deepscan` command: its subcommands, and how it reports every error."""

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
from deepscan.cli.command import Command, CommandGroup
from deepscan.cli.compact import compact
from deepscan.cli.compare import compare
from deepscan.cli.doctor import doctor
from deepscan.cli.eval import evaluate, refuse_moved
from deepscan.cli.exit_codes import epilog
from deepscan.cli.export import export
from deepscan.cli.models import models
from deepscan.cli.prepare import prepare
from deepscan.cli.report import report
from deepscan.cli.scan import scan
from deepscan.cli.streams import print_line
from deepscan.cli.tables import tables
from deepscan.cli.train import recipes_help, train
from deepscan.cli.usage import describe_usage_error
from deepscan.cli.verify import verify
from deepscan.cli.version import version, version_line
from deepscan.errors import DeepscanError, ExitCode, Interrupted, Terminated, Unread, exit_code_of
from deepscan.offline import turn_reports_off

DEBUG = "--debug"
#: Heading in `deepscan --help` -> name and function of each command.
COMMANDS: dict[str, dict[str, Callable[..., int | None]]] = {
    "Scan videos": {"scan": scan, "report": report, "verify": verify, "compact": compact},
    "Check this installation": {"doctor": doctor, "bench": bench, "version": version},
    "Train and evaluate models": {
        "prepare": prepare,
        "train": train,
        "eval": evaluate,
        "calibrate": calibrate,
        "analyse": analyse,
        "compare": compare,
        "tables": tables,
        "export": export,
    },
}

ABOUT = """
Find which videos show a manipulated face, how sure that is, and why.

deepscan COMMAND --help shows the options of a command, with examples.

Examples:
  deepscan scan clip.mp4
  deepscan scan videos/ --out videos.jsonl
  deepscan report videos.jsonl
"""


def build() -> typer.Typer:
    """Return the application with its commands."""
    app = typer.Typer(
        name="deepscan",
        cls=CommandGroup,
        help=ABOUT,
        epilog=epilog(""),
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for panel, commands in COMMANDS.items():
        for name, command in commands.items():
            end = f"{recipes_help()}\n\n{epilog(name)}" if command is train else epilog(name)
            app.command(name, cls=Command, epilog=end, rich_help_panel=panel)(command)
    app.add_typer(models, epilog=epilog("models"), rich_help_panel="Scan videos")
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Arguments without the program's name; None for those of this process.
    """
    turn_reports_off()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    for number in (signal.SIGTERM, signal.SIGHUP):
        # A signal that nohup has set to be ignored stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_terminate)
    for stream in (sys.stdout, sys.stderr):
        # A file name with letters that the locale lacks must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        words = [option for option in options if option != DEBUG]
        if words[:1] == ["eval"]:
            refuse_moved(words[1:])
        words += given[len(options) :]
        code = build()(words or ["--help"], standalone_mode=False)
        # typer turns Ctrl-C into this exit code, without a message.
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
    except TyperException as error:
        code = _report(*describe_usage_error(error, _usage_hint(given)), ExitCode.USAGE)
    except Unread:
        code = ExitCode.UNREAD
    except SystemExit as error:
        # typer ends with 1 when the reader of a help text or a list has gone.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        code = ExitCode.UNREAD
    except (Exception, KeyboardInterrupt, Interrupted, Terminated) as error:
        if DEBUG in options:
            traceback.print_exc()
        code = _report(*_describe(error), exit_code_of(error))
    sys.exit(int(code or 0))


def _describe(error: BaseException) -> tuple[str, str]:
    if isinstance(error, DeepscanError | Interrupted):
        return error.message, error.hint
    if isinstance(error, KeyboardInterrupt | Terminated):
        word = "terminated" if isinstance(error, Terminated) else "interrupted"
        return (
            word,
            "what was written so far is kept: repeat the command, with --resume if it has that option",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" for {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}", "free some space, then repeat the command"
    hint = f"this is a bug in deepscan: repeat the command with {DEBUG} and report the output"
    return f"{type(error).__name__}: {error}", hint


def _show_version(wanted: bool) -> None:
    if wanted:
        print_line(version_line())
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(DEBUG, help="Show the traceback of an error. May be anywhere on the command line."),
    ] = False,
) -> None:
    """Take the options before a command."""


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _report(message: str, hint: str, code: ExitCode) -> ExitCode:
    from deepscan.scanning.summary import printable

    # A file name may contain control characters, which would change the terminal.
    sys.stderr.write(f"error: {printable(' '.join(message.split()))}\nhint: {printable(hint)}\n")
    return code


def _usage_hint(given: Sequence[str]) -> str:
    words = [argument for argument in given if not argument.startswith("-")]
    known = {models.info.name, *(name for commands in COMMANDS.values() for name in commands)}
    command = words[:1] if words and words[0] in known else []
    if (
        command == [models.info.name]
        and words[1:2]
        and words[1] in {each.name for each in models.registered_commands}
    ):
        command.append(words[1])
    return f"run: {' '.join(['deepscan', *command])} --help"
