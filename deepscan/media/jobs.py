"""Decoding jobs: what goes into the pool of decoders, what it keeps of each, and what comes out."""

import os
from collections.abc import Callable
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
        timeout: Seconds that a file may take from when a process takes it up, not counting those in which its
            frames wait to be released.
        min_frames: Fewest decodable frames of a file that is not `too_short`.
        max_pixels: Largest width times height.
        recycle_after: Files after which a process is replaced, since decoders leak.
        buffer_bytes: Memory for the frames of each process; two frames are held in any case.

    Raises:
        UsageError: There is no such decoder.
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
        id: The caller's number for it.
        path: Its name as the file system has it (`os.fsencode`).
        indices: Which frames to decode, ascending, those past the end left out; none for an even sample.
    """

    id: int
    path: bytes
    indices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FileOpened:
    """A file has been opened: what it is."""

    job: DecodeJob
    info: MediaInfo


@dataclass(frozen=True, slots=True)
class FrameReady:
    """A frame is there.

    Attributes:
        job: The file that it is from.
        frame: Its image is a view of shared memory: it holds until `release` is called, not longer.
        release: Gives the memory back, once; a file stands still while all its memory is out.
    """

    job: DecodeJob
    frame: Frame
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """A file is done with; exactly one for each job, after its frames."""

    job: DecodeJob
    report: DecodeReport


Event = FileOpened | FrameReady | Ended


class Clock:
    """Counts the seconds that a process spends on a job, but not those in which it waits for its parent.

    It stands still at first. All times are in seconds of `time.monotonic`, which processes share.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._spent = 0.0

    def spent(self, now: float) -> float:
        """Return the seconds counted up to now."""
        return self._spent + (max(0.0, now - self._since) if self._since is not None else 0.0)

    def left(self, limit: float, now: float) -> float | None:
        """Return after how many seconds the limit is reached, None while the clock stands still."""
        return None if self._since is None else limit - self.spent(now)

    def pause(self, now: float) -> None:
        """Stop counting at `now`."""
        self._spent = self.spent(now)
        self._since = None

    def resume(self, now: float) -> None:
        """Count on from `now`, unless it counts already."""
        if self._since is None:
            self._since = now


#: Seconds until a process must have taken a job up: ample for its start on a busy machine.
START_LIMIT = 60.0


@dataclass(eq=False)
class Attempt:
    """One process's attempt at a job.

    Attributes:
        dispatched_at: When the process was given the job, None once it has begun.
        pending_layout: The slots that the process asked for, while frames of the file before are in use.
        slots: Number of slots that the memory is divided into, 0 before that.
    """

    dispatched_at: float | None = None
    pending_layout: Message | None = None
    slots: int = 0


@dataclass(eq=False)
class DecodeProgress:
    """What is known of a file so far, over all attempts; a report is made of it where none can end.

    Attributes:
        info: What the file is, once known.
        sha256: Its digest, once known.
        size: Its size in bytes, once known.
        seconds: Stage -> seconds spent in it, as far as reported.
        asked: How many frames are sampled.
        decoded: Indices of the frames that were handed on.
        decoder_used: The decoder that gave them, None before the first.
        warnings: For the report.
    """

    info: MediaInfo | None = None
    sha256: str | None = None
    size: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    asked: int = 0
    decoded: list[int] = field(default_factory=list)
    decoder_used: str | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Task:
    """One job on its way to its report.

    Attributes:
        job: The file.
        clock: Seconds spent on it, not counting the start of processes.
        attempt: The current attempt.
        progress: What all attempts have found.
        redispatched: Whether a process ended before it began the job.
        killed: Whether a process was killed from outside while it worked.
    """

    job: DecodeJob
    clock: Clock = field(default_factory=Clock)
    attempt: Attempt = field(default_factory=Attempt)
    progress: DecodeProgress = field(default_factory=DecodeProgress)
    redispatched: bool = False
    killed: bool = False

    def start_attempt(self, now: float) -> None:
        """Begin another attempt; its time counts from when the process begins the job."""
        self.attempt = Attempt(dispatched_at=now)
        self.clock.pause(now)

    def left(self, timeout: float, now: float) -> float | None:
        """Return in how many seconds the process must be given up, None while it waits for its parent."""
        dispatched = self.attempt.dispatched_at
        return self.clock.left(timeout, now) if dispatched is None else dispatched + START_LIMIT - now

    def request(self, options: DecodeOptions) -> Message:
        """Return the message that starts a process on the job: what to do, and what is done already."""
        return {
            "path": os.fsdecode(self.job.path),
            "decoder": options.decoder,
            "frames": options.frames,
            "indices": self.job.indices,
            "min_frames": options.min_frames,
            "max_pixels": options.max_pixels,
            "done": self.progress.decoded,
            "decoder_used": self.progress.decoder_used,
            "warnings": self.progress.warnings,
        }
