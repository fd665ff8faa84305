"""Cuts the faces of source videos into aligned crops on disk: decode -> find faces -> align -> write."""

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from deepscan.batching import run_isolating_failures
from deepscan.crop_recipe import CropRecipe
from deepscan.data.crops.crop_pictures import find_landmarks
from deepscan.data.crops.prepared_files import Place
from deepscan.data.datasets.layout import pictures_in
from deepscan.errors import DeepscanError
from deepscan.faces.align import align, similarity
from deepscan.faces.face import Detection, Floats
from deepscan.faces.finder import FaceFinder
from deepscan.faces.following import FollowState
from deepscan.faces.stage import FRAME_BATCH, FaceStage
from deepscan.media.frames import DecodeReport, Frame, Image
from deepscan.media.jobs import DecodeJob, Ended, FrameReady
from deepscan.media.pool import DecodePool
from deepscan.outcomes import Status
from deepscan.scanning.summary import counted


@dataclass(frozen=True, slots=True)
class VideoToCrop:
    """A video, or a sequence of pictures, whose faces are to be cropped.

    Attributes:
        path: The video, or the folder of a sequence of pictures.
        place: Location of its crops.
        mask: Video or folder of pictures with the forged pixels of each frame; None without masks.
        pictures: Index and file of each sampled picture; empty for a video.
    """

    path: Path
    place: Place
    mask: Path | None = None
    pictures: tuple[tuple[int, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class CroppedVideo:
    """Outcome of a source video.

    Attributes:
        status: `ok` if it has at least one crop, else the reason why not.
        detail: One line for a status other than `ok`, else empty.
        warnings: Warnings for users of the crops, even if the status is `ok`.
        sha256: Hash of the file, or of the concatenated sampled pictures; None if unreadable.
        size: Size of the same in bytes.
        sampled: Number of sampled frames.
        indices: Indices of the frames with a crop, ascending.
        masks: Indices of those that have a mask too.
    """

    status: Status
    detail: str
    warnings: tuple[str, ...]
    sha256: str | None
    size: int | None
    sampled: int
    indices: tuple[int, ...]
    masks: tuple[int, ...]


@dataclass(slots=True, eq=False)
class CropState:
    """Progress of a source video.

    Attributes:
        source: The video.
        report: Report of its decoding; None until it has ended.
        waiting: Number of frames that wait for the face finder.
        failure: Error message of the stage that failed; empty on success.
        follow_state: Last positions of its faces.
        sampled: Number of sampled frames.
        landmarks: Index of each frame with a face -> its landmarks in pixels of the frame.
        size: Height and width of its frames.
        masked: Frames whose masks were written.
        unmasked: Reason why masks are missing, if known.
    """

    source: VideoToCrop
    report: DecodeReport | None = None
    waiting: int = 0
    failure: str = ""
    follow_state: FollowState = field(default_factory=FollowState)
    sampled: int = 0
    landmarks: dict[int, Floats] = field(default_factory=dict)
    size: tuple[int, ...] = ()
    masked: set[int] = field(default_factory=set)
    unmasked: str = ""


Emit = Callable[[VideoToCrop, CroppedVideo], None]


class VideoCropper:
    """Cuts the largest face out of each sampled frame of many videos, in the same way as a scan.

    Args:
        pool: The decoder processes; its options set the number of sampled frames.
        finder: The face finder.
        recipe: Crop recipe.
    """

    def __init__(self, pool: DecodePool, finder: FaceFinder, recipe: CropRecipe) -> None:
        self._pool = pool
        self._finder = finder
        self._recipe = recipe
        self._jobs = count()
        self._videos: dict[int, CropState] = {}
        self._faces: FaceStage[CropState] = FaceStage(finder)
        # Videos with known faces whose mask video waits for a decoder, or is being decoded.
        self._unmasked: deque[CropState] = deque()
        self._masks: dict[int, CropState] = {}

    def extract(self, sources: Iterable[VideoToCrop], emit: Emit) -> None:
        """Cut sources and report the outcome of each.

        Args:
            sources: The videos, each with a different place.
            emit: Called when a video has ended and all of its files are complete.

        Raises:
            DeepscanError: A file cannot be written.
        """
        queue = iter(sources)
        exhausted = False
        while not exhausted or self._videos or self._unmasked or self._masks:
            pictures = False
            while self._pool.idle and not pictures:
                if self._unmasked:
                    self._decode_masks(self._unmasked.popleft())
                    continue
                source = None if exhausted else next(queue, None)
                if exhausted := source is None:
                    break
                # Sequences are read in this process, so poll the decoders after each one.
                pictures = bool(source.pictures)
                self._begin(source, emit)
            may_wait = self._pool.busy and not self._faces and not pictures
            quiet = not self._take(self._pool.poll(0.5 if may_wait else 0.0), emit)
            if len(self._faces) >= FRAME_BATCH or (quiet and self._faces):
                self._faces.run(self._keep)
            for job in [job for job, video in self._videos.items() if video.report and not video.waiting]:
                self._end(self._videos.pop(job), emit)

    def _begin(self, source: VideoToCrop, emit: Emit) -> None:
        # An earlier attempt may have left different frames.
        source.place.clear()
        video = CropState(source)
        if source.pictures:
            self._read_pictures(video)
            self._end(video, emit)
        else:
            job = next(self._jobs)
            self._videos[job] = video
            self._pool.submit(DecodeJob(job, os.fsencode(source.path)))

    def _take(self, events: Sequence[object], emit: Emit) -> bool:
        for event in events:
            if not isinstance(event, FrameReady | Ended):
                continue
            job = event.job.id
            if isinstance(event, FrameReady) and job in self._videos:
                self._faces.add(self._videos[job], event)
            elif isinstance(event, FrameReady):
                grey = cv2.cvtColor(event.frame.image, cv2.COLOR_RGB2GRAY)
                self._keep_mask(self._masks[job], event.frame.index, np.asarray(grey, np.uint8))
                event.release()
            elif job in self._videos:
                self._videos[job].report = event.report
            else:
                video = self._masks.pop(job)
                video.unmasked = video.unmasked or event.report.detail
                emit(video.source, _concluded(video))
        return bool(events)

    def _keep(self, video: CropState, frame: Frame, faces: Sequence[Detection]) -> None:
        self._cut(video, frame.index, frame.image, faces[0].landmarks if faces else None)

    def _cut(self, video: CropState, index: int, image: Image, landmarks: Floats | None) -> None:
        video.sampled += 1
        if landmarks is None:
            return
        (crop,) = run_isolating_failures(
            lambda part: [align(image, points, self._recipe) for points in part], [landmarks]
        )
        if isinstance(crop, Exception):
            video.failure = f"cropping a face failed at frame {index}: {crop}"
            return
        place, points = video.source.place, io.BytesIO()
        _write(place.file("frames", index), _png(crop[..., ::-1]))
        np.save(points, in_crop(landmarks, self._recipe))
        _write(place.file("landmarks", index), points.getvalue())
        # Copy, since the landmarks are a view into those of a whole batch.
        video.landmarks[index], video.size = landmarks.copy(), image.shape[:2]

    def _read_pictures(self, video: CropState) -> None:
        pictures, lost = video.source.pictures, 0
        size, digest = 0, hashlib.sha256()
        for start in range(0, len(pictures), FRAME_BATCH):
            images = []
            for index, path in pictures[start : start + FRAME_BATCH]:
                content = _content(path)
                size += len(content)
                digest.update(content)
                bgr = _picture(content, cv2.IMREAD_COLOR)
                if bgr is None:
                    lost += 1
                else:
                    images.append((index, np.ascontiguousarray(bgr[..., ::-1])))
            found = run_isolating_failures(
                partial(find_landmarks, finder=self._finder), [image for _, image in images]
            )
            for (index, image), landmarks in zip(images, found, strict=True):
                if isinstance(landmarks, Exception):
                    video.failure = f"finding faces failed at frame {index}: {landmarks}"
                else:
                    self._cut(video, index, image, landmarks)
        all_lost, warning = lost == len(pictures), f"unreadable pictures: {lost} of {len(pictures)}"
        video.report = DecodeReport(
            status="decode_error" if all_lost else "ok",
            detail=f"none of the {lost} pictures can be read" if all_lost else "",
            warnings=(warning,) if lost and not all_lost else (),
            sha256=digest.hexdigest(),
            size=size,
            info=None,
            decoder=None,
            asked=len(pictures),
            decoded=len(pictures) - lost,
            seconds={},
        )

    def _end(self, video: CropState, emit: Emit) -> None:
        """Cut the masks of a video whose faces are known, if it has any, or emit its outcome."""
        mask = video.source.mask if _status(video)[0] == "ok" else None
        if mask is not None and not mask.is_dir():
            self._unmasked.append(video)
            return
        if mask is not None:
            self._read_masks(video, mask)
        emit(video.source, _concluded(video))

    def _decode_masks(self, video: CropState) -> None:
        assert video.source.mask is not None
        job = next(self._jobs)
        self._masks[job] = video
        path = os.fsencode(video.source.mask)
        self._pool.submit(DecodeJob(job, path, tuple(sorted(video.landmarks))))

    def _read_masks(self, video: CropState, folder: Path) -> None:
        ordered = pictures_in(folder)
        named = {path.stem: path for path in ordered}
        stems = {index: path.stem for index, path in video.source.pictures}
        for index in video.landmarks:
            # The masks of a sequence have the names of its pictures; those of a video are in frame order.
            path = named.get(stems[index]) if stems else next(iter(ordered[index : index + 1]), None)
            grey = None if path is None else _picture(_content(path), cv2.IMREAD_GRAYSCALE)
            if grey is None:
                video.unmasked = f"frame {index} has no readable mask in {folder}"
            else:
                self._keep_mask(video, index, grey)

    def _keep_mask(self, video: CropState, index: int, grey: Image) -> None:
        if grey.shape != video.size:
            (height, width), (h, w) = video.size, grey.shape
            video.unmasked = f"they are {w} x {h} pixels, but the frames {width} x {height}"
        elif index in video.landmarks:
            crop = align(grey, video.landmarks[index], self._recipe)
            _write(video.source.place.file("masks", index), _png(crop))
            video.masked.add(index)


def in_crop(landmarks: Floats, recipe: CropRecipe) -> Floats:
    """Transform landmarks from a frame to its aligned crop, shape (5, 2), float32.

    Args:
        landmarks: In pixels of the frame, shape (5, 2).
        recipe: Crop recipe.
    """
    matrix = similarity(landmarks, recipe.template)
    points = landmarks @ matrix[:, :2].T + matrix[:, 2]
    # Pixel coordinates refer to pixel centres.
    points = (points + 0.5) * (recipe.input_side / recipe.side) - 0.5
    scaled: Floats = points.astype(np.float32)
    return scaled


def _status(video: CropState) -> tuple[Status, str]:
    assert video.report is not None
    if video.report.status != "ok":
        return video.report.status, video.report.detail
    if video.failure:
        return "error", " ".join(video.failure.split())
    if not video.landmarks:
        return "no_face", f"no face was found in {counted(video.sampled, 'sampled frame')}"
    return "ok", ""


def _concluded(video: CropState) -> CroppedVideo:
    """Return the outcome of a video; remove its crops if it failed."""
    assert video.report is not None
    status, detail = _status(video)
    report, warnings = video.report, video.report.warnings
    if status != "ok":
        video.source.place.clear()
        return CroppedVideo(status, detail, warnings, report.sha256, report.size, video.sampled, (), ())
    missing = len(video.landmarks) - len(video.masked)
    if video.source.mask is not None and missing:
        reason = video.unmasked or "there are fewer masks than frames"
        warnings = (*warnings, f"missing masks: {missing} of {len(video.landmarks)}: {reason}")
    indices, masks = tuple(sorted(video.landmarks)), tuple(sorted(video.masked))
    return CroppedVideo("ok", "", warnings, report.sha256, report.size, video.sampled, indices, masks)


def _content(path: Path) -> bytes:
    """Return the content of a file; empty if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _picture(content: bytes, how: int) -> Image | None:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), how) if content else None
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _png(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", np.ascontiguousarray(image))[1])


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise DeepscanError(
            f"{path} cannot be written: {error.strerror}",
            "free some disk space or fix the permissions, then run the command again",
        )
