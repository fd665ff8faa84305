"""Everything that decides the outcome of a scan, in one place, and what of it a resumed run must share."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from deepscan.errors import UsageError
from deepscan.faces.quality import QualityRule

Faces = Literal["fast", "exact"]
DecoderChoice = Literal["auto", "decord", "pyav"]


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """The parameters of a scan, with the defaults that suit most.

    Attributes:
        model: Name or folder of the model, `none` to find faces only.
        frames: How many frames of a video are sampled, evenly.
        faces: `fast` finds faces on a smaller copy of the frame, `exact` on the frame itself.
        decoder: `auto`, or one that is then never replaced.
        engine: `auto`, `onnx` or `torch`.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, or one that the engine offers.
        min_frames: A video with fewer decodable frames is `too_short`.
        timeout: Seconds that a video's decoding may take.
        max_megapixels: A frame with more is `unsupported`.
        quality: Which faces count for a track's score.
    """

    model: str
    frames: int = 32
    faces: Faces = "fast"
    decoder: DecoderChoice = "auto"
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    min_frames: int = 1
    timeout: float = 120.0
    max_megapixels: float = 64.0
    quality: QualityRule = field(default_factory=QualityRule)

    def __post_init__(self) -> None:
        for name in ("frames", "min_frames", "timeout", "max_megapixels"):
            if getattr(self, name) <= 0:
                raise UsageError(
                    f"--{name.replace('_', '-')} must be above 0, not {getattr(self, name)}",
                    "leave the option out for its default",
                )
        for name, allowed in (("faces", get_args(Faces)), ("decoder", get_args(DecoderChoice))):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"--{name} {getattr(self, name)!r} is unknown", f"choose from: {', '.join(allowed)}"
                )

    def to_json(self) -> dict[str, Any]:
        """Return every parameter for the run's record."""
        return asdict(self)
