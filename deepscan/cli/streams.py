"""Writing data to stdout: a terminal, a pipe, or a file on a full disk."""

import os
import stat
import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console

from deepscan.errors import DeepscanError, Unread


def hand_on(text: str, out: Path | None) -> None:
    """Write data to stdout.

    Args:
        text: The data.
        out: A file that has the same data, or None.

    Raises:
        Unread: The reader of stdout has ended, and no file has the data.
        DeepscanError: stdout cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if out is None:
            raise Unread
    except OSError as error:
        raise DeepscanError(f"stdout cannot be written: {error.strerror}", "write to a file with --out")


def print_line(text: str) -> None:
    """Write a line of data to stdout.

    Raises:
        Unread: The reader of stdout has ended.
        DeepscanError: stdout cannot be written.
    """
    hand_on(f"{text}\n", None)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream goes to a terminal."""
    # With FORCE_COLOR, rich would treat a pipe as a terminal.
    return stream is not None and stream.isatty()


def is_pipe(stream: TextIO | None) -> bool:
    """Return whether a stream goes to another program."""
    try:
        return stream is not None and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


class _DataConsole(Console):
    """A console for data, which reports a reader that has ended as `hand_on` does."""

    def on_broken_pipe(self) -> None:
        """End with the exit code of an unread output; rich would exit with 1."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Unread


def stdout_console() -> Console:
    """Return a console for data: coloured at a terminal, plain in a pipe."""
    return _DataConsole(force_terminal=is_terminal(sys.stdout))
