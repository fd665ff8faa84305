"""Every error that deepscan raises on purpose: what failed, what to do next, and the exit code it means."""

import difflib
import importlib
import importlib.util
import shlex
import sys
from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum

#: The name under which package managers know this program; the command and the import are `deepscan`.
DISTRIBUTION = "deepscan-forensics"


class ExitCode(IntEnum):
    """What a finished command tells the shell."""

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
    """An error with a remedy.

    Args:
        message: What failed, in one line, naming the value at fault.
        hint: What the user can do next, in one line.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type["DeepscanError"], tuple[str, str]]:
        # An error of a worker process reaches us pickled, and its class takes two arguments.
        return type(self), (self.message, self.hint)


class UsageError(DeepscanError):
    """A wrong option, an unknown name, or a named path that is not there."""

    exit_code = ExitCode.USAGE


class ContractError(DeepscanError):
    """Two things that must agree do not: a hash, a golden score, an engine, a resumed run's parameters."""

    exit_code = ExitCode.CONTRACT


class MissingError(DeepscanError):
    """A dependency, provider, data set or weights file is not there."""

    exit_code = ExitCode.MISSING


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; no Exception, so that nothing on its way out swallows it."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM ended work that can be resumed; no Exception, for the same reason.

    Args:
        exit_code: That of what came.
        message: What was done until then, in one line.
        hint: How to resume, in one line.
    """

    def __init__(self, exit_code: ExitCode, message: str, hint: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.hint = hint


class Unread(BaseException):
    """Whoever read our output has gone, as `| head` does; no Exception, for the same reason."""


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of a command that this error ends."""
    if isinstance(error, DeepscanError | Interrupted):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, Unread):
        return ExitCode.UNREAD
    return ExitCode.TERMINATED if isinstance(error, Terminated) else ExitCode.INTERNAL


def first_line(error: BaseException | None) -> str:
    """Return the first line of what an error says, or what it is called where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def choice_hint(name: str, known: Collection[str]) -> str:
    """Return what to say of a name that is not known: which one is nearly called so, else all there are."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(known) or 'none'}"


def require_choice(option: str, given: Iterable[str], allowed: Collection[str]) -> None:
    """Check that what an option was given is on offer.

    Args:
        option: As it is typed, such as `--faces`.
        given: Its values.
        allowed: What is on offer.

    Raises:
        UsageError: A value is not.
    """
    for value in given:
        if value not in allowed:
            raise UsageError(f"{option} {value!r} is unknown", choice_hint(value, allowed))


def install_hint(extra: str = "") -> str:
    """Return the hint that adds deepscan's own requirements, or those of one of its extras.

    The command works for an installation from a checkout too: pip takes the extra from what is installed.
    """
    return package_hint(f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION)


def package_hint(*requirements: str) -> str:
    """Return the hint that installs packages into the environment that runs this program.

    Args:
        requirements: What `pip install` takes, such as `tensorrt`.
    """
    command = [sys.executable, "-m", "pip", "install"]
    if importlib.util.find_spec("pip") is None:  # an environment made by uv
        command = ["uv", "pip", "install", "--python", sys.executable]
    return f"run: {shlex.join([*command, *requirements])}"


def reinstall_hint() -> str:
    """Return the hint for an installation that lacks files of its own."""
    return f"reinstall {DISTRIBUTION} into the environment of {sys.executable}"


def require(modules: Sequence[str], extra: str, purpose: str) -> None:
    """Check that optional packages can be imported.

    Args:
        modules: The modules.
        extra: The extra of this package that brings them.
        purpose: As `missing_extra` takes it.

    Raises:
        MissingError: One cannot.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise missing_extra(module, extra, purpose)


def missing_extra(module: str, extra: str, purpose: str) -> MissingError:
    """Return the error for a command whose optional packages are not installed.

    Args:
        module: The module that could not be imported.
        extra: The extra of this package that brings it.
        purpose: What the module is needed for, as the subject of a sentence.
    """
    return MissingError(
        f"{purpose} needs the package {module!r}, which is not installed", install_hint(extra)
    )
