"""Parent side of decoding: hand files to isolated processes, and report on every one of them."""

import os
import selectors
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

from deepscan.errors import MissingError, package_hint
from deepscan.logs import get_logger
from deepscan.media.decoders import AUTO, DECODERS, installed
from deepscan.media.frames import DecodeReport, Frame, MediaInfo
from deepscan.media.ipc import MemoryKind, Message, slot_count
from deepscan.media.jobs import (
    Clock,
    DecodeJob,
    DecodeOptions,
    Ended,
    Event,
    FileOpened,
    FrameReady,
    Hashed,
    Task,
)
from deepscan.media.worker_process import WorkerProcess, worker_command
from deepscan.outcomes import Status

LOG = get_logger(__name__)
_KILLED = "the decoding process was killed from outside, possibly for lack of memory"


class DecodePool:
    """A pool of decoding processes, each working on one file at a time. Not thread-safe.

    On Linux the processes die with the thread that created the pool.

    Args:
        options: How to decode.
        workers: Number of processes, at least 1.
        command: Command line to use for a process instead, for tests.

    Raises:
        MissingError: The decoder chosen by name is not installed.
    """

    def __init__(self, options: DecodeOptions, workers: int, command: Sequence[str] | None = None) -> None:
        if workers < 1:
            raise ValueError(f"a pool needs at least one worker, not {workers}")
        if options.decoder != AUTO and not installed(kind := DECODERS.get(options.decoder)):
            raise MissingError(
                f"the decoder {options.decoder!r} is not installed", package_hint(kind.package)
            )
        self._options = options
        self._command = list(command or worker_command())
        self._selector = selectors.DefaultSelector()
        self._events: deque[Event] = deque()
        self._tasks: dict[WorkerProcess, Task | None] = {}
        self._exiting: list[WorkerProcess] = []
        self._kind: MemoryKind = "memory"
        self._workers = workers
        for _ in range(workers):
            self._start()

    @property
    def idle(self) -> int:
        """How many jobs can be submitted now."""
        return self._workers - self.busy

    @property
    def busy(self) -> int:
        """How many jobs are running."""
        return sum(task is not None for task in self._tasks.values())

    @property
    def buffer_kind(self) -> MemoryKind:
        """How frames are passed: in anonymous `memory`, or in an unlinked temporary `file`."""
        return next((process.buffer.kind for process in self._tasks), self._kind)

    def submit(self, job: DecodeJob) -> None:
        """Start a job.

        Raises:
            RuntimeError: No process is idle.
        """
        if not self.idle:
            raise RuntimeError("submit needs an idle worker")
        process = (
            next((process for process, task in self._tasks.items() if task is None), None) or self._start()
        )
        self._dispatch(process, Task(job))

    def answer(self, job: DecodeJob, *, decode: bool) -> None:
        """Answer a job that asks, once it is `Hashed`. A job that has ended, or does not ask, stays as it is.

        Args:
            job: The job.
            decode: Whether to go on with it. Otherwise its process is free at once, and no other event comes;
                but if another process has taken it over in the meantime, it is `Hashed` once more.
        """
        for process, task in self._tasks.items():
            if task is None or task.job is not job:
                continue
            task.approved = decode
            if task.waiting:
                self._send_answer(process, task)
            return

    def _send_answer(self, process: WorkerProcess, task: Task) -> None:
        task.waiting = False
        # If the process is gone, poll() sees the end of its channel.
        process.channel.send({"approved": task.approved})
        if task.approved:
            task.clock.resume(time.monotonic())
        else:
            self._free(process)

    def poll(self, timeout: float) -> list[Event]:
        """Return the events that have occurred, waiting at most `timeout` seconds for one.

        Deadlines are enforced only during this call.
        """
        deadline = time.monotonic() + timeout
        while True:
            wait = 0.0 if self._events else max(0.0, deadline - time.monotonic())
            for key, _ in self._selector.select(min([wait, *self._seconds_left()])):
                self._receive(key.data)
            self._enforce_deadlines()
            self._exiting = [process for process in self._exiting if not process.gone()]
            if self._events or time.monotonic() >= deadline:
                events, self._events = list(self._events), deque()
                return events

    def close(self) -> None:
        """End all processes and drop their work. Frames that were handed out stay valid."""
        for process in list(self._tasks):
            self._kill(process)
        for process in self._exiting:
            process.gone(5.0)
        self._exiting = []
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _start(self) -> WorkerProcess:
        process = WorkerProcess(self._command, self._kind)
        self._tasks[process] = None
        self._selector.register(process.channel, selectors.EVENT_READ, process)
        return process

    def _kill(self, process: WorkerProcess) -> None:
        self._selector.unregister(process.channel)
        process.kill()
        self._exiting.append(process)
        del self._tasks[process]

    def _dispatch(self, process: WorkerProcess, task: Task) -> None:
        self._tasks[process] = task
        task.start_attempt(time.monotonic())
        # If the process is gone, poll() sees the end of its channel.
        process.channel.send(task.request(self._options))

    def _seconds_left(self) -> list[float]:
        now = time.monotonic()
        running = [task.left(self._options.timeout, now) for task in self._tasks.values() if task]
        return [max(0.0, left) for left in running if left is not None]

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for process, task in list(self._tasks.items()):
            left = task.left(self._options.timeout, now) if task else None
            if task is None or left is None or left > 0:
                continue
            LOG.warning(
                "decoding process %d did not answer in time and is killed: %r",
                process.pid,
                os.fsdecode(task.job.path),
            )
            self._kill(process)
            if task.attempt.dispatched_at is not None:
                self._fail(task, "error", "the decoding process did not start")
            else:
                self._start()
                self._fail(task, "timeout", f"no answer within {self._options.timeout:g} s")

    def _receive(self, process: WorkerProcess) -> None:
        messages = process.channel.receive()
        if messages is None:
            self._handle_exit(process)
            return
        for message in messages:
            if message["kind"] == "ready":
                process.ready = True
            elif (task := self._tasks[process]) is not None:
                self._handle(process, task, message)
                # There was no memory, and another process has taken over the job.
                if process not in self._tasks:
                    return

    def _handle_exit(self, process: WorkerProcess) -> None:
        """Report on a process that ended by itself."""
        task, ending, killed = self._tasks[process], process.describe_end(), process.was_killed()
        self._kill(process)
        LOG.warning(
            "decoding process %d %s%s",
            process.pid,
            "was killed from outside" if killed else ending,
            f": {os.fsdecode(task.job.path)!r}" if task else ", idle",
        )
        if task is None:
            return
        if task.attempt.dispatched_at is not None:
            stage = "ended before it started the file" if process.ready else "could not start"
            self._redispatch(task, _KILLED if killed else f"the decoding process {stage}: it {ending}")
        elif killed and not task.killed:
            task.killed = True
            task.progress.warnings.append(f"{_KILLED}; a second one continued")
            # The time lost is not the file's fault.
            task.clock = Clock()
            self._dispatch(self._start(), task)
        elif killed:
            self._start()
            self._fail(task, "error", f"{_KILLED}, twice")
        else:
            self._start()
            self._fail(task, "decode_error", f"the decoding process {ending}")

    def _redispatch(self, task: Task, detail: str) -> None:
        """Give a job that was not started to another process, once."""
        if task.redispatched:
            self._fail(task, "error", detail)
        else:
            task.redispatched = True
            self._dispatch(self._start(), task)

    def _handle(self, process: WorkerProcess, task: Task, message: Message) -> None:
        kind, at = message["kind"], message["at"]
        if kind == "begin":
            task.attempt.dispatched_at = None
            task.clock.resume(at)
        elif kind == "hashed":
            self._handle_hashed(process, task, message)
        elif kind == "opened":
            if task.progress.info is None:
                task.progress.info = MediaInfo.from_json(message["info"])
                self._events.append(FileOpened(task.job, task.progress.info))
        elif kind == "need":
            task.attempt.pending_layout = message
            task.clock.pause(at)
            self._lay_out(process, task)
        elif kind == "frame":
            self._handle_frame(process, task, message)
        elif kind == "ended":
            self._end(process, task, message)

    def _handle_hashed(self, process: WorkerProcess, task: Task, message: Message) -> None:
        job, progress = task.job, task.progress
        progress.sha256, progress.size = message["sha256"], message["size"]
        if job.file is None:
            progress.mtime_ns = message["mtime_ns"]
        progress.seconds |= message["seconds"]
        if task.attempt.asks:
            task.waiting = True
            task.clock.pause(message["at"])
            if task.approved:
                # The answer came while another process was taking over the job.
                self._send_answer(process, task)
        self._events.append(
            Hashed(job, message["sha256"], message["size"], progress.mtime_ns, dict(progress.seconds))
        )

    def _lay_out(self, process: WorkerProcess, task: Task) -> None:
        """Divide the memory for a file, once no frame of the previous file is in use."""
        layout = task.attempt.pending_layout
        if layout is None or process.unreleased:
            return
        task.attempt.pending_layout = None
        size, task.progress.asked = layout["bytes"], layout["frames"]
        slots = slot_count(size, task.progress.asked, self._options.buffer_bytes)
        try:
            process.buffer.lay_out(slots, size)
        except OSError as error:
            self._kill(process)
            if process.buffer.kind == "memory":
                self._kind = "file"
                task.progress.warnings.append(
                    "memory is short: its frames were passed through a temporary file"
                )
                self._dispatch(self._start(), task)
            else:
                self._start()
                self._fail(task, "error", f"no room for frames of {size} bytes: {error.strerror}")
            return
        task.attempt.slots = slots
        process.channel.send({"slots": slots, "bytes": size})
        task.clock.resume(time.monotonic())

    def _handle_frame(self, process: WorkerProcess, task: Task, message: Message) -> None:
        assert task.progress.info is not None
        slot = message["slot"]
        image = process.buffer.view(slot, (task.progress.info.height, task.progress.info.width, 3))
        task.progress.decoded.append(message["index"])
        task.progress.decoder_used = message["decoder"]
        process.unreleased.add(slot)
        if len(process.unreleased) >= task.attempt.slots:
            task.clock.pause(message["at"])
        frame = Frame(message["index"], message["pts"], image)
        self._events.append(FrameReady(task.job, frame, partial(self._release, process, task, slot, [slot])))

    def _release(self, process: WorkerProcess, owner: Task, slot: int, once: list[int]) -> None:
        if not once:
            return
        once.clear()
        process.unreleased.discard(slot)
        task = self._tasks.get(process)
        if task is None:
            return
        if task is owner:
            process.channel.send({"free": slot})
            task.clock.resume(time.monotonic())
        else:
            self._lay_out(process, task)

    def _end(self, process: WorkerProcess, task: Task, message: Message) -> None:
        report = {key: message[key] for key in ("status", "detail", "decoder", "asked", "decoded")}
        self._free(process)
        self._report(task, warnings=tuple(message["warnings"]), seconds=message["seconds"], **report)

    def _free(self, process: WorkerProcess) -> None:
        """Make a process that is done with its job available for another, or replace it."""
        self._tasks[process] = None
        process.finished += 1
        if process.finished >= self._options.recycle_after:
            self._kill(process)
            self._start()

    def _fail(self, task: Task, status: Status, detail: str) -> None:
        self._report(
            task,
            status=status,
            detail=detail,
            warnings=tuple(task.progress.warnings),
            decoder=task.progress.decoder_used,
            asked=task.progress.asked,
            decoded=len(task.progress.decoded),
            seconds=task.progress.seconds,
        )

    def _report(self, task: Task, **content: Any) -> None:
        progress = task.progress
        report = DecodeReport(
            sha256=progress.sha256,
            size=progress.size,
            mtime_ns=progress.mtime_ns,
            info=progress.info,
            **content,
        )
        LOG.debug(
            "%r: %s, %d of %d frames decoded by %s",
            os.fsdecode(task.job.path),
            report.detail or report.status,
            report.decoded,
            report.asked,
            report.decoder,
        )
        self._events.append(Ended(task.job, report))
