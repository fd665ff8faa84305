"""What the parent knows of one job, over all attempts at it."""

import os
from dataclasses import dataclass, field

from deepscan.media.channel import Message
from deepscan.media.fence import Clock
from deepscan.media.frames import MediaInfo
from deepscan.media.jobs import DecodeJob, DecodeOptions

#: Seconds until a process must have taken a job up: ample for its start on a busy machine.
START_LIMIT = 60.0


@dataclass(eq=False)
class Task:
    """One job on its way to its report.

    Attributes:
        job: The file.
        clock: Seconds spent on it, not counting the start of processes.
        sent: When it was given to the process that has not yet taken it up, None once that has.
        info: What the file is, once known.
        sha256: Its digest, once known.
        size: Its size in bytes, once known.
        seconds: Stage -> seconds spent in it, as far as told before the end.
        restarted: Whether a process ended before it took the job up.
        killed: Whether a process was killed from outside while it worked.
        done: Frames that were handed on.
        giver: The decoder that gave them, None before the first.
        warnings: For the report.
        asked: How many frames are sampled.
        need: The process's demand for memory, while that is still in use.
        slots: Into how many parts the memory is divided.
    """

    job: DecodeJob
    clock: Clock = field(default_factory=Clock)
    sent: float | None = None
    info: MediaInfo | None = None
    sha256: str | None = None
    size: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    restarted: bool = False
    killed: bool = False
    done: list[int] = field(default_factory=list)
    giver: str | None = None
    warnings: list[str] = field(default_factory=list)
    asked: int = 0
    need: Message | None = None
    slots: int = 0

    def begin_anew(self, now: float) -> None:
        """Set what belongs to an attempt; its time begins when a process takes it up."""
        self.need, self.slots = None, 0
        self.sent = now
        self.clock.pause(now)

    def left(self, timeout: float, now: float) -> float | None:
        """Return in how many seconds the process must be given up, None while it waits for its parent."""
        return self.clock.left(timeout, now) if self.sent is None else self.sent + START_LIMIT - now

    def order(self, options: DecodeOptions) -> Message:
        """Return the message that tells a process what to do, and what earlier ones have done."""
        return {
            "path": os.fsdecode(self.job.path),
            "decoder": options.decoder,
            "frames": options.frames,
            "indices": self.job.indices,
            "min_frames": options.min_frames,
            "max_pixels": options.max_pixels,
            "done": self.done,
            "giver": self.giver,
            "warnings": self.warnings,
        }
