"""First stage of a scan: decode videos, find their faces and cut them out for the detectors."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deepscan.batching import run_isolating_failures
from deepscan.crop_recipe import CropRecipe
from deepscan.faces.align import align
from deepscan.faces.face import Detection, Face
from deepscan.faces.face_filter import WITH_MARGIN, FaceFilter, filter_crop, reference_crop
from deepscan.faces.finder import FaceFinder
from deepscan.faces.following import FollowState
from deepscan.faces.looks import look_crop
from deepscan.faces.quality import assess
from deepscan.faces.shots import thumbnail
from deepscan.faces.stage import FRAME_BATCH, FaceStage
from deepscan.faces.still import grey_crop
from deepscan.faces.tracks import appearance
from deepscan.media.frames import CPU_SUFFIX, DecodeReport, Frame, Image
from deepscan.media.jobs import DecodeJob, Ended, FrameReady, Hashed
from deepscan.media.pool import DecodePool
from deepscan.scanning.cpu_time import CpuClock, Lap
from deepscan.scanning.outcome import ExtractedVideo, FaceObservation
from deepscan.scanning.pictures import WITHOUT_MODEL, PictureBuffer
from deepscan.scanning.record_lines import utc_now

#: Most faces of a video whose crop for looks is kept: 40 MB.
LOOKS_KEPT = 1024
#: Number of faces of a video that go through the face filter together.
FILTER_BATCH = 32
#: Most faces in a `CropSlice`: 39 MB with crops of 224 pixels. A crowd's crops can be 240 MB.
SLICE_FACES = 256


@dataclass(frozen=True, slots=True, eq=False)
class CutFace:
    """A face on its way to the detectors of this process.

    Attributes:
        video: Id of its video's job.
        number: Its place among the observations of the video, from 0.
        observation: The face; it receives the scores.
        crops: A crop by each recipe.
    """

    video: int
    number: int
    observation: FaceObservation
    crops: Mapping[CropRecipe, Image]


@dataclass(frozen=True, slots=True, eq=False)
class CropSlice:
    """Crops of some faces of a video, on their way to the detectors of another process.

    Attributes:
        video: Id of the video's job.
        numbers: Places of the faces among the observations of the video, ascending.
        crops: Recipe -> crops of these faces, shape (n, side, side, 3), uint8.
    """

    video: int
    numbers: tuple[int, ...]
    crops: Mapping[CropRecipe, NDArray[np.uint8]]

    @classmethod
    def of(cls, faces: Sequence[CutFace]) -> Self:
        """Return the slice of some faces of one video, at least one."""
        crops = {recipe: np.stack([face.crops[recipe] for face in faces]) for recipe in faces[0].crops}
        return cls(faces[0].video, tuple(face.number for face in faces), crops)

    def faces(self, observations: Sequence[FaceObservation]) -> Iterator[CutFace]:
        """Yield the faces again.

        Args:
            observations: All observations of the video.
        """
        for place, number in enumerate(self.numbers):
            crops = {recipe: images[place] for recipe, images in self.crops.items()}
            yield CutFace(self.video, number, observations[number], crops)


@dataclass(slots=True, eq=False)
class VideoState:
    """A video whose faces are being found.

    Attributes:
        job: Its job.
        started: Time at which its scan began, UTC.
        sampled: Index and presentation time of each sampled frame.
        thumbnails: Thumbnail of each sampled frame, for finding shots.
        observations: The faces found.
        waiting: Number of frames that have not been through the face finder yet.
        report: How its decoding ended, None until then.
        failure: Error message of the stage that failed; empty on success.
        follow_state: State of following its faces.
        spent: Time spent on finding its faces.
        pictures: Pictures of its frames and faces, None if none are kept.
        with_look: The faces whose crop for looks is kept, each with the number of its frame.
        look_every: Such crops are kept from one frame in this many.
    """

    job: DecodeJob
    started: str = field(default_factory=utc_now)
    sampled: list[tuple[int, float]] = field(default_factory=list)
    thumbnails: list[Image] = field(default_factory=list)
    observations: list[FaceObservation] = field(default_factory=list)
    waiting: int = 0
    report: DecodeReport | None = None
    failure: str = ""
    follow_state: FollowState = field(default_factory=FollowState)
    spent: Lap = field(default_factory=Lap)
    pictures: PictureBuffer | None = None
    with_look: list[tuple[int, FaceObservation]] = field(default_factory=list)
    look_every: int = 1

    def keep_look(self, observation: FaceObservation) -> None:
        """Keep the crop for looks of a face in the latest frame, and drop some if there are too many.

        What is kept stays spread over the video, so that each of its shots has some.
        """
        self.with_look.append((len(self.sampled), observation))
        if len(self.with_look) > LOOKS_KEPT:
            self.look_every *= 2
        elif len(self.sampled) % self.look_every == 0:
            return
        for frame, seen in self.with_look:
            if frame % self.look_every:
                seen.face = replace(seen.face, look=None)
        self.with_look = [pair for pair in self.with_look if pair[0] % self.look_every == 0]

    def extracted(self) -> ExtractedVideo:
        """Return the video once its decoding has ended and its faces are found."""
        assert self.report is not None
        return ExtractedVideo(
            self.job.id,
            self.job.path,
            self.report,
            self.started,
            self.sampled,
            self.observations,
            self.failure,
            {**self.report.seconds, "faces": self.spent.seconds, "faces" + CPU_SUFFIX: self.spent.cpu},
            self.thumbnails,
            self.pictures,
        )


class ExtractStage:
    """First stage: decode videos, find their faces and cut them out.

    `run` works off jobs by itself. `Pipeline` takes the single steps instead, between those of `ScoreStage`.

    Args:
        pool: The isolated decoders.
        finder: The face finder.
        recipes: Crops to cut from each face; empty to only find faces.
        face_filter: Rejects false detections of the finder, None to accept them all.
        looks: Whether to keep crops by which persons are recognised in other shots.
        pictures: Whether to keep pictures of frames and faces.
        clock: Measures CPU time, the same for all stages of this process.
    """

    def __init__(
        self,
        pool: DecodePool,
        finder: FaceFinder,
        recipes: Collection[CropRecipe],
        face_filter: FaceFilter | None = None,
        *,
        looks: bool = False,
        pictures: bool = False,
        clock: CpuClock | None = None,
    ) -> None:
        self._clock = clock or CpuClock()
        self._pool = pool
        self._filter = face_filter
        self._looks, self._pictures = looks, pictures
        self._scored = bool(recipes)
        self._recipes = frozenset(recipes or ({WITHOUT_MODEL} if pictures else ()))
        self._faces: FaceStage[VideoState] = FaceStage(finder)
        self._videos: dict[int, VideoState] = {}
        self._hashed: deque[Hashed] = deque()

    @property
    def idle(self) -> int:
        """How many jobs can be started now."""
        return self._pool.idle

    @property
    def frames(self) -> int:
        """How many frames wait for the face finder."""
        return len(self._faces)

    def run(self, jobs: Iterable[DecodeJob], emit: Callable[[CropSlice | ExtractedVideo], None]) -> None:
        """Work off jobs.

        Args:
            jobs: The files, consumed as decoders become idle; each id once.
            emit: Called with the slices of a video's crops, and after the last one with the video.
        """
        queue, exhausted = iter(jobs), False
        cut: defaultdict[int, list[CutFace]] = defaultdict(list)

        def gather(face: CutFace) -> None:
            cut[face.video].append(face)
            if len(cut[face.video]) >= SLICE_FACES:
                emit(CropSlice.of(cut.pop(face.video)))

        try:
            while not exhausted or self._videos:
                while not exhausted and self.idle:
                    job = next(queue, None)
                    if job is None:
                        exhausted = True
                    else:
                        self.start(job)
                quiet = not self.poll(0.0 if self.frames else 0.5)
                for event in self.hashed():
                    self.answer(event.job.id, decode=True)
                if self.frames >= FRAME_BATCH or (quiet and self.frames):
                    self.find(gather)
                for video in self.ended():
                    if rest := cut.pop(video.id, []):
                        emit(CropSlice.of(rest))
                    emit(video)
        finally:
            self.abandon()

    def start(self, job: DecodeJob) -> None:
        """Start a job.

        Raises:
            RuntimeError: No decoder is idle.
            ValueError: A job with this id has not ended yet.
        """
        if job.id in self._videos:
            raise ValueError(f"job {job.id} has not ended yet")
        self._pool.submit(job)
        self._videos[job.id] = VideoState(job, pictures=PictureBuffer() if self._pictures else None)

    def poll(self, timeout: float) -> bool:
        """Take the events of the decoders, waiting at most `timeout` seconds; return whether any came."""
        events = self._pool.poll(timeout)
        for event in events:
            # A scan that was abandoned may have left jobs to the decoders.
            video = self._videos.get(event.job.id)
            if isinstance(event, FrameReady):
                if video is None:
                    event.release()
                else:
                    self._faces.add(video, event)
            elif isinstance(event, Hashed):
                if video is None:
                    self._pool.answer(event.job, decode=False)
                else:
                    self._hashed.append(event)
            elif isinstance(event, Ended) and video is not None:
                video.report = event.report
        return bool(events)

    def hashed(self) -> Iterator[Hashed]:
        """Yield the events of files whose content has become known; those that ask must be answered."""
        while self._hashed:
            yield self._hashed.popleft()

    def answer(self, video: int, *, decode: bool) -> None:
        """Answer a job that asks: whether to decode the file, or to drop the job.

        Args:
            video: Id of the job.
            decode: Whether to decode it.
        """
        self._pool.answer(self._videos[video].job, decode=decode)
        if not decode:
            del self._videos[video]

    def find(self, emit: Callable[[CutFace], None]) -> None:
        """Find the faces of one batch of frames, and pass on those for the detectors."""
        with self._clock.lap() as lap:
            videos = self._faces.run(partial(self._keep, emit))
        for video in videos:
            video.spent.add(lap, 1 / len(videos))

    def ended(self) -> Iterator[ExtractedVideo]:
        """Yield the videos whose decoding has ended and whose faces are all found, first started first."""
        done = [number for number, video in self._videos.items() if video.report and not video.waiting]
        for number in done:
            video = self._videos.pop(number)
            if self._filter is not None:
                with self._clock.lap() as lap:
                    self._ask_filter(video, self._filter)
                video.spent.add(lap)
            yield video.extracted()

    def abandon(self) -> None:
        """Drop all videos that have not ended, and release their frames."""
        self._faces.clear()
        self._hashed.clear()
        for video in self._videos.values():
            if video.job.ask:
                self._pool.answer(video.job, decode=False)
        self._videos.clear()

    def _keep(
        self, emit: Callable[[CutFace], None], video: VideoState, frame: Frame, detections: list[Detection]
    ) -> None:
        video.sampled.append((frame.index, frame.pts))
        video.thumbnails.append(thumbnail(frame.image))
        pictured = []
        for result in run_isolating_failures(
            lambda part: [self._cut(frame, detection) for detection in part], detections
        ):
            if isinstance(result, Exception):
                video.failure = f"cropping a face failed at frame {frame.index}: {result}"
                continue
            observation, crops = result
            video.observations.append(observation)
            video.keep_look(observation)
            if video.pictures is not None:
                pictured.append((observation.face.to_json()["box"], crops))
            if self._scored:
                emit(CutFace(video.job.id, len(video.observations) - 1, observation, crops))
        if video.pictures is not None:
            video.pictures.add(frame, pictured)

    def _cut(self, frame: Frame, detection: Detection) -> tuple[FaceObservation, dict[CropRecipe, Image]]:
        # One crop for quality, appearance, looks and filter, whatever the model, so that persons are the same
        # for all models.
        crop = align(frame.image, detection.landmarks, WITH_MARGIN)
        reference = reference_crop(crop)
        face = Face(
            frame.index,
            frame.pts,
            detection,
            assess(reference, detection),
            appearance(reference),
            grey=grey_crop(reference),
            look=look_crop(crop) if self._looks else None,
        )
        filtered = None if self._filter is None else filter_crop(crop)
        return FaceObservation(face, seen=filtered), {
            recipe: align(frame.image, detection.landmarks, recipe) for recipe in self._recipes
        }

    def _ask_filter(self, video: VideoState, face_filter: FaceFilter) -> None:
        """Score a video's faces with the face filter; in batches each face takes half the time."""
        for start in range(0, len(video.observations), FILTER_BATCH):
            part = video.observations[start : start + FILTER_BATCH]
            crops = [observation.seen for observation in part if observation.seen is not None]
            scores = run_isolating_failures(lambda batch: face_filter.score(batch).tolist(), crops)
            for observation, score in zip(part, scores, strict=True):
                if isinstance(score, Exception):
                    video.failure = f"the face filter failed at frame {observation.face.index}: {score}"
                    continue
                observation.face, observation.seen = replace(observation.face, face_score=score), None
