"""A decoding process that misbehaves: decord hangs at frame 4 of a file named `decord-hang@4`."""

import ctypes
import os
import re
import signal
import sys
import time

from deepscan.media import worker
from deepscan.media.decoders import FrameError, Probe
from deepscan.media.pyav import PyavDecoder
from deepscan.registry import Registry


def misbehave(what: str, file: str) -> None:
    """Do what a broken decoder does."""
    if what == "hang":
        # PyDLL keeps the GIL, as decord's endless loop does: no signal handler and no thread of Python runs.
        ctypes.PyDLL(None).sleep(1000)
    elif what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "once" and not os.path.exists(f"{file}.once"):
        open(f"{file}.once", "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "fail":
        raise FrameError("as told")
    elif what == "break":
        raise RuntimeError("never heard of")
    elif what == "slow":
        time.sleep(0.2)


def stub(name: str) -> type:
    """Return a decoder that works like PyAV's, but for what the file's name tells it."""

    class Stub:
        package = "none"
        module = "sys"
        takes = ".mp4"
        automatic = name == "pyav"

        def __init__(self, url: str, probe: Probe) -> None:
            self.doubtful: set[int] = set()
            self._file = os.readlink(f"/proc/self/fd/{url.rpartition('/')[2]}")
            orders = re.findall(rf"{name}-(\w+)@(\d+)", os.path.basename(self._file))
            self._orders = [(what, int(at)) for what, at in orders]
            self._real = PyavDecoder(url, probe)

        @staticmethod
        def unfit(probe: Probe) -> str | None:
            return None

        def expect(self, indices: list[int]) -> None:
            self._real.expect(indices)

        def read(self, index: int) -> object:
            for what, at in self._orders:
                # A decoder that fails goes on failing, but for a single bad frame.
                if index == at or (index > at and what in ("fail", "slow") and name == "decord"):
                    misbehave(what, self._file)
            return self._real.read(index)

        def close(self) -> None:
            self._real.close()

    return Stub


def main() -> None:
    """Serve as a worker with stubs for decoders, or fail to, or be late."""
    if "unable" in sys.argv:
        sys.exit(7)
    for argument in sys.argv:
        if argument.startswith("late="):
            time.sleep(float(argument.removeprefix("late=")))
    registry = Registry("decoder", {"decord": "", "pyav": ""})
    for name in registry.names:
        registry.register(name)(stub(name))
    worker.DECODERS = registry
    worker.main(sys.argv[-2:])


if __name__ == "__main__":
    main()
