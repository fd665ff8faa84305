"""A decoding process that misbehaves as the file's name says: decord hangs at frame 4 of `decord-hang@4`."""

import ctypes
import os
import re
import signal
import sys
import time

from deepscan.media import worker
from deepscan.media.decoders import FrameError, NotInstalledError
from deepscan.media.pyav import PyavDecoder
from deepscan.registry import Registry


def misbehave(what: str) -> None:
    """Do what a broken decoder does."""
    if what == "hang":
        # PyDLL keeps the GIL, as decord's endless loop does: no signal handler and no thread of Python runs.
        ctypes.PyDLL(None).sleep(1000)
    elif what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "fail":
        raise FrameError("as told")
    elif what == "break":
        raise RuntimeError("never heard of")
    elif what == "slow":
        time.sleep(0.2)


def stub(name: str) -> type:
    """Return a decoder that works like PyAV's, but for what the file's name tells it."""

    class Stub:
        def __init__(self, url: str, probe: object, threads: int) -> None:
            self.doubtful: set[int] = set()
            file = os.path.basename(os.readlink(f"/proc/self/fd/{url.rpartition('/')[2]}"))
            self._orders = [(what, int(at)) for what, at in re.findall(rf"{name}-(\w+)@(\d+)", file)]
            if ("absent", 0) in self._orders:
                raise NotInstalledError("it is not installed")
            self._real = PyavDecoder(url, probe, threads)

        def read(self, index: int) -> object:
            for what, at in self._orders:
                # A decoder that fails goes on failing, but for a single bad frame.
                if index == at or (index > at and what in ("fail", "slow") and name == "decord"):
                    misbehave(what)
            return self._real.read(index)

        def close(self) -> None:
            self._real.close()

    return Stub


def main() -> None:
    """Serve as a worker with stubs for decoders, or fail to."""
    if "unable" in sys.argv:
        sys.exit(7)
    registry = Registry("decoder", {"decord": "", "pyav": ""})
    for name in registry.names:
        registry.register(name)(stub(name))
    worker.DECODERS = registry
    worker.main(sys.argv[-2:])


if __name__ == "__main__":
    main()
