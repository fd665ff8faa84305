"""Define the parameters of a scan: everything that decides its outcome."""

from dataclasses import asdict, dataclass, field
from typing import Any

from deepscan.devices import DEVICES, FACE_DEVICES
from deepscan.engines import ENGINES
from deepscan.errors import UsageError, require_choice
from deepscan.faces.finder import FINDERS
from deepscan.faces.quality import QualityRule
from deepscan.media.decoders import AUTO, DECODERS
from deepscan.models.choice import NO_MODEL
from deepscan.scanning.aggregation import MIN_SHARE


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """The parameters of a scan, with defaults that suit most uses.

    Attributes:
        model: Name or folder of the model, `none` to only find faces, `auto` for the choice of
            `models.choice`.
        also: Further models for the same faces; `scanning.fusion` combines them.
        frames: Number of frames to sample evenly from a video.
        faces: `fast` finds faces on a smaller copy of the frame, `exact` on the frame itself; `facenet`
            is facenet-pytorch's own MTCNN on every frame.
        faces_device: Device of the face finder, `cpu` or `cuda`.
        decoder: `auto`, or a decoder, which is then never replaced by another.
        engine: `auto`, `onnx`, `torch`, `torch-compile` or `tensorrt`.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, or a precision that the engine offers.
        min_frames: A video with fewer decodable frames is `too_short`.
        min_share: Minimum share of the sampled frames with a face that counts, in [0, 1]; below it the
            verdict is `inconclusive`.
        timeout: Seconds that a video's decoding may take.
        max_megapixels: A video with larger frames is `unsupported`.
        explain: Whether to record for each face what its score is based on.
        evidence: Whether to store pictures of the most telling faces next to the records; the record then
            also has what the scores of these faces are based on.
        quality: Which faces count for a track's score.
    """

    model: str
    also: tuple[str, ...] = ()
    frames: int = 32
    faces: str = "fast"
    faces_device: str = "cpu"
    decoder: str = AUTO
    engine: str = AUTO
    device: str = AUTO
    precision: str = AUTO
    min_frames: int = 1
    min_share: float = MIN_SHARE
    timeout: float = 120.0
    max_megapixels: float = 64.0
    explain: bool = False
    evidence: bool = False
    quality: QualityRule = field(default_factory=QualityRule)

    def __post_init__(self) -> None:
        # Messages name a parameter as the Python API does, which suits the option of the same name too.
        for name in ("frames", "min_frames", "timeout", "max_megapixels"):
            # Not `<= 0`, which is false for NaN.
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"{name} must be above 0, not {getattr(self, name)}",
                    "leave it out for its default",
                )
        if not 0 <= self.min_share <= 1:
            raise UsageError(
                f"min_share must be from 0 to 1, not {self.min_share}", "leave it out for its default"
            )
        allowed = {
            "faces": FINDERS.names,
            "faces_device": FACE_DEVICES,
            "decoder": (AUTO, *DECODERS.names),
            "engine": (AUTO, *ENGINES.names),
            "device": DEVICES,
        }
        for name, choices in allowed.items():
            require_choice(name, (getattr(self, name),), choices)
        if self.also and NO_MODEL in (self.model, *self.also):
            raise UsageError(
                f"model {NO_MODEL!r} cannot be combined with other models",
                "leave it out, or leave out the others",
            )
        unused = [name for name in ("engine", "device", "precision") if getattr(self, name) != AUTO]
        if self.model == NO_MODEL and unused:
            raise UsageError(
                f"{unused[0]} has no effect without a model",
                "leave it out, or name a model",
            )
        if self.model == NO_MODEL and self.explain:
            raise UsageError("explain has no effect without a model", "leave it out, or name a model")

    def to_json(self) -> dict[str, Any]:
        """Return every parameter for the run's record."""
        return asdict(self)
