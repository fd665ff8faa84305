"""Run a decoding process that misbehaves: decord hangs at frame 4 of a file named `decord-hang@4`."""

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


def misbehave(mishap: str, file: str) -> None:
    """Act like a broken decoder."""
    if mishap == "hang":
        # PyDLL keeps the GIL, like decord's endless loop: no signal handler and no Python thread can run.
        ctypes.PyDLL(None).sleep(1000)
    elif mishap == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif mishap == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mishap == "once" and not os.path.exists(f"{file}.once"):
        open(f"{file}.once", "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    elif mishap == "fail":
        raise FrameError("on purpose")
    elif mishap == "break":
        raise RuntimeError("unexpected error")
    elif mishap == "slow":
        time.sleep(0.2)


def stub(name: str) -> type:
    """Return a decoder that works like PyAV's, except for what the file's name asks for."""

    class Stub:
        package = "none"
        module = "sys"
        takes = ".mp4"
        automatic = name == "pyav"

        def __init__(self, url: str, probe: Probe) -> None:
            self.doubtful: set[int] = set()
            self._file = os.readlink(f"/proc/self/fd/{url.rpartition('/')[2]}")
            orders = re.findall(rf"{name}-(\w+)@(\d+)", os.path.basename(self._file))
            self._orders = [(mishap, int(bad_index)) for mishap, bad_index in orders]
            self._real = PyavDecoder(url, probe)

        @staticmethod
        def unfit(probe: Probe) -> str | None:
            return None

        def expect(self, indices: list[int]) -> None:
            self._real.expect(indices)

        def read(self, index: int) -> object:
            for mishap, bad_index in self._orders:
                # A decoder that fails keeps failing, unless it is about a single bad frame.
                if index == bad_index or (
                    index > bad_index and mishap in ("fail", "slow") and name == "decord"
                ):
                    misbehave(mishap, self._file)
            return self._real.read(index)

        def close(self) -> None:
            self._real.close()

    return Stub


def main() -> None:
    """Serve as a worker whose decoders are stubs, fail to start, or start late."""
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
