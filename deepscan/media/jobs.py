"""What goes into the pool of decoders, and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass

from deepscan.errors import UsageError
from deepscan.media.decoders import AUTO, DECODERS
from deepscan.media.frames import DecodeReport, Frame, MediaInfo


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
        choices = (AUTO, *DECODERS.names)
        if self.decoder not in choices:
            raise UsageError(f"unknown decoder {self.decoder!r}", f"choose from: {', '.join(choices)}")
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
class Opened:
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


Event = Opened | FrameReady | Ended
