"""What `bench` is asked to measure, checked before anything runs, and the scans that it comes to."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from deepscan.errors import UsageError, choice_hint
from deepscan.media.decoders import AUTO
from deepscan.media.jobs import DecodeOptions
from deepscan.models.choice import NO_MODEL
from deepscan.models.lookup import DEFAULT_MODEL
from deepscan.scanning.options import ScanOptions

STAGES = ("start-up", "decode", "faces", "detector", "scan")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is measured; several values of one thing are measured side by side.

    Attributes:
        frames: How many frames of a video are sampled.
        models: Names or folders; `none` finds faces only.
        engines: As `scan` takes them, and so are the next four.
        devices: `auto`, `cpu` or `cuda`.
        precisions: `auto`, or those that an engine offers.
        faces: Names of face finders, of `FINDERS`.
        faces_device: `cpu` or `cuda`, one for all.
        decoder: One for all.
        batches: How many crops go through the detector at once.
        repeats: How often each thing is timed, after one run untimed.
        limit: Of more files than this, so many are taken, spread evenly.
        workers: Decoders at once, None for a number that suits the machine.
        stages: Which of `STAGES`.

    Raises:
        UsageError: A value is unknown or out of range.
    """

    frames: tuple[int, ...] = (8, 32)
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    engines: tuple[str, ...] = (AUTO,)
    devices: tuple[str, ...] = (AUTO,)
    precisions: tuple[str, ...] = (AUTO,)
    faces: tuple[str, ...] = ("fast",)
    faces_device: str = "cpu"
    decoder: str = AUTO
    batches: tuple[int, ...] = (1, 8, 32)
    repeats: int = 3
    limit: int = 16
    workers: int | None = None
    stages: tuple[str, ...] = STAGES

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) == ():
                raise UsageError(f"--{name} is empty", "leave the option out for its default")
        for name in ("frames", "batches"):
            if min(getattr(self, name)) < 1:
                raise UsageError(f"--{name} are at least 1 each", "leave the option out for its default")
        for stage in self.stages:
            if stage not in STAGES:
                raise UsageError(f"there is no stage {stage!r}", choice_hint(stage, STAGES))
        list(self.scans())

    def scans(self) -> Iterator[ScanOptions]:
        """Yield the scans to be measured, each combination once."""
        for frames, faces, model in itertools.product(self.frames, self.faces, self.models):
            ways = itertools.product(self.engines, self.devices, self.precisions)
            # Without a detector there is but one way to run it.
            for engine, device, precision in [(AUTO,) * 3] if model == NO_MODEL else ways:
                yield ScanOptions(
                    model=model,
                    frames=frames,
                    faces=faces,
                    faces_device=self.faces_device,
                    decoder=self.decoder,
                    engine=engine,
                    device=device,
                    precision=precision,
                )

    def decoding(self, frames: int) -> DecodeOptions:
        """Return how files are decoded."""
        return DecodeOptions(frames=frames, decoder=self.decoder)
