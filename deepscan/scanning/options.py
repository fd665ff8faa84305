"""Everything that decides the outcome of a scan, in one place, and what of it a resumed run must share."""

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
    """The parameters of a scan, with the defaults that suit most.

    Attributes:
        model: Name or folder of the model, `none` to find faces only, `auto` for what `models.choice` says.
        also: Further models, which judge the same faces; `scanning.fusion` says how they are taken together.
        frames: How many frames of a video are sampled, evenly.
        faces: `fast` finds faces on a smaller copy of the frame, `exact` on the frame itself; `facenet`
            is facenet-pytorch's own MTCNN on every frame.
        faces_device: `cpu` or `cuda`, of the face finder.
        decoder: `auto`, or one that is then never replaced.
        engine: `auto`, `onnx`, `torch`, `torch-compile` or `tensorrt`.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, or one that the engine offers.
        min_frames: A video with fewer decodable frames is `too_short`.
        min_share: Least share of the sampled frames with a face that counts, in [0, 1]; with less the verdict
            is `inconclusive`.
        timeout: Seconds that a video's decoding may take.
        max_megapixels: A frame with more is `unsupported`.
        explain: Whether what each face's score was taken from is kept with it.
        evidence: Whether pictures of the most telling faces are kept beside the records; what their scores
            were taken from is kept with these then.
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
        for name in ("frames", "min_frames", "timeout", "max_megapixels"):
            if getattr(self, name) <= 0:
                raise UsageError(
                    f"--{name.replace('_', '-')} must be above 0, not {getattr(self, name)}",
                    "leave the option out for its default",
                )
        if not 0 <= self.min_share <= 1:
            raise UsageError(
                f"--min-share must be from 0 to 1, not {self.min_share}",
                "leave the option out for its default",
            )
        allowed = {
            "faces": FINDERS.names,
            "faces_device": FACE_DEVICES,
            "decoder": (AUTO, *DECODERS.names),
            "engine": (AUTO, *ENGINES.names),
            "device": DEVICES,
        }
        for name, choices in allowed.items():
            require_choice(f"--{name.replace('_', '-')}", (getattr(self, name),), choices)
        if self.also and NO_MODEL in (self.model, *self.also):
            raise UsageError(f"--model {NO_MODEL} stands alone", "leave it out, or the other models")
        unused = [name for name in ("engine", "device", "precision") if getattr(self, name) != AUTO]
        if self.model == NO_MODEL and unused:
            raise UsageError(
                f"--{unused[0]} says how a model runs, and there is none", "leave it out, or name a model"
            )
        if self.model == NO_MODEL and self.explain:
            raise UsageError("--explain needs scores, and without a model there are none", "name a model")

    def to_json(self) -> dict[str, Any]:
        """Return every parameter for the run's record."""
        return asdict(self)
