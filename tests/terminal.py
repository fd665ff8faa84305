"""Runs the command, or Python, at a terminal of its own."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """How what ran at a terminal ended.

    Attributes:
        code: Its exit code.
        out: What it wrote to stdout, where that was no terminal.
        screen: What the terminal was sent.
    """

    code: int
    out: str
    screen: str


def at_a_terminal(
    *arguments: object,
    columns: int = 80,
    piped: bool = False,
    press: bytes = b"",
    once: bytes = b"",
    **env: str,
) -> Shown:
    """Run Python with arguments at a terminal, to its end.

    Args:
        *arguments: Of Python.
        columns: The terminal's width.
        piped: Whether stdout is a pipe instead.
        press: Keys that are pressed when `once` has been shown.
        once: What is waited for.
        **env: Put into the environment, which has no NO_COLOR and no COLUMNS.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=follower if press else subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else follower,
        stderr=follower,
        start_new_session=True,
        env={**kept, "TERM": "xterm-256color", **env},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
        if press and once in shown:
            os.write(leader, press)
            press = b""
    os.close(leader)
    out, _ = process.communicate(timeout=60)
    return Shown(process.returncode, (out or b"").decode(), shown.decode())
