"""Manage one decoding process from its parent: start, memory, end."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from deepscan.media.ipc import Channel, FrameBuffer, MemoryKind


class WorkerProcess:
    """One decoding process with its memory. It is never restarted; create another instead.

    Args:
        command: Command line of the process, without the two descriptors.
        kind: What kind of memory frames are passed in.
    """

    def __init__(self, command: Sequence[str], kind: MemoryKind) -> None:
        ours, theirs = socket.socketpair()
        self.buffer = FrameBuffer(kind)
        self.channel = Channel(ours)
        self.ready = False
        self.finished = 0
        #: Slots whose frames have not been released.
        self.unreleased: set[int] = set()
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(self.buffer.fd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self.buffer.fd),
                env=_environment(),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill(self) -> None:
        """Kill the process at once and release its memory. Frames that were handed out stay valid."""
        self._process.kill()
        self.channel.close()
        self.buffer.close()

    def gone(self, wait: float = 0.0) -> bool:
        """Return whether the process has ended, waiting at most `wait` seconds for it."""
        try:
            self._process.wait(wait)
        except subprocess.TimeoutExpired:
            return False
        return True

    def was_killed(self) -> bool:
        """Return whether a process that closed its channel died from SIGKILL, which decoders never send."""
        return self.gone(1.0) and self._process.returncode == -signal.SIGKILL

    def describe_end(self) -> str:
        """Describe how the process ended, once it has closed its channel."""
        if not self.gone(1.0):
            return "stopped responding"
        code = self._process.returncode
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"


def worker_command() -> list[str]:
    """Return the command line of a decoding process."""
    # -P: do not import a file named numpy.py from the folder being scanned.
    return [sys.executable, "-P", "-m", "deepscan.media.worker"]


def _environment() -> dict[str, str]:
    # One thread for linear algebra: the process does none, and starting a pool of idle threads takes time.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).resolve().parents[2])
    # In a checkout, the package may be importable only through the current folder, which -P excludes. If the
    # package is installed, this is not needed, and site-packages must not precede the standard library.
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([root, inherited] if inherited else [root])
    return environment
