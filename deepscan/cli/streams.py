"""Data on stdout: to a terminal, a pipe, a full disk, or a reader that has gone."""

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
        out: The file that has them as well, None for none.

    Raises:
        Unread: Whoever read stdout has gone, and no file has the data.
        DeepscanError: stdout cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more as it exits, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if out is None:
            raise Unread
    except OSError as error:
        raise DeepscanError(f"stdout cannot be written: {error.strerror}", "write to a file with --out")


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person sees what is written there."""
    # rich would take a pipe for a terminal where FORCE_COLOR is set.
    return stream is not None and stream.isatty()


def is_pipe(stream: TextIO | None) -> bool:
    """Return whether another program reads what is written there."""
    try:
        return stream is not None and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def stdout_console() -> Console:
    """Return a console for data, which a terminal gets in colour and a pipe without markup."""
    return Console(force_terminal=is_terminal(sys.stdout))
