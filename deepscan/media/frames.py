"""Define the results of decoding: facts about a file, and frames with their times."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deepscan.outcomes import Status

Image = NDArray[np.uint8]

#: Added to a stage's name in `seconds` for its CPU time instead of the elapsed time.
CPU_SUFFIX = "_cpu"
#: Transfer characteristics of HDR video (ITU-R BT.2100: PQ, HLG), as in `MediaInfo.transfer`.
HDR = frozenset({"smpte2084", "arib-std-b67"})


class MediaError(Exception):
    """A file yields no frames. The error becomes that file's status and never ends the batch.

    Args:
        status: One of the failure statuses, or `too_short`.
        detail: One line for the record.
    """

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(status, detail)
        self.status: Status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """Facts about a video or still image, read without trusting its header alone.

    Attributes:
        container: Format in the demuxer's terms, such as `mov,mp4,m4a,3gp,3g2,mj2`.
        codec: Codec of the video stream, such as `h264`.
        pixel_format: Pixel format as decoded, such as `yuv420p10le`.
        width: Width in pixels as displayed: with square pixels, after rotation. Decoded frames have this
            width.
        height: Height in pixels as displayed.
        stored_width: Width in pixels as stored.
        stored_height: Height in pixels as stored.
        pixel_aspect: Width of a stored pixel divided by its height, as declared by the file.
        rotation: Degrees clockwise (0, 90, 180 or 270) by which a player rotates the stored frames.
        mirrored: Whether a player then also mirrors them left to right.
        transfer: Transfer characteristics in libav's terms, such as `smpte2084` (PQ) or `arib-std-b67` (HLG),
            None if unspecified.
        field_order: `progressive`, the field order of interlaced frames (`tt`, `bb`, `tb` or `bt`: first as
            coded, then as displayed), or `interlaced` if the order is unspecified.
        start: Presentation time of the first frame in seconds, None if the file gives none.
        fps: Average frame rate in frames per second, None for a still image.
        duration: Seconds from the first frame to the end of the last one, None for a still image.
        frames_stated: Frame count according to the header, None if it gives none.
        frames_decodable: Number of frames whose data are present, found by reading every packet.
        keyframes: How many of those are keyframes.
        other_videos: Number of further video streams in the file, which are not examined.
        encoder: Software named by the file as its maker, several separated by semicolons; None if it names
            none. This and the fields below, except for the keyframes, are the file's own claims.
        created: Creation time as written in the file.
        device: Camera or phone named by the file.
        duration_stated: Duration in seconds according to the header, None if it gives none.
        keyframe_gaps: Least, median and greatest distance between keyframes in frames, None if there is only
            one.
        edits: Its edit list: for each entry its length in seconds, its start in the stored stream in seconds
            (None: nothing is shown), and its rate.
        credentials: What its Content Credentials claim and whether they validate. None if it has none, or if
            c2pa-python is not installed.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    stored_width: int
    stored_height: int
    pixel_aspect: Fraction
    rotation: int
    mirrored: bool
    transfer: str | None
    field_order: str
    start: float | None
    fps: Fraction | None
    duration: float | None
    frames_stated: int | None
    frames_decodable: int
    keyframes: int
    other_videos: int
    encoder: str | None = None
    created: str | None = None
    device: str | None = None
    duration_stated: float | None = None
    keyframe_gaps: tuple[int, int, int] | None = None
    edits: tuple[tuple[float, float | None, float], ...] = ()
    credentials: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.stored_width, self.stored_height) < 1:
            raise ValueError(f"a frame must have at least one pixel, not {self.width}x{self.height}")
        if self.pixel_aspect <= 0:
            raise ValueError(f"pixel_aspect must be positive, not {self.pixel_aspect}")
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation must be a multiple of 90 in 0..270, not {self.rotation}")
        if self.frames_decodable < 0:
            raise ValueError(f"frames_decodable must not be negative, not {self.frames_decodable}")

    @property
    def stored_as_shown(self) -> bool:
        """Whether frames have the same numbers of pixels stored as displayed."""
        return sorted((self.width, self.height)) == sorted((self.stored_width, self.stored_height))

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Build the facts from the output of `to_json`."""
        rate = None if facts["fps"] is None else Fraction(facts["fps"])
        gaps = facts.get("keyframe_gaps")
        return cls(
            **{
                **facts,
                "fps": rate,
                "pixel_aspect": Fraction(facts["pixel_aspect"]),
                "keyframe_gaps": gaps and tuple(gaps),
                "edits": tuple(tuple(edit) for edit in facts.get("edits", ())),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON types, with rates and ratios as fractions such as `30000/1001`."""
        return asdict(self) | {
            "pixel_aspect": f"{self.pixel_aspect.numerator}/{self.pixel_aspect.denominator}",
            "start": None if self.start is None else round(self.start, 6),
            "fps": None if self.fps is None else f"{self.fps.numerator}/{self.fps.denominator}",
            "duration": None if self.duration is None else round(self.duration, 6),
            "duration_stated": None if self.duration_stated is None else round(self.duration_stated, 6),
            "keyframe_gaps": self.keyframe_gaps and list(self.keyframe_gaps),
            "edits": [list(edit) for edit in self.edits],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        index: Position in presentation order, from 0.
        pts: Presentation time in seconds from the first frame.
        image: RGB, shape (height, width, 3), uint8, upright.
    """

    index: int
    pts: float
    image: Image

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f"a frame must be (height, width, 3) uint8, not {self.image.shape} {self.image.dtype}"
            )
        if self.index < 0:
            raise ValueError(f"a frame index must not be negative, not {self.index}")


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """How the decoding of a file ended.

    Attributes:
        status: `ok`, or why there are no frames.
        detail: One line explaining a status other than `ok`, else empty.
        warnings: What readers of the record must know even if the status is `ok`.
        sha256: Hex digest of the file before decoding, None if it could not be read.
        size: Size of the file in bytes, None if it could not be read.
        info: Facts about the file, None if it could not be opened.
        decoder: The decoder that delivered the frames, None if none did.
        asked: Number of frames to sample.
        decoded: Number of distinct frames that were delivered.
        seconds: Stage -> seconds spent in the worker: `hash`, `probe`, `decode`, and `wait` for delivered
            frames to be released. With `CPU_SUFFIX`, the CPU time of a stage.
        mtime_ns: When the file was last modified, in nanoseconds since 1970; None if it could not be read, or
            if a copy of it was opened.
    """

    status: Status
    detail: str
    warnings: tuple[str, ...]
    sha256: str | None
    size: int | None
    info: MediaInfo | None
    decoder: str | None
    asked: int
    decoded: int
    seconds: Mapping[str, float]
    mtime_ns: int | None = None
