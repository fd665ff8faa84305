"""The `deepscan` command: its subcommands, and how every error leaves it."""

import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer
from typer.exceptions import TyperException

import deepscan
from deepscan.cli.doctor import doctor
from deepscan.cli.scan import scan
from deepscan.cli.train import train
from deepscan.errors import DeepscanError, ExitCode

DEBUG = "--debug"

EXIT_CODES = """
Exit codes: 0 every input has an outcome; 1 internal error; 2 wrong usage, or a named path that is not there;
3 some inputs failed; 4 a contract does not hold (hash, golden score, resumed run); 5 a dependency, device, data
set or weights missing; 10 with --fail-on fake, when a fake was found; 130 interrupted; 143 terminated.
"""


class Terminated(BaseException):
    """SIGTERM arrived; not an Exception, so that nothing on the way swallows it."""


def build() -> typer.Typer:
    """Return the application with its commands."""
    app = typer.Typer(
        name="deepscan",
        help="Batch video forensics: which videos show a manipulated face, how sure that is, and why.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    app.command()(scan)
    app.command()(train)
    app.command()(doctor)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Without the program's name; None for those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in given
    signal.signal(signal.SIGTERM, _on_terminate)
    try:
        code = build()([argument for argument in given if argument != DEBUG], standalone_mode=False)
    except DeepscanError as error:
        code = _report(error.message, error.hint, error.exit_code, debug=debug)
    except TyperException as error:
        code = _report(error.format_message(), _usage_hint(given), ExitCode.USAGE, debug=debug)
    except (KeyboardInterrupt, typer.Abort):
        code = _report("interrupted", "what was written stays; go on with --resume", ExitCode.INTERRUPTED)
    except Terminated:
        code = _report("terminated", "what was written stays; go on with --resume", ExitCode.TERMINATED)
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does: nothing is left to say, and nowhere to say it.
        sys.stderr.close()
        code = ExitCode.OK
    except Exception as error:
        hint = "this is a defect: repeat with --debug and report what it prints"
        code = _report(f"{type(error).__name__}: {error}", hint, ExitCode.INTERNAL, debug=debug)
    sys.exit(int(code or 0))


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback of an error. May stand anywhere.")
    ] = False,
) -> None:
    if version:
        typer.echo(f"deepscan {deepscan.__version__}")
        raise typer.Exit


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _report(message: str, hint: str, code: ExitCode, *, debug: bool = False) -> ExitCode:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"error: {' '.join(message.split())}\nhint: {hint}\n")
    return code


def _usage_hint(given: Sequence[str]) -> str:
    command = next((argument for argument in given if not argument.startswith("-")), "")
    known = {command.name or command.callback.__name__ for command in build().registered_commands}  # type: ignore[union-attr]
    return (
        f"deepscan {command} --help shows what there is"
        if command in known
        else "deepscan --help shows what there is"
    )
