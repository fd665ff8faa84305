"""The parent's side of decoding: hands files to fenced processes, and answers for every one of them."""

import selectors
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from deepscan.errors import MissingError
from deepscan.media.buffer import Kind, slot_count
from deepscan.media.channel import Message
from deepscan.media.decoders import AUTO, DECODERS, installed
from deepscan.media.fence import Clock, Fence, worker_command
from deepscan.media.frames import DecodeReport, Frame, MediaInfo, Status
from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, Event, FrameReady, Opened
from deepscan.media.task import Task

__all__ = ["DecodeJob", "DecodeOptions", "DecodePool", "Ended", "Event", "FrameReady", "Opened"]

_KILLED = "the decoding process was killed from outside, perhaps for lack of memory"


class DecodePool:
    """Some processes that decode, each one file at a time. Not for use from several threads.

    On Linux the processes die with the thread that made the pool.

    Args:
        options: How to decode.
        workers: Number of processes, at least 1.
        command: Another command line for a process, for tests.

    Raises:
        MissingError: The decoder that was asked for by name is not installed.
    """

    def __init__(self, options: DecodeOptions, workers: int, command: Sequence[str] | None = None) -> None:
        if workers < 1:
            raise ValueError(f"a pool has at least one worker, not {workers}")
        if options.decoder != AUTO and not installed(kind := DECODERS.get(options.decoder)):
            raise MissingError(
                f"the decoder {options.decoder!r} is not installed", f"run: pip install {kind.package}"
            )
        self._options = options
        self._command = list(command or worker_command())
        self._selector = selectors.DefaultSelector()
        self._events: deque[Event] = deque()
        self._tasks: dict[Fence, Task | None] = {}
        self._dying: list[Fence] = []
        self._kind: Kind = "memory"
        self._workers = workers
        for _ in range(workers):
            self._start()

    @property
    def idle(self) -> int:
        """How many jobs can be submitted now."""
        return self._workers - self.busy

    @property
    def busy(self) -> int:
        """How many jobs are being worked on."""
        return sum(task is not None for task in self._tasks.values())

    @property
    def buffer_kind(self) -> Kind:
        """What frames cross in: anonymous `memory`, or an unlinked temporary `file`."""
        return next((fence.buffer.kind for fence in self._tasks), self._kind)

    def submit(self, job: DecodeJob) -> None:
        """Begin a job.

        Raises:
            RuntimeError: No process is idle.
        """
        if not self.idle:
            raise RuntimeError("submit needs an idle worker")
        fence = next((fence for fence, task in self._tasks.items() if task is None), None) or self._start()
        self._begin(fence, Task(job))

    def poll(self, timeout: float) -> list[Event]:
        """Return what has happened, waiting for it at most `timeout` seconds.

        Deadlines are kept only while this is called.
        """
        until = time.monotonic() + timeout
        while True:
            wait = 0.0 if self._events else max(0.0, until - time.monotonic())
            for key, _ in self._selector.select(min([wait, *self._remaining()])):
                self._hear(key.data)
            self._enforce()
            self._dying = [fence for fence in self._dying if not fence.gone()]
            if self._events or time.monotonic() >= until:
                events, self._events = list(self._events), deque()
                return events

    def close(self) -> None:
        """End all processes and drop what they were doing; frames that were handed out stay valid."""
        for fence in list(self._tasks):
            self._drop(fence)
        for fence in self._dying:
            fence.gone(5.0)
        self._dying = []
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> Fence:
        fence = Fence(self._command, self._kind)
        self._tasks[fence] = None
        self._selector.register(fence.channel, selectors.EVENT_READ, fence)
        return fence

    def _drop(self, fence: Fence) -> None:
        self._selector.unregister(fence.channel)
        fence.kill()
        self._dying.append(fence)
        del self._tasks[fence]

    def _begin(self, fence: Fence, task: Task) -> None:
        self._tasks[fence] = task
        task.begin_anew(time.monotonic())
        # Where nobody is there to take it, the channel's end is heard in poll.
        fence.channel.send(task.order(self._options))

    def _remaining(self) -> list[float]:
        now = time.monotonic()
        running = [task.left(self._options.timeout, now) for task in self._tasks.values() if task]
        return [max(0.0, left) for left in running if left is not None]

    def _enforce(self) -> None:
        now = time.monotonic()
        for fence, task in list(self._tasks.items()):
            left = task.left(self._options.timeout, now) if task else None
            if task is None or left is None or left > 0:
                continue
            self._drop(fence)
            if task.sent is not None:
                self._fail(task, "error", "the decoding process did not start")
            else:
                self._start()
                self._fail(task, "timeout", f"gave no answer within {self._options.timeout:g} s")

    def _hear(self, fence: Fence) -> None:
        messages = fence.channel.receive()
        if messages is None:
            self._bury(fence)
            return
        for message in messages:
            if message["kind"] == "ready":
                fence.ready = True
            elif (task := self._tasks[fence]) is not None:
                self._take(fence, task, message)
                # The memory could not be had, and another process has taken the job.
                if fence not in self._tasks:
                    return

    def _bury(self, fence: Fence) -> None:
        """Answer for a process that ended by itself."""
        task, words, killed = self._tasks[fence], fence.last_words(), fence.was_killed()
        self._drop(fence)
        if task is None:
            return
        if task.sent is not None:
            what = "ended before it began the file" if fence.ready else "could not start"
            self._start_again(task, _KILLED if killed else f"the decoding process {what}: it {words}")
        elif killed and not task.killed:
            task.killed = True
            task.warnings.append(f"{_KILLED}; a second one went on")
            # The lost time was not the file's.
            task.clock = Clock()
            self._begin(self._start(), task)
        elif killed:
            self._start()
            self._fail(task, "error", f"{_KILLED}, twice")
        else:
            self._start()
            self._fail(task, "decode_error", f"the decoding process {words}")

    def _start_again(self, task: Task, detail: str) -> None:
        """Give a job that was not begun to another process, once."""
        if task.restarted:
            self._fail(task, "error", detail)
        else:
            task.restarted = True
            self._begin(self._start(), task)

    def _take(self, fence: Fence, task: Task, message: Message) -> None:
        kind, at = message["kind"], message["at"]
        if kind == "begin":
            task.sent = None
            task.clock.resume(at)
        elif kind == "hashed":
            task.sha256, task.size = message["sha256"], message["size"]
            task.seconds["hash"] = message["seconds"]
        elif kind == "opened":
            if task.info is None:
                task.info = MediaInfo.from_json(message["info"])
                self._events.append(Opened(task.job, task.info))
        elif kind == "need":
            task.need = message
            task.clock.pause(at)
            self._lay_out(fence, task)
        elif kind == "frame":
            self._take_frame(fence, task, message)
        elif kind == "ended":
            self._end(fence, task, message)

    def _lay_out(self, fence: Fence, task: Task) -> None:
        """Divide the memory for a file, once no frame of the file before it is in use."""
        if task.need is None or fence.held:
            return
        size, task.asked = task.need["bytes"], task.need["frames"]
        task.need = None
        slots = slot_count(size, task.asked, self._options.buffer_bytes)
        try:
            fence.buffer.lay_out(slots, size)
        except OSError as error:
            self._drop(fence)
            if fence.buffer.kind == "memory":
                self._kind = "file"
                task.warnings.append("memory is short: its frames crossed in a temporary file")
                self._begin(self._start(), task)
            else:
                self._start()
                self._fail(task, "error", f"no room for frames of {size} bytes: {error.strerror}")
            return
        task.slots = slots
        fence.channel.send({"slots": slots, "bytes": size})
        task.clock.resume(time.monotonic())

    def _take_frame(self, fence: Fence, task: Task, message: Message) -> None:
        assert task.info is not None
        slot = message["slot"]
        image = fence.buffer.view(slot, (task.info.height, task.info.width, 3))
        task.done.append(message["index"])
        task.giver = message["by"]
        fence.held.add(slot)
        if len(fence.held) >= task.slots:
            task.clock.pause(message["at"])
        frame = Frame(message["index"], message["pts"], image)
        self._events.append(FrameReady(task.job, frame, partial(self._release, fence, task, slot, [slot])))

    def _release(self, fence: Fence, owner: Task, slot: int, once: list[int]) -> None:
        if not once:
            return
        once.clear()
        fence.held.discard(slot)
        task = self._tasks.get(fence)
        if task is None:
            return
        if task is owner:
            fence.channel.send({"free": slot})
            task.clock.resume(time.monotonic())
        else:
            self._lay_out(fence, task)

    def _end(self, fence: Fence, task: Task, message: Message) -> None:
        report = {key: message[key] for key in ("status", "detail", "decoder", "asked", "decoded")}
        self._tasks[fence] = None
        fence.finished += 1
        if fence.finished >= self._options.recycle_after:
            self._drop(fence)
            self._start()
        self._report(task, warnings=tuple(message["warnings"]), seconds=message["seconds"], **report)

    def _fail(self, task: Task, status: Status, detail: str) -> None:
        self._report(
            task,
            status=status,
            detail=detail,
            warnings=tuple(task.warnings),
            decoder=task.giver,
            asked=task.asked,
            decoded=len(task.done),
            seconds=task.seconds,
        )

    def _report(self, task: Task, **content: Any) -> None:
        report = DecodeReport(sha256=task.sha256, size=task.size, info=task.info, **content)
        self._events.append(Ended(task.job, report))
