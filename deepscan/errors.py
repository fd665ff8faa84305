"""The errors that deepscan raises on purpose, each with a message, a hint and an exit code."""

import difflib
import importlib
import importlib.util
import shlex
import sys
from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum

#: The name under which package managers know this program; the command and the import are `deepscan`.
DISTRIBUTION = "deepscan-forensics"
#: A hint lists at most this many names; of more it shows the first few.
MOST_NAMES, EXAMPLES = 30, 5
#: Common word for a name -> the name, if no spelling tells it.
_MEANT = {"gpu": "cuda", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "learning_rate": "lr"}


class ExitCode(IntEnum):
    """Exit code of a command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    SOME_FAILED = 3
    CONTRACT = 4
    MISSING = 5
    FOUND_FAKE = 10
    INTERRUPTED = 130
    UNREAD = 141
    TERMINATED = 143


class DeepscanError(Exception):
    """An error with a hint on how to fix it.

    Args:
        message: What failed, in one line that names the wrong value.
        hint: What the user can do, in one line.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type["DeepscanError"], tuple[str, str]]:
        # Errors of worker processes arrive pickled, and pickle would pass the class only one argument.
        return type(self), (self.message, self.hint)


class UsageError(DeepscanError):
    """A wrong option, an unknown name, or a path that does not exist."""

    exit_code = ExitCode.USAGE


class ContractError(DeepscanError):
    """A mismatch, such as of a hash, a golden score, or the parameters of a resumed run."""

    exit_code = ExitCode.CONTRACT


class MissingError(DeepscanError):
    """A package, device, data set or weights file is missing."""

    exit_code = ExitCode.MISSING


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived. Not an Exception, so that `except Exception` does not catch it."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM ended work that can be resumed. Not an Exception, as `Terminated`.

    Args:
        exit_code: Exit code of the interrupt or signal.
        message: What was done before, in one line.
        hint: How to resume, in one line.
    """

    def __init__(self, exit_code: ExitCode, message: str, hint: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.hint = hint


class Unread(BaseException):
    """The reader of stdout has ended, as with `| head`. Not an Exception, as `Terminated`."""


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of a command that ends with this error."""
    if isinstance(error, DeepscanError | Interrupted):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, Unread):
        return ExitCode.UNREAD
    return ExitCode.TERMINATED if isinstance(error, Terminated) else ExitCode.INTERNAL


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def choice_hint(name: str, known: Collection[str]) -> str:
    """Return the hint for an unknown name: the most similar known name, or else the known names.

    Of many names it shows the count and the first ones.
    """
    meant = _MEANT.get(name.lower(), name)
    close = [meant] if meant in known else difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(known) > MOST_NAMES:
        return f"choose from {len(known)} names, such as {', '.join(list(known)[:EXAMPLES])}"
    return f"choose from: {', '.join(known)}" if known else "there are no names to choose from"


def require_choice(option: str, given: Iterable[str], allowed: Collection[str]) -> None:
    """Check that the values of an option are allowed.

    Args:
        option: The option, such as `--faces`.
        given: Its values.
        allowed: The allowed values.

    Raises:
        UsageError: A value is not allowed.
    """
    for value in given:
        if value not in allowed:
            raise UsageError(f"{option} cannot be {value!r}", choice_hint(value, allowed))


def install_hint(extra: str = "") -> str:
    """Return the hint that installs the requirements of deepscan, or of one of its extras.

    The command works in a checkout too, because pip reads the extra from the installed package.
    """
    return package_hint(f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION)


def package_hint(*requirements: str) -> str:
    """Return the hint that installs packages into the environment of this Python.

    Args:
        requirements: Arguments of `pip install`, such as `tensorrt`.
    """
    command = [sys.executable, "-m", "pip", "install"]
    if importlib.util.find_spec("pip") is None:  # an environment made by uv
        command = ["uv", "pip", "install", "--python", sys.executable]
    return f"run: {shlex.join([*command, *requirements])}"


def reinstall_hint() -> str:
    """Return the hint for an installation with missing files."""
    return f"reinstall {DISTRIBUTION} into the environment of {sys.executable}"


def require(modules: Sequence[str], extra: str, purpose: str) -> None:
    """Check that optional packages can be imported.

    Args:
        modules: The modules.
        extra: The extra of this package that installs them.
        purpose: See `missing_extra`.

    Raises:
        MissingError: A module cannot be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise missing_extra(module, extra, purpose)


def missing_extra(module: str, extra: str, purpose: str) -> MissingError:
    """Return the error for a missing optional package.

    Args:
        module: The module that cannot be imported.
        extra: The extra of this package that installs it.
        purpose: What needs the module, as the subject of a sentence.
    """
    return MissingError(
        f"{purpose} needs the package {module!r}, which is not installed", install_hint(extra)
    )
