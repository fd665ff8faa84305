"""The record of one video, as a scan writes it, a JSON object a line: typed, and read back as it was."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from deepscan.json_objects import OMIT, JsonObject, Limit
from deepscan.outcomes import Aside, Status, Verdict, track_label

Point = tuple[float, float]
Share = Annotated[float, Limit("minimum", 0), Limit("maximum", 1)]
Count = Annotated[int, Limit("minimum", 0)]
Positive = Annotated[int, Limit("minimum", 1)]
Sha256 = Annotated[str, Limit("pattern", "^[0-9a-f]{64}$")]
Ratio = Annotated[str, Limit("pattern", "^[0-9]+/[0-9]+$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceQuality(JsonObject):
    """How well a face can be judged; of a track, the median over its faces.

    Attributes:
        size: Shorter side of the face's box, in pixels of the frame.
        sharpness: Variance of the Laplacian of the face's luma (0 to 255), with the face resized to one size.
        pose: 0 for a face seen from the front, towards 1 for a profile.
    """

    size: float
    sharpness: float
    pose: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationMaps(JsonObject):
    """Maps over a face's crop that a model gives, such as where it looked.

    Attributes:
        grid: How many cells a side has; a map has grid * grid of them, row by row from the top left.
        range: The values that 0 and 255 stand for, the same for all maps here.
        maps: The maps, each a list of cells from 0 to 255.
    """

    grid: Positive
    range: tuple[float, float]
    maps: tuple[tuple[int, ...], ...]


#: By name, a number, maps, or None if the model gave no finite value.
Explanation = Mapping[str, float | ExplanationMaps | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceScore(JsonObject):
    """A face in a sampled frame, and its score.

    Attributes:
        index: Index of the frame, from 0 in the order of presentation.
        pts: Presentation time of the frame, in seconds from the first frame.
        track: `id` of the track, that is of the person, that the face belongs to.
        score: Raw score of this face, in [0, 1]; null without a model. With several models, their mean in
            log-odds.
        scores: With several models, the raw score by each.
        box: Left, top, right and bottom of the face, in pixels of the frame; may reach past its edge.
        landmarks: Eye on the left of the picture, the other eye, nose, mouth corner on the left, the other
            one: x and y of each, in pixels of the frame.
        probability: Confidence of the face finder that this is a face, in [0, 1].
        face_score: Confidence of the face filter that this is a face, in [0, 1].
        quality: How well the face can be judged.
        explanation: What the score is based on, in the model's own quantities; only with `--explain`, and for
            pictured faces with `--evidence`. With several models, by the name of each.
    """

    index: Count
    pts: float
    track: Count
    score: Share | None
    scores: Annotated[Mapping[str, Share] | None, OMIT] = None
    box: tuple[float, float, float, float]
    landmarks: tuple[Point, Point, Point, Point, Point]
    probability: Share
    face_score: Share = 1.0
    quality: FaceQuality
    explanation: Annotated[Explanation | Mapping[str, Explanation] | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyFrame(JsonObject):
    """A sampled frame in which no face was found.

    Attributes:
        index: Index of the frame, from 0 in the order of presentation.
        pts: Presentation time of the frame, in seconds from the first frame.
        track: Always null.
        score: Always null.
        box: Always null.
        landmarks: Always null.
    """

    index: Count
    pts: float
    track: None = None
    score: None = None
    box: None = None
    landmarks: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScore(JsonObject):
    """The result of one of several models for a person, or for a person in one shot.

    Attributes:
        score: Probability of fake in [0, 1], calibrated if the model is.
        raw: Mean of the raw scores of the faces that count, in [0, 1].
    """

    score: Share | None
    raw: Share | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackShot(JsonObject):
    """A person in one shot.

    Attributes:
        shot: `id` of the shot.
        score: The person's score in this shot alone, in [0, 1]; null without a model.
        raw: Mean of the raw scores of the faces that count, in [0, 1]; null without a model.
        sightings: Number of sampled frames of the shot that show the person.
        used: Number of them whose face counts for the score.
        scores: With several models, what each says.
    """

    shot: Count
    score: Share | None
    raw: Share | None
    sightings: Positive
    used: Count
    scores: Annotated[Mapping[str, ModelScore] | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Track(JsonObject):
    """A person: the faces in the sampled frames that belong together.

    Attributes:
        id: Number of the person in this video, from 0.
        score: Probability of fake in [0, 1], calibrated if the record's `calibrated` is true; null without a
            model.
        raw: Mean of the raw scores of the faces that count, in [0, 1]; null without a model.
        sightings: Number of sampled frames that show the person.
        used: Number of them whose face counts for the score: those of sufficient quality, or all if none is.
        poor: Whether no face is of sufficient quality.
        face_score: Confidence of the face filter that this is a face, in [0, 1]: the median over the frames.
        still: Whether the face never moves, as in a photograph.
        quality: How well the faces can be judged: the median of each figure.
        first: Presentation time of the first sighting, in seconds.
        last: Presentation time of the last one.
        shots: The person in each shot that shows them.
        worst_shot: `id` of the shot with the highest score; null with one shot, or if none can be judged.
        counted: Whether the video's score may come from this person.
        reason: Why not: `no_face`, it is not a face; `still`, a photograph next to living faces; `seldom`,
            seen in too few frames; `poor`, never seen well. Null if the person counts.
        scores: With several models, what each says.
        worst_shots: With several models, the worst shot by each.
    """

    id: Count
    score: Share | None
    raw: Share | None
    sightings: Positive
    used: Positive
    poor: bool
    face_score: Share = 1.0
    still: bool = False
    quality: FaceQuality
    first: float
    last: float
    shots: tuple[TrackShot, ...] = ()
    worst_shot: int | None = None
    counted: bool = True
    reason: Aside | None = None
    scores: Annotated[Mapping[str, ModelScore] | None, OMIT] = None
    worst_shots: Annotated[Mapping[str, int | None] | None, OMIT] = None

    @property
    def label(self) -> str:
        """What pages and tables for people call it, who count from 1: `person 1`."""
        return track_label(self.id, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot(JsonObject):
    """Sampled frames that follow one another without a cut between them.

    Attributes:
        id: Number of the shot, from 0 in the order of time.
        first: Index of its first sampled frame.
        last: Index of its last sampled frame.
        start: Presentation time of the first, in seconds.
        end: Presentation time of the last, in seconds.
    """

    id: Count
    first: Count
    last: Count
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials(JsonObject):
    """Content Credentials (C2PA) of a file: what its manifest claims. They move no score.

    Attributes:
        state: `valid`, `trusted`, `invalid` or `unknown`; `unreadable` where the manifest cannot be read.
        generator: Software that made the claim.
        title: Title of the file.
        signer: Name in the certificate that signed it.
        issuer: Who issued the certificate.
        signed: Time of the signature.
        actions: What was done to the file, such as `c2pa.created`, with the type of the source.
        ingredients: How many other files it was made of.
        problems: Codes of what does not validate.
    """

    state: str
    generator: Annotated[str | None, OMIT] = None
    title: Annotated[str | None, OMIT] = None
    signer: Annotated[str | None, OMIT] = None
    issuer: Annotated[str | None, OMIT] = None
    signed: Annotated[str | None, OMIT] = None
    actions: Annotated[tuple[str, ...] | None, OMIT] = None
    ingredients: Annotated[Count | None, OMIT] = None
    problems: Annotated[tuple[str, ...] | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Media(JsonObject):
    """Facts about a video or picture, and how it was sampled.

    Attributes:
        container: Format of the file as FFmpeg names it, such as `mov,mp4,m4a,3gp,3g2,mj2`.
        codec: Codec of the video stream, such as `h264`.
        pixel_format: Pixel format, such as `yuv420p10le`.
        width: Width in pixels as displayed, with square pixels and the rotation applied; boxes and landmarks
            are in these pixels.
        height: Height in pixels as displayed.
        stored_width: Width in pixels as stored.
        stored_height: Height in pixels as stored.
        pixel_aspect: Width of a stored pixel divided by its height, a fraction such as `1/1`.
        rotation: Degrees clockwise by which players turn the frames.
        mirrored: Whether players mirror them left to right as well.
        transfer: Transfer characteristics as FFmpeg names them, such as `smpte2084` (HDR); null if unknown.
        field_order: `progressive`, `interlaced`, or the order of the fields: `tt`, `bb`, `tb` or `bt`.
        start: Presentation time in seconds that the file gives its first frame, null if none.
        fps: Average frame rate, a fraction such as `30000/1001`; null for a picture.
        duration: Seconds from the first frame to the end of the last one, null for a picture.
        frames_stated: Number of frames by the file's header, null if it has none.
        frames_decodable: Number of frames whose data are in the file.
        keyframes: Number of keyframes among them.
        other_videos: Number of further video streams, which are not scanned.
        encoder: Software that made the file, by the file itself; null if it does not say.
        created: When it was made, by the file itself.
        device: Camera or phone, by the file itself.
        duration_stated: Seconds by the file's header, null if it has none.
        keyframe_gaps: Smallest, median and largest number of frames from one keyframe to the next; null with
            one keyframe.
        edits: Edit list of the file: seconds of each part, its start in the stored stream (null: nothing is
            shown), and its rate.
        credentials: Content Credentials (C2PA) of the file; null if it has none, or c2pa-python is missing.
        frames_sampled: Number of frames that were to be looked at.
        frames_decoded: Number of frames that were decoded and looked at.
        decoder: Decoder that gave the frames, null if none did.
    """

    container: str
    codec: str
    pixel_format: str
    width: Positive
    height: Positive
    stored_width: Positive
    stored_height: Positive
    pixel_aspect: Ratio
    rotation: Literal[0, 90, 180, 270]
    mirrored: bool
    transfer: str | None
    field_order: str
    start: float | None
    fps: Ratio | None
    duration: float | None
    frames_stated: int | None
    frames_decodable: Count
    keyframes: Count
    other_videos: Count
    encoder: str | None = None
    created: str | None = None
    device: str | None = None
    duration_stated: float | None = None
    keyframe_gaps: tuple[int, int, int] | None = None
    edits: tuple[tuple[float, float | None, float], ...] = ()
    credentials: Credentials | None = None
    frames_sampled: Count
    frames_decoded: Count
    decoder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedModel(JsonObject):
    """The model that judged a video. Of several models together, only name and method.

    Attributes:
        name: Name of the model; of several, their names joined by `+`.
        method: Method of the model, such as `corit`; `fused` for several.
        sha256: SHA-256 of the file with its weights.
        engine: What ran it: `onnx`, `torch`, `torch-compile` or `tensorrt`.
        device: `cpu` or `cuda`.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
    """

    name: str
    method: str
    sha256: Annotated[Sha256 | None, OMIT] = None
    engine: Annotated[str | None, OMIT] = None
    device: Annotated[str | None, OMIT] = None
    precision: Annotated[str | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult(UsedModel):
    """One of several models, and its result for the video.

    Attributes:
        verdict: Verdict by this model alone; null where the video has none.
        score: Score by this model alone, in [0, 1]; null likewise.
        calibrated: Whether that score is calibrated.
        vote: Whether it has a vote in the joint verdict: it is calibrated, and not near chance by its own
            card next to a better model.
        no_vote: Why it has no vote although it is calibrated.
    """

    verdict: Verdict | None
    score: Share | None
    calibrated: bool
    vote: Annotated[bool | None, OMIT] = None
    no_vote: Annotated[str | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPicture(JsonObject):
    """A picture that `--evidence` kept in the folder `*.pictures` next to the records.

    Attributes:
        kind: `frame`, the whole frame, or `face`, a crop as the model saw it.
        index: Index of the frame.
        pts: Presentation time of the frame, in seconds.
        scale: Of a frame: pixels of the picture for each pixel of the frame.
        track: Of a face: `id` of the track.
        models: Of a face: names of the models that saw this crop.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        file: Name of the file in the folder.
        bytes: Size of the file in bytes.
        sha256: SHA-256 of the file.
    """

    kind: Literal["frame", "face"]
    index: Count
    pts: float
    scale: Annotated[Annotated[float, Limit("exclusiveMinimum", 0), Limit("maximum", 1)] | None, OMIT] = None
    track: Annotated[Count | None, OMIT] = None
    models: Annotated[tuple[str, ...] | None, OMIT] = None
    width: Positive
    height: Positive
    file: str
    bytes: Positive
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Record(JsonObject):
    """What a scan found in one video or picture.

    Attributes:
        schema: Version of the record.
        path: Absolute path of the file as text; links are not followed. Or the address of an object.
        path_bytes: The path in hexadecimal, only where it is not valid UTF-8: `path` is not exact then.
        sha256: SHA-256 of the file, null if it could not be read.
        bytes: Size of the file in bytes, null if it could not be read.
        mtime_ns: When the file was last modified, in nanoseconds since 1970, as it was when the scan opened
            it; null if it could not be read, for objects of a store, and in records of earlier versions.
        etag: ETag of an object of a store; missing for files.
        copied_from: Path of the file with equal content whose results these are: it was scanned in the same
            run, and this one was not decoded. Missing in all other records.
        status: `ok`; `no_face` and `too_short`, which are outcomes too; or why the file could not be scanned:
            `decode_error`, `timeout`, `unsupported`, `changed` (during the scan), `error`.
        detail: Why the status is not `ok`, in one line; else empty.
        warnings: What weakens the result although the status is `ok`, a line each. One about a person names
            the track by its `id`.
        verdict: `fake`, `inconclusive` or `no_evidence`; null unless the status is `ok` and a model was used.
        score: Probability of fake in [0, 1], of the person with the highest score among those who count; null
            like the verdict. Never a number for a file that failed.
        calibrated: Whether the score is calibrated. A model without calibration is always `inconclusive`.
        tracks: The persons.
        frames: The faces in the sampled frames, and the sampled frames without a face, in the order of time.
        shots: Runs of sampled frames without a cut between them.
        media: Facts about the file, null if it could not be opened.
        model: The model; null without one.
        models: With several models, what each says.
        pictures: Pictures kept by `--evidence`; missing without that option.
        run: Identifier of the run, `id` in its `run.json`.
        started: When the scan of this file began, UTC, ISO 8601.
        seconds: Seconds spent in each stage, such as `hash`, `decode`, `faces`, `detector`; `total` is the
            time from beginning to end. The CPU time of a stage, of all its threads, has `_cpu` added, such as
            `decode_cpu`; records of earlier versions have none.
    """

    schema: Literal[1] = 1
    path: str
    path_bytes: Annotated[Annotated[str, Limit("pattern", "^([0-9a-f]{2})+$")] | None, OMIT] = None
    sha256: Sha256 | None
    bytes: Count | None
    mtime_ns: int | None = None
    etag: Annotated[str | None, OMIT] = None
    copied_from: Annotated[str | None, OMIT] = None
    status: Status
    detail: str
    warnings: tuple[str, ...]
    verdict: Verdict | None
    score: Share | None
    calibrated: bool
    tracks: tuple[Track, ...]
    frames: tuple[FaceScore | EmptyFrame, ...]
    shots: tuple[Shot, ...] = ()
    media: Media | None
    model: UsedModel | None
    models: Annotated[tuple[ModelResult, ...], OMIT] = ()
    pictures: Annotated[tuple[SavedPicture, ...] | None, OMIT] = None
    run: str
    started: Annotated[str, Limit("format", "date-time")]
    seconds: Mapping[str, Annotated[float, Limit("minimum", 0)]]

    def __post_init__(self) -> None:
        if self.status != "ok" and (self.score is not None or self.verdict is not None):
            raise ValueError(f"a video with status {self.status!r} has no score and no verdict")
        if self.status != "ok" and not self.detail:
            raise ValueError(f"a video with status {self.status!r} needs a detail that says why")
        if self.score is not None and not (math.isfinite(self.score) and 0 <= self.score <= 1):
            raise ValueError(f"a score is in [0, 1], not {self.score}")

    def __repr__(self) -> str:
        # Without the lists: a notebook shows it, and a video may have thousands of faces.
        shown = {name: getattr(self, name) for name in ("path", "status", "verdict", "score")}
        counts = f"{len(self.tracks)} tracks, {len(self.faces)} faces"
        return f"<Record {' '.join(f'{name}={value!r}' for name, value in shown.items())}, {counts}>"

    @property
    def file(self) -> Path:
        """Path of the file, exact even where it is not valid UTF-8."""
        raw = self.path.encode() if self.path_bytes is None else bytes.fromhex(self.path_bytes)
        return Path(os.fsdecode(raw))

    @property
    def faces(self) -> tuple[FaceScore, ...]:
        """The faces in the sampled frames, without the frames that have none."""
        return tuple(line for line in self.frames if isinstance(line, FaceScore))

    def to_line(self) -> str:
        """Return the record as its line in a `.jsonl` file, without the newline."""
        return json.dumps(self.to_json(), allow_nan=False, separators=(",", ":"))
