"""The parent's grip on one decoding process: start, memory, clock, death."""

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
    """One decoding process with its memory. It is not restarted: whoever needs another one makes it.

    Args:
        command: Command line of the process, less the two descriptors.
        kind: What kind of memory frames cross in.
    """

    def __init__(self, command: Sequence[str], kind: MemoryKind) -> None:
        ours, theirs = socket.socketpair()
        self.buffer = FrameBuffer(kind)
        self.channel = Channel(ours)
        self.ready = False
        self.finished = 0
        #: Slots that hold a frame which is not released.
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
        """Kill the process at once and let go of its memory; frames that were handed out stay valid."""
        self._process.kill()
        self.channel.close()
        self.buffer.close()

    def gone(self, wait: float = 0.0) -> bool:
        """Return whether the process has ended, waiting for that at most `wait` seconds."""
        try:
            self._process.wait(wait)
        except subprocess.TimeoutExpired:
            return False
        return True

    def was_killed(self) -> bool:
        """Return whether a process that has hung up was ended by SIGKILL, which no decoder does to itself."""
        return self.gone(1.0) and self._process.returncode == -signal.SIGKILL

    def last_words(self) -> str:
        """Return how the process ended, once it has hung up."""
        if not self.gone(1.0):
            return "stopped answering"
        code = self._process.returncode
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"


def worker_command() -> list[str]:
    """Return the command line of the decoding process."""
    # -P: a file named numpy.py in the folder that is being scanned must not be imported.
    return [sys.executable, "-P", "-m", "deepscan.media.worker"]


def _environment() -> dict[str, str]:
    # One thread for linear algebra: the process does none, and a pool of idle threads costs its start.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).resolve().parents[2])
    # In a checkout the package may be found through the current folder alone, which -P leaves out. Among
    # installed packages it is found anyway, and those must not come before the standard library.
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([root, inherited] if inherited else [root])
    return environment
