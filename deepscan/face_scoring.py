"""The Python API of faces: find them in a picture, and score them with a model."""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscan import arguments
from deepscan.api import DeviceName, EngineName, FaceSearch, PrecisionName, StrPath
from deepscan.arguments import wrong_type
from deepscan.batching import AdaptiveBatcher
from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.crop_recipe import CropRecipe
from deepscan.devices import FACE_DEVICES
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError, UsageError, require_choice
from deepscan.faces.align import align
from deepscan.faces.face import Detection
from deepscan.faces.face_filter import WITH_MARGIN, FaceFilter, filter_crop
from deepscan.faces.finder import open_finder
from deepscan.media.frames import Image
from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FrameReady
from deepscan.media.pool import DecodePool
from deepscan.outcomes import Verdict
from deepscan.records import Point
from deepscan.scanning.aggregation import verdict
from deepscan.scanning.loading import load_scorer, model_name, with_model
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.paths import collect
from deepscan.scanning.sources import fetch_object, is_object
from deepscan.storage.copies import Copy
from deepscan.storage.errors import ObjectError

_CUT = "cut them with FoundFace.crop(detector)"
_OF_DETECTOR = "pass what Detector.score returns"


class Detector:
    """A model that scores faces; `load_detector` returns one. Its golden score has been checked.

    Attributes:
        name: Name of the model.
        method: Method of the model, such as `corit`.
        engine: What runs it: `onnx`, `torch`, `torch-compile` or `tensorrt`.
        device: `cpu` or `cuda`.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        crop: How its faces are cut out of a picture.
        side: Width and height of a crop in pixels.
        calibration: What turns raw scores into calibrated ones, with the thresholds of verdicts; None if the
            model has none.
        not_for: What the model must not be used for.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._batches = AdaptiveBatcher(scorer.batch)
        self.name: str = scorer.card.name
        self.method: str = scorer.card.method
        self.engine: str = scorer.engine.name
        self.device: str = scorer.engine.device
        self.precision: str = scorer.engine.precision
        self.crop: CropRecipe = scorer.recipe
        self.side: int = scorer.recipe.input_side
        self.calibration: Calibration | None = scorer.card.calibration
        self.not_for: tuple[str, ...] = scorer.card.not_for

    def __repr__(self) -> str:
        runs = f"{self.engine} on {self.device} in {self.precision}"
        return f"<Detector {self.name!r}, {self.method}, {runs}>"

    def score(
        self, crops: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], *, calibrated: bool = False
    ) -> NDArray[np.float64]:
        """Return the probability of fake of each crop, shape (n,), in [0, 1].

        Raw scores, the default, are those of a record's `frames`. A record's tracks have the mean of the raw
        scores of a person's faces, calibrated: for that, calibrate the mean with `calibrate`.

        Args:
            crops: RGB, uint8, shape (n, side, side, 3), or as many pictures of shape (side, side, 3), such as
                `FoundFace.crop` cuts them.
            calibrated: Whether to return calibrated scores.

        Raises:
            UsageError: The crops have another shape or type; or the model has no calibration.
            ContractError: The model gave no finite score.
        """
        given: object = crops
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise wrong_type("crops", "an array or a list of pictures", given, _CUT)
        wanted = (self.side, self.side, 3)
        if isinstance(crops, np.ndarray) and crops.ndim == 3:
            raise UsageError(
                f"model {self.name!r} takes crops of shape {wanted} in a list, not a single picture",
                "pass a list: score([crop])",
            )
        batch = list(crops)
        for each in batch:
            shape, kind = np.shape(each), getattr(each, "dtype", None)
            if shape != wanted or kind != np.uint8:
                raise UsageError(
                    f"model {self.name!r} takes crops of shape {wanted} and type uint8, not {shape}, {kind}",
                    _CUT,
                )
        if calibrated and self.calibration is None:
            raise self._uncalibrated()
        scores = []
        for found in self._batches.run(lambda some: self._scorer.score(np.stack(some)).tolist(), batch):
            if isinstance(found, Exception):
                raise found
            scores.append(found)
        raw = np.array(scores, dtype=np.float64)
        if not np.isfinite(raw).all():
            raise ContractError(
                f"model {self.name!r} gave no finite score for a crop", "try another engine or precision"
            )
        return self.calibrate(raw) if calibrated else raw

    def calibrate(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Return calibrated scores, in [0, 1], of the shape of the raw ones.

        Args:
            raw: Raw scores in [0, 1].

        Raises:
            UsageError: The model has no calibration, or these are not scores.
        """
        if self.calibration is None:
            raise self._uncalibrated()
        return np.asarray(calibrate(_scores("raw", raw), self.calibration), dtype=np.float64)

    def verdict(self, calibrated: float) -> Verdict:
        """Return the verdict that a calibrated score means; always `inconclusive` without a calibration.

        A scan also asks that the face is seen often enough.

        Args:
            calibrated: In [0, 1].

        Raises:
            UsageError: This is not a score.
        """
        (score,) = _scores("calibrated", [calibrated]).tolist()
        return verdict(score, self.calibration)

    def _uncalibrated(self) -> UsageError:
        return UsageError(f"model {self.name!r} has no calibration", "use its raw scores, or another model")


def load_detector(
    model: StrPath = "auto",
    *,
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
) -> Detector:
    """Load a model to score crops of faces with.

    Args:
        model: Name or folder of the model; `"auto"` for the best that is installed and fast enough here.
        engine: What runs it.
        device: Device that it runs on.
        precision: Precision that it runs in.

    Raises:
        UsageError: There is no such model, or it scores no faces.
        MissingError: The model, a package or the device is missing.
        ContractError: The model's files do not match its card.
    """
    arguments.strings(engine=engine, device=device, precision=precision)
    require_choice("precision", (precision,), get_args(PrecisionName))
    options = ScanOptions(model=model_name(model), engine=engine, device=device, precision=precision)
    options, _ = with_model(options)
    return Detector(load_scorer(options))


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face in a picture.

    Attributes:
        box: Left, top, right and bottom, in pixels of the picture; may reach past its edge.
        landmarks: Eye on the left of the picture, the other eye, nose, mouth corner on the left, the other
            one: x and y of each, in pixels.
        confidence: Confidence of the face finder, in [0, 1].
        face_score: Confidence of the face filter that this is a face, in [0, 1].
        image: The picture, RGB, shape (h, w, 3), uint8.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[Point, Point, Point, Point, Point]
    confidence: float
    face_score: float
    image: Image = field(repr=False)

    def crop(self, detector: Detector | CropRecipe) -> Image:
        """Return the aligned face as a detector takes it, RGB, shape (side, side, 3), uint8.

        Args:
            detector: The detector, or a recipe such as `Detector.crop`.
        """
        recipe = detector.crop if isinstance(detector, Detector) else detector
        return align(self.image, np.array(self.landmarks, dtype=np.float32), recipe)


def find_faces(
    image: StrPath | NDArray[np.uint8],
    *,
    faces: FaceSearch = "fast",
    device: Literal["cpu", "cuda"] = "cpu",
    filtered: bool = True,
) -> list[FoundFace]:
    """Return the faces in a picture, the largest first, as a scan finds them.

    Args:
        image: RGB, shape (h, w, 3), uint8; or the path or address of a picture, which is decoded upright in
            a separate process. Of a video, the frame in the middle is searched.
        faces: As for `scan`.
        device: Device of the face finder.
        filtered: Whether to leave out detections that the face filter rejects.

    Raises:
        UsageError: The file does not exist, gives no picture, or the array has another shape or type; or an
            argument has an unknown value.
        MissingError: A package or the device is missing.
    """
    arguments.strings(faces=faces, device=device)
    require_choice("device", (device,), FACE_DEVICES)
    given: object = image
    if not isinstance(given, str | os.PathLike | np.ndarray):
        wanted = "a path or an array of RGB pixels"
        raise wrong_type("image", wanted, given, "name a picture, or decode it first")
    pixels = np.ascontiguousarray(image) if isinstance(image, np.ndarray) else _decoded(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise UsageError(
            f"a picture has shape (h, w, 3) and type uint8, not {pixels.shape} and {pixels.dtype}",
            "convert it to RGB with 8 bits a channel",
        )
    (found,) = open_finder(faces, device=device).detect([pixels])
    face_filter = FaceFilter()
    around = [align(pixels, each.landmarks, WITH_MARGIN) for each in found]
    scores = face_filter.score([filter_crop(each) for each in around]).tolist()
    return [
        _found(each, score, pixels)
        for each, score in zip(found, scores, strict=True)
        if not filtered or score >= face_filter.least
    ]


def _found(detection: Detection, face_score: float, image: Image) -> FoundFace:
    left, top, right, bottom = detection.box.tolist()
    points = [(x, y) for x, y in detection.landmarks.tolist()]
    eye, other, nose, corner, last = points
    return FoundFace(
        (left, top, right, bottom), (eye, other, nose, corner, last), detection.probability, face_score, image
    )


def _scores(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return scores as an array.

    Raises:
        UsageError: They are not numbers from 0 to 1.
    """
    try:
        scores = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise wrong_type(name, "numbers", value, _OF_DETECTOR) from None
    for outside in scores[~((scores >= 0) & (scores <= 1))][:1]:
        raise UsageError(f"{name} must be from 0 to 1, not {outside}", _OF_DETECTOR)
    return scores


def _decoded(path: StrPath) -> Image:
    """Return the picture in a file, upright, decoded in a separate process, since the file may be hostile."""
    if os.path.isdir(path):
        raise UsageError(f"{os.fspath(path)!r} is a folder", "name one picture")
    found = collect([os.fspath(path)]).paths
    if len(found) != 1:
        raise UsageError(f"{os.fspath(path)!r} names {len(found)} pictures", "name one picture")
    with ExitStack() as stack:
        job = DecodeJob(0, found[0])
        if is_object(found[0]):
            job = replace(job, file=stack.enter_context(closing(_fetched(os.fsdecode(found[0])))).file)
        pool = stack.enter_context(DecodePool(DecodeOptions(frames=1), 1))
        pool.submit(job)
        image = None
        while True:
            for event in pool.poll(0.5):
                if isinstance(event, FrameReady):
                    image = event.frame.image.copy()
                    event.release()
                elif isinstance(event, Ended):
                    if image is None or event.report.status != "ok":
                        raise UsageError(
                            f"{os.fspath(path)!r} gives no picture: {event.report.detail}", "name a picture"
                        )
                    return image


def _fetched(address: str) -> Copy:
    try:
        return fetch_object(address).copy
    except ObjectError as failure:
        raise failure.of_run(address) from failure
