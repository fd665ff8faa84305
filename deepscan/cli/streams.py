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


def stdout_console() -> Console:
    """Return a console for data: coloured at a terminal, plain in a pipe."""
    return Console(force_terminal=is_terminal(sys.stdout))
