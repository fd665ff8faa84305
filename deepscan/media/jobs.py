"""Define decoding jobs: the pool's input, its state for each job, and its events."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deepscan.errors import require_choice
from deepscan.media.decoders import AUTO, DECODERS
from deepscan.media.frames import DecodeReport, Frame, MediaInfo
from deepscan.media.ipc import Message


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How files are decoded.

    Attributes:
        frames: How many frames to sample, at least 1.
        decoder: A decoder's name, or `auto` for the first that suits the file.
        timeout: Seconds that a file may take once a process has started it, not counting the time its frames
            wait to be released.
        min_frames: A file with fewer decodable frames is `too_short`.
        max_pixels: Largest accepted width times height.
        recycle_after: Number of files after which a process is replaced, because decoders leak memory.
        buffer_bytes: Memory for the frames of each process; room for two frames is always allocated.

    Raises:
        UsageError: The decoder does not exist.
    """

    frames: int = 32
    decoder: str = AUTO
    timeout: float = 120.0
    min_frames: int = 1
    max_pixels: int = 64_000_000
    recycle_after: int = 50
    buffer_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        require_choice("--decoder", (self.decoder,), (AUTO, *DECODERS.names))
        for name in ("frames", "min_frames", "max_pixels", "recycle_after", "buffer_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be positive, not {self.timeout}")


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """A file to decode.

    Attributes:
        id: The caller's id for it.
        path: Its name as bytes (`os.fsencode`), as records and messages show it; may be an address.
        indices: Frames to decode, ascending; those past the end are skipped. Empty to sample evenly.
        file: The file to open, for example a copy in memory such as `/proc/PID/fd/N`; None to open `path`.
        sha256: SHA-256 of `file` in hexadecimal, taken while the copy was made, so that it is not hashed
            again; None to hash what is opened.
        ask: Whether to wait, once the file is hashed, until `DecodePool.answer` is called.
    """

    id: int
    path: bytes
    indices: tuple[int, ...] = ()
    file: bytes | None = None
    sha256: str | None = None
    ask: bool = False

    def __post_init__(self) -> None:
        if self.sha256 is not None and self.file is None:
            raise ValueError("only of a copy is the content known beforehand")

    @property
    def opened(self) -> bytes:
        """The file to open, as bytes."""
        return self.path if self.file is None else self.file


@dataclass(frozen=True, slots=True)
class Hashed:
    """Event: the content of a file is known. It comes again if another process has to take over the file.

    Attributes:
        job: The file. If its `ask` is set, it waits for an answer; it may already have had one.
        sha256: Its SHA-256 in hexadecimal.
        size: Its size in bytes.
        mtime_ns: When it was last modified, in nanoseconds since 1970, None for a copy.
        seconds: Stage -> seconds so far, as in `DecodeReport`.
    """

    job: DecodeJob
    sha256: str
    size: int
    mtime_ns: int | None
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FileOpened:
    """Event: a file has been opened, with its facts."""

    job: DecodeJob
    info: MediaInfo


@dataclass(frozen=True, slots=True)
class FrameReady:
    """Event: a frame has been decoded.

    Attributes:
        job: The file that it is from.
        frame: The frame. Its image is a view of shared memory, valid only until `release` is called.
        release: Gives the memory back; call it once. Decoding pauses while all memory is in use.
    """

    job: DecodeJob
    frame: Frame
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """Event: a file is finished. Sent exactly once per job, after its frames, unless it was dropped."""

    job: DecodeJob
    report: DecodeReport


Event = Hashed | FileOpened | FrameReady | Ended


class Clock:
    """Stopwatch for the time that a process spends on a job, without the time it waits for its parent.

    It starts paused. All times are in seconds of `time.monotonic`, which all processes share.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._spent = 0.0

    def spent(self, now: float) -> float:
        """Return the seconds counted until `now`."""
        return self._spent + (max(0.0, now - self._since) if self._since is not None else 0.0)

    def left(self, limit: float, now: float) -> float | None:
        """Return the seconds until the limit is reached, None while the clock is paused."""
        return None if self._since is None else limit - self.spent(now)

    def pause(self, now: float) -> None:
        """Stop counting at `now`."""
        self._spent = self.spent(now)
        self._since = None

    def resume(self, now: float) -> None:
        """Continue counting from `now`, unless already running."""
        if self._since is None:
            self._since = now


#: Seconds within which a process must start a job: ample even on a busy machine.
START_LIMIT = 60.0


@dataclass(eq=False)
class Attempt:
    """One process's attempt at a job.

    Attributes:
        dispatched_at: When the process was given the job, None once it has started.
        pending_layout: The slots that the process requested while frames of the previous file are still in
            use.
        slots: Number of slots that the memory is divided into, 0 before that.
        asks: Whether the process asks before it decodes the file.
    """

    dispatched_at: float | None = None
    pending_layout: Message | None = None
    slots: int = 0
    asks: bool = False


@dataclass(eq=False)
class DecodeProgress:
    """What all attempts have found out about a file. If none completes, the report is built from it.

    Attributes:
        info: The file's facts, once known.
        sha256: Its digest, once known.
        size: Its size in bytes, once known.
        mtime_ns: When it was last modified, in nanoseconds since 1970, once known.
        seconds: Stage -> seconds spent in it, as far as reported.
        asked: How many frames are sampled.
        decoded: Indices of the frames that were delivered.
        decoder_used: The decoder that delivered them, None before the first.
        warnings: Warnings for the report.
    """

    info: MediaInfo | None = None
    sha256: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    asked: int = 0
    decoded: list[int] = field(default_factory=list)
    decoder_used: str | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Task:
    """A job in progress.

    Attributes:
        job: The file.
        clock: Seconds spent on it, not counting the start of processes.
        attempt: The current attempt.
        progress: What the attempts have found so far.
        redispatched: Whether a process ended before it started the job.
        killed: Whether a process was killed from outside while working on it.
        approved: Whether it need not ask any more.
        waiting: Whether it waits for an answer.
    """

    job: DecodeJob
    clock: Clock = field(default_factory=Clock)
    attempt: Attempt = field(default_factory=Attempt)
    progress: DecodeProgress = field(default_factory=DecodeProgress)
    redispatched: bool = False
    killed: bool = False
    approved: bool = False
    waiting: bool = False

    def start_attempt(self, now: float) -> None:
        """Begin another attempt. Its time counts from when the process starts the job."""
        self.attempt = Attempt(dispatched_at=now, asks=self.job.ask and not self.approved)
        self.waiting = False
        self.clock.pause(now)

    def left(self, timeout: float, now: float) -> float | None:
        """Return the seconds until the attempt times out, None while the process waits for its parent."""
        dispatched = self.attempt.dispatched_at
        return self.clock.left(timeout, now) if dispatched is None else dispatched + START_LIMIT - now

    def request(self, options: DecodeOptions) -> Message:
        """Return the message that starts a process on the job: what to do, and what is already done."""
        return {
            "path": os.fsdecode(self.job.opened),
            "sha256": self.job.sha256,
            "ask": self.attempt.asks,
            "decoder": options.decoder,
            "frames": options.frames,
            "indices": self.job.indices,
            "min_frames": options.min_frames,
            "max_pixels": options.max_pixels,
            "done": self.progress.decoded,
            "decoder_used": self.progress.decoder_used,
            "warnings": self.progress.warnings,
        }
