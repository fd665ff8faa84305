"""The file that describes a run, `*.run.json` next to its records: typed, and read back as it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from deepscan.json_objects import OMIT, JsonObject, Limit
from deepscan.records import Count, Positive, Sha256, Share

Time = Annotated[str, Limit("format", "date-time")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTool(JsonObject):
    """The program that made the records.

    Attributes:
        name: Its name, `deepscan`.
        version: Its version.
        commit: The commit that is checked out, null if it does not run from a checkout.
    """

    name: str
    version: str
    commit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCustody(JsonObject):
    """Whose evidence the files are. It moves no score.

    Attributes:
        case: Number or name of the case, from `--case`.
        exhibit: Number or name of the exhibit, from `--exhibit`.
        examiner: Who examines them, from `--examiner`.
    """

    case: str | None
    exhibit: str | None
    examiner: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuality(JsonObject):
    """Which faces are good enough to count.

    Attributes:
        min_size: Smallest side of a face's box, in pixels.
        min_sharpness: Lowest sharpness.
        max_pose: Largest pose, in [0, 1].
        min_probability: Lowest confidence of the face finder, in [0, 1].
    """

    min_size: float
    min_sharpness: float
    max_pose: Share
    min_probability: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParameters(JsonObject):
    """The parameters of a scan, those that were not given with their defaults.

    Attributes:
        model: Name or folder of the model.
        also: Names or folders of further models.
        frames: Number of frames to sample from each video.
        faces: How faces are searched: `fast`, `exact` or `facenet`.
        faces_device: Device of the face finder.
        decoder: `auto`, or the only decoder used.
        engine: `auto`, or the engine asked for.
        device: `auto`, or the device asked for.
        precision: `auto`, or the precision asked for.
        min_frames: A video with fewer decodable frames is `too_short`.
        min_share: Share of the sampled frames, in [0, 1], that must show a face that counts.
        timeout: Seconds that decoding a file may take.
        max_megapixels: Files with larger frames are `unsupported`.
        explain: Whether faces have explanations.
        evidence: Whether pictures were kept.
        quality: Which faces are good enough to count.
    """

    model: str
    also: tuple[str, ...] = ()
    frames: Positive
    faces: str
    faces_device: str = "cpu"
    decoder: str
    engine: str
    device: str
    precision: str
    min_frames: Positive
    min_share: Share
    timeout: float
    max_megapixels: float
    explain: bool = False
    evidence: bool = False
    quality: RunQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChoice(JsonObject):
    """The model that was chosen because none was named.

    Attributes:
        model: Its name.
        reason: Why this one.
    """

    model: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCrop(JsonObject):
    """How faces are cut out for a model.

    Attributes:
        side: Width and height of a crop in pixels.
        scale: How much wider the crop is than the aligned face.
        shift: How far the crop is moved, right and down, in sides.
        interpolation: How pixels are read.
        border: What is beyond the edge of the frame.
        resize: Side to which the crop is resized for the network, null if it is not.
    """

    side: Positive
    scale: float
    shift: tuple[float, float]
    interpolation: str
    border: str
    resize: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCalibration(JsonObject):
    """What turns raw scores into calibrated ones, and the thresholds of verdicts.

    Attributes:
        level: What a sample of the fit was: `frame` or `video`.
        data: The data that it was fitted on.
        n: Number of samples.
        rule: How the thresholds were chosen.
        temperature: What the logit of a raw score is divided by.
        no_evidence: Calibrated scores below this give the verdict `no_evidence`.
        fake: Calibrated scores of at least this give the verdict `fake`.
        method: `temperature` (also where it is missing) or `isotonic`.
        knots: Of an isotonic calibration: raw scores, each with its calibrated score.
    """

    level: Literal["frame", "video"]
    data: str
    n: Count
    rule: str
    temperature: float
    no_evidence: Share
    fake: Share
    method: Annotated[Literal["temperature", "isotonic"] | None, OMIT] = None
    knots: Annotated[tuple[tuple[float, float], ...] | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunErrorRates(JsonObject):
    """Verdicts of a model on samples whose truth is known, counted.

    Attributes:
        data: What the samples are.
        level: What a sample is: `frame` or `video`.
        reals: Number of real samples.
        reals_called_fake: Number of them with the verdict `fake`.
        fakes: Number of fake samples.
        fakes_called_fake: Number of them with the verdict `fake`.
        fakes_no_evidence: Number of them with the verdict `no_evidence`.
        reals_no_evidence: Number of real samples with the verdict `no_evidence`; missing if not counted.
    """

    data: str
    level: Literal["frame", "video"]
    reals: Count
    reals_called_fake: Count
    fakes: Count
    fakes_called_fake: Count
    fakes_no_evidence: Count
    reals_no_evidence: Annotated[Count | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunModel(JsonObject):
    """A model, as its card describes it.

    Attributes:
        name: Its name.
        method: Its method.
        license: SPDX identifier of the weights' license.
        files: SHA-256 of each file, by what the file is for.
        crop: How faces are cut out for it.
        calibration: Its calibration and thresholds, null if it has none.
        error_rates: How often its verdicts were wrong on data whose truth is known.
        not_for: What it must not be used for.
        cautions: What a reader of its verdicts must know.
        evidence: Names of what it gives as an explanation.
    """

    name: str
    method: str
    license: str
    files: Mapping[str, Sha256]
    crop: RunCrop | None
    calibration: RunCalibration | None
    error_rates: tuple[RunErrorRates, ...] = ()
    not_for: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJointModel(JsonObject):
    """Several models together.

    Attributes:
        name: Their names, joined by `+`.
        method: Always `fused`.
        rule: How their scores and verdicts are joined.
    """

    name: str
    method: Literal["fused"]
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFaceModel(JsonObject):
    """A network that finds, filters or compares faces.

    Attributes:
        name: Its name.
        method: Its method.
        license: SPDX identifier of the weights' license.
        files: SHA-256 of each file.
        crop: Always null.
        device: Of the face finder: the device that it ran on.
        least: Of the face filter: the lowest score that counts as a face, in [0, 1].
        alike: Of the comparison of faces: how alike the faces of one person are at least.
    """

    name: str
    method: str
    license: str
    files: Mapping[str, Sha256]
    crop: RunCrop | None
    device: Annotated[str | None, OMIT] = None
    least: Annotated[Share | None, OMIT] = None
    alike: Annotated[float | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEngine(JsonObject):
    """What ran a model.

    Attributes:
        name: Name of the engine: `onnx`, `torch`, `torch-compile` or `tensorrt`.
        device: `cpu` or `cuda`.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        chosen: Why `auto` stands for this precision, empty if the precision was named.
        providers: What executes the network, in order, such as ONNX Runtime's execution providers.
        details: Versions and what the engine offers here.
    """

    name: str
    device: str
    precision: str
    chosen: str
    providers: tuple[str, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs(JsonObject):
    """What a session was asked to scan.

    Attributes:
        named: Files and folders, absolute.
        lists: Files with lists of paths, absolute.
        stdin: Whether a list came on stdin.
        null: Whether the lists are separated by NUL bytes.
        folder: Folder that the paths of a list are relative to.
    """

    named: tuple[str, ...]
    lists: tuple[str, ...]
    stdin: bool
    null: bool
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMachine(JsonObject):
    """The machine of a session.

    Attributes:
        system: Operating system.
        python: Version of Python.
        cores: Number of CPU cores, null if unknown.
        nvidia_driver: Version of the NVIDIA driver, null without one.
    """

    system: str
    python: str
    cores: int | None
    nvidia_driver: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSession(JsonObject):
    """One start of the command; a resumed run has several.

    Attributes:
        command: The command line.
        folder: Current folder, null if it had been removed.
        started: When it began, UTC, ISO 8601.
        ended: When it ended, UTC; null while it runs, or if it was killed.
        exit_code: Exit code of the command, null likewise.
        videos: Number of files that this session had to scan.
        kept: Number of records that it kept from earlier sessions.
        timeout: Seconds that decoding a file may take.
        workers: Number of processes that decode.
        frame_buffer: What frames are passed in: `memory`, or `file` for a temporary file; null in a run
            folder if nothing was left to scan.
        inputs: What it was asked to scan.
        inputs_checked: How it was decided which records of earlier sessions are kept: with `mtime`, a file
            has the recorded size and time of modification, or else the recorded hash; with `sha256`, every
            file was hashed. Null if there were no records.
        libraries: Version of each library.
        machine: The machine.
        id: Identifier of the session; only in a run folder.
        shard: The share of the run, such as `1/4`; only in a run folder.
        ray: Version of Ray; only of a driver that has started workers on a cluster.
        driver: Identifier of the driver's session; only of a worker on a cluster.
    """

    command: tuple[str, ...]
    folder: str | None
    started: Time
    ended: Time | None
    exit_code: int | None
    videos: Count
    kept: Count
    timeout: float
    workers: Positive
    frame_buffer: Literal["memory", "file"] | None
    inputs: RunInputs | None = None
    inputs_checked: Literal["mtime", "sha256"] | None = None
    libraries: Mapping[str, str]
    machine: RunMachine
    id: Annotated[str | None, OMIT] = None
    shard: Annotated[str | None, OMIT] = None
    ray: Annotated[str | None, OMIT] = None
    driver: Annotated[str | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifestFile(JsonObject):
    """A file of the manifest of a run folder.

    Attributes:
        name: Its name in the folder `manifest`.
        rows: Number of its rows.
        sha256: SHA-256 of the file.
    """

    name: str
    rows: Positive
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest(JsonObject):
    """The videos of a run folder, in order.

    Attributes:
        rows: Number of videos.
        chunk: Number of videos in a chunk; the last one may have fewer.
        digest: SHA-256 of all rows.
        files: The files with the rows.
    """

    rows: Positive
    chunk: Positive
    digest: Sha256
    files: tuple[RunManifestFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeal(JsonObject):
    """The state of the records when the run ended, so that a later change shows.

    Attributes:
        count: Number of records.
        bytes: Size of the file of records, or of all parts of a run folder.
        sha256: SHA-256 of the file of records, or over the names and hashes of the parts.
        table: Name of the table that was made of them, null if there is none.
        run: Identifier of the run; only in a run folder.
        parts: Number of parts; only in a run folder.
    """

    count: Count
    bytes: Count
    sha256: Sha256
    table: str | None = None
    run: Annotated[str | None, OMIT] = None
    parts: Annotated[Positive | None, OMIT] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription(JsonObject):
    """Everything that decided the outcome of a scan, and when it ran.

    Attributes:
        schema: Version of this file.
        id: Identifier of the run, `run` in its records.
        tool: The program.
        custody: Whose evidence the files are.
        parameters: The parameters.
        choice: The model that was chosen, null if one was named.
        model: The model, or several together; null without one.
        faces: The face finder.
        face_filter: The network that decides which of the faces found are faces.
        looks: What recognises a person in another shot.
        engine: What ran the model; null without one, and with several.
        models: With several models, each by its name.
        engines: With several models, what ran each.
        seed: Always null: nothing in a scan is random.
        sessions: The starts of the command.
        records: State of the records when the run ended, null while it runs.
        own_sha256: SHA-256 of the rest of this file, as canonical JSON.
        inputs: What the run was begun with; only in a run folder.
        manifest: The videos; only in a run folder.
    """

    schema: Literal[1]
    id: str
    tool: RunTool
    custody: RunCustody | None = None
    parameters: RunParameters
    choice: RunChoice | None
    model: RunModel | RunJointModel | None
    faces: RunFaceModel
    face_filter: RunFaceModel | None = None
    looks: RunFaceModel | None = None
    engine: RunEngine | None
    models: Annotated[Mapping[str, RunModel] | None, OMIT] = None
    engines: Annotated[Mapping[str, RunEngine] | None, OMIT] = None
    seed: None
    sessions: tuple[RunSession, ...]
    records: RunSeal | None = None
    own_sha256: Annotated[Sha256 | None, OMIT] = None
    inputs: Annotated[RunInputs | None, OMIT] = None
    manifest: Annotated[RunManifest | None, OMIT] = None
