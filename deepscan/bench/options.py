"""Options of `bench`, checked before anything runs, and the scans that they select."""

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
    """Options of a benchmark; every combination of values is measured.

    Attributes:
        frames: Numbers of frames to sample from each video.
        models: Names or folders; `none` finds faces only.
        engines: Engines, as for `scan`.
        devices: `auto`, `cpu` or `cuda`.
        precisions: `auto`, or precisions of an engine.
        faces: Names of face finders, of `FINDERS`.
        faces_device: `cpu` or `cuda`, for all runs.
        decoder: The decoder of all runs.
        batches: Batch sizes of the detector, in crops.
        repeats: Number of timed runs of each case, after one warm-up run.
        limit: Maximum number of files; of more files, an evenly spread subset is measured.
        workers: Number of decoder processes, None to choose by the machine.
        stages: Stages to measure, of `STAGES`.

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
                raise UsageError(
                    f"every value of --{name} must be at least 1", "leave the option out for its default"
                )
        for stage in self.stages:
            if stage not in STAGES:
                raise UsageError(f"unknown stage {stage!r}", choice_hint(stage, STAGES))
        list(self.scans())

    def scans(self) -> Iterator[ScanOptions]:
        """Yield the options of the scans to measure, each combination once."""
        for frames, faces, model in itertools.product(self.frames, self.faces, self.models):
            variants = itertools.product(self.engines, self.devices, self.precisions)
            # Without a detector, these three options make no difference.
            for engine, device, precision in [(AUTO,) * 3] if model == NO_MODEL else variants:
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
        """Return the decoding options for a number of frames."""
        return DecodeOptions(frames=frames, decoder=self.decoder)
