"""Run the command, or Python, in its own terminal."""

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
    """The result of a process in a terminal.

    Attributes:
        code: Exit code.
        out: Its stdout if that was piped, otherwise empty.
        screen: Everything that the terminal received.
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
    """Run Python with arguments in a terminal until it ends.

    Args:
        *arguments: Arguments of Python.
        columns: Width of the terminal.
        piped: Whether stdout is a pipe instead of the terminal.
        press: Keys to press after `once` has appeared.
        once: Text to wait for.
        **env: Additions to the environment, from which NO_COLOR and COLUMNS are removed.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=follower if press else subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else follower,
        stderr=follower,
        start_new_session=True,
        env={**environment, "TERM": "xterm-256color", **env},
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
