"""Signals that wait for the end of a step, so that what they interrupt is whole."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deepscan.errors import Terminated


class Waiting:
    """Whether a signal waits; a second one does not."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def end(self) -> None:
        """End the run if a signal waits, by the error that it stands for.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            Terminated: It was SIGTERM or SIGHUP.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise Terminated


@contextmanager
def waiting() -> Iterator[Waiting]:
    """Let the first signal wait until `Waiting.end` is called; only the main thread can."""
    held = Waiting()
    former: dict[int, object] = {}

    def note(number: int, frame: FrameType | None) -> None:
        held.signal = number
        _restore(former)

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # What nohup has set to be ignored stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                former[number] = signal.signal(number, note)
    except ValueError:
        # Not the main thread: whoever has started it handles signals.
        _restore(former)
    try:
        yield held
    finally:
        _restore(former)


def _restore(former: dict[int, object]) -> None:
    for number, handler in former.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
    former.clear()
