"""Scan pipeline: decode -> find faces -> score -> judge, in batches across frames and videos."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np

from deepscan.batching import AdaptiveBatcher, run_isolating_failures, take_first
from deepscan.crop_recipe import CropRecipe
from deepscan.engines.explanation import Explanation
from deepscan.engines.scorer import Scorer
from deepscan.faces.align import align
from deepscan.faces.face import Detection, Face
from deepscan.faces.face_filter import WITH_MARGIN, FaceFilter, filter_crop, reference_crop
from deepscan.faces.finder import FaceFinder
from deepscan.faces.following import FollowState
from deepscan.faces.looks import Looks, look_crop
from deepscan.faces.quality import assess
from deepscan.faces.shots import thumbnail
from deepscan.faces.stage import FRAME_BATCH, FaceStage
from deepscan.faces.still import grey_crop
from deepscan.faces.tracks import appearance
from deepscan.media.frames import DecodeReport, Frame, Image
from deepscan.media.jobs import DecodeJob, Ended, FrameReady
from deepscan.media.pool import DecodePool
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.outcome import FaceObservation, build_record
from deepscan.scanning.picture_folder import PictureFolder, illustrate
from deepscan.scanning.pictures import WITHOUT_MODEL, PictureBuffer
from deepscan.scanning.record_lines import RecordLine, utc_now

T = TypeVar("T")

#: Most faces of a video whose crop for looks is kept: 40 MB.
LOOKS_KEPT = 1024
#: Number of faces of a video that go through the face filter together.
FILTER_BATCH = 32


@dataclass(slots=True, eq=False)
class VideoState:
    """A video in progress, with everything found in it so far.

    Attributes:
        path: Path of the video as bytes, as it was named or found.
        started: Time at which its scan began, UTC.
        clock: The same on the monotonic clock, in seconds.
        sampled: Index and presentation time of each sampled frame.
        thumbnails: Thumbnail of each sampled frame, for finding shots.
        observations: The faces found, with their raw scores as they arrive.
        waiting: Number of frames and crops that have not been through their stage yet.
        report: How its decoding ended, None until then.
        failure: Error message of the stage that failed; empty on success.
        follow_state: State of following its faces.
        seconds: Stage -> seconds spent on this video.
        pictures: Pictures of its frames and faces, None if none are kept.
        with_look: The faces whose crop for looks is kept, each with the number of its frame.
        look_every: Such crops are kept from one frame in this many.
    """

    path: bytes
    started: str = field(default_factory=utc_now)
    clock: float = field(default_factory=time.monotonic)
    sampled: list[tuple[int, float]] = field(default_factory=list)
    thumbnails: list[Image] = field(default_factory=list)
    observations: list[FaceObservation] = field(default_factory=list)
    waiting: int = 0
    report: DecodeReport | None = None
    failure: str = ""
    follow_state: FollowState = field(default_factory=FollowState)
    seconds: dict[str, float] = field(default_factory=lambda: {"faces": 0.0, "detector": 0.0})
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


#: A face on its way to the detectors, with a crop by each recipe.
FaceCrop = tuple[VideoState, FaceObservation, Mapping[CropRecipe, Image]]
#: Name of the detector -> results of a batch of faces, and the seconds it took.
Judged = tuple[dict[str, list[tuple[float, Explanation | None] | Exception]], float]


class Pipeline:
    """Pipeline with one face finder, any number of detectors and one pool of decoders.

    Args:
        options: The scan's parameters.
        pool: The isolated decoders.
        finder: The face finder.
        scorers: The detectors, empty to only find faces.
        run: Identifier of the run, for the records.
        warn: Called with warnings for the user while the scan goes on.
        face_filter: Rejects false detections of the finder, None to accept them all.
        looks: Recognises a person's faces in other shots, None to use their appearance only.
        pictures: Where to write pictures of the most telling faces, None for none.
    """

    def __init__(
        self,
        options: ScanOptions,
        pool: DecodePool,
        finder: FaceFinder,
        scorers: Sequence[Scorer],
        run: str,
        warn: Callable[[str], None],
        face_filter: FaceFilter | None = None,
        looks: Looks | None = None,
        pictures: PictureFolder | None = None,
    ) -> None:
        self._pictures = pictures
        self._filter = face_filter
        self._looks = looks
        self._options = options
        self._pool = pool
        self._faces: FaceStage[VideoState] = FaceStage(finder)
        self._scorers = tuple(scorers)
        self._models = tuple(scorer.facts for scorer in self._scorers)
        # Number of crops that go through the detectors together.
        self._batch = max((scorer.batch for scorer in self._scorers), default=1)
        self._batchers = {scorer.card.name: AdaptiveBatcher(self._batch) for scorer in self._scorers}
        self._run, self._warn = run, warn
        self._videos: dict[int, VideoState] = {}
        self._crops: deque[FaceCrop] = deque()
        self._scoring: tuple[list[FaceCrop], Future[Judged]] | None = None
        # A separate thread: the detectors work on one batch, one after the other, while faces are found for
        # the next.
        self._detector = ThreadPoolExecutor(1, thread_name_prefix="detector")

    def scan(
        self,
        paths: Iterable[bytes],
        on_progress: Callable[[bytes | None], None] = lambda path: None,
    ) -> Generator[RecordLine, None, None]:
        """Scan videos and yield the record of each as it ends; between records, only decoding goes on.

        Args:
            paths: The files as bytes. Each gets one record.
            on_progress: Called with the path of each video that is started, and with None at least twice a
                second while videos are being scanned.
        """
        try:
            yield from self._work_off(iter(enumerate(paths)), on_progress)
        finally:
            self._detector.shutdown(wait=False, cancel_futures=True)

    def _work_off(
        self, queue: Iterator[tuple[int, bytes]], on_progress: Callable[[bytes | None], None]
    ) -> Iterator[RecordLine]:
        exhausted = False
        while not exhausted or self._videos:
            while not exhausted and self._pool.idle:
                number, path = next(queue, (-1, b""))
                if exhausted := number < 0:
                    break
                buffer = None if self._pictures is None else PictureBuffer()
                self._videos[number] = VideoState(path, pictures=buffer)
                self._pool.submit(DecodeJob(number, path))
                on_progress(path)
            if self._faces or (self._crops and not self._scoring):
                waiting = 0.0
            else:
                waiting = 0.01 if self._scoring else 0.5
            quiet = not self._take(self._pool.poll(waiting))
            # Run a batch when it is full, or when nothing has arrived to fill it. Crops of a crowd must not
            # pile up: with two batches of them waiting, do not find more faces.
            if len(self._crops) >= self._batch or (quiet and self._crops and not self._faces):
                self._score(wait=len(self._crops) >= 2 * self._batch)
            if len(self._crops) < 2 * self._batch and (
                len(self._faces) >= FRAME_BATCH or (quiet and self._faces)
            ):
                started = time.monotonic()
                videos = self._faces.run(self._keep)
                self._charge("faces", time.monotonic() - started, videos)
            self._collect(wait=False)
            yield from self._finish()
            on_progress(None)

    def _take(self, events: Sequence[object]) -> bool:
        for event in events:
            if isinstance(event, FrameReady):
                self._faces.add(self._videos[event.job.id], event)
            elif isinstance(event, Ended):
                self._videos[event.job.id].report = event.report
        return bool(events)

    def _keep(self, video: VideoState, frame: Frame, detections: list[Detection]) -> None:
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
            if self._scorers:
                video.waiting += 1
                self._crops.append((video, observation, crops))
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
            look=None if self._looks is None else look_crop(crop),
        )
        filtered = None if self._filter is None else filter_crop(crop)
        recipes = {scorer.recipe for scorer in self._scorers}
        if self._pictures is not None and not recipes:
            recipes = {WITHOUT_MODEL}
        return FaceObservation(face, seen=filtered), {
            recipe: align(frame.image, detection.landmarks, recipe) for recipe in recipes
        }

    def _ask_filter(self, video: VideoState, face_filter: FaceFilter) -> None:
        """Score a video's faces with the face filter; in batches each face takes half the time."""
        started = time.monotonic()
        for start in range(0, len(video.observations), FILTER_BATCH):
            part = video.observations[start : start + FILTER_BATCH]
            crops = [observation.seen for observation in part if observation.seen is not None]
            scores = run_isolating_failures(lambda batch: face_filter.score(batch).tolist(), crops)
            for observation, score in zip(part, scores, strict=True):
                if isinstance(score, Exception):
                    video.failure = f"the face filter failed at frame {observation.face.index}: {score}"
                    continue
                observation.face, observation.seen = replace(observation.face, face_score=score), None
        self._charge("faces", time.monotonic() - started, [video])

    def _score(self, *, wait: bool) -> None:
        """Give the detectors a batch of crops, unless they are busy and `wait` is False."""
        self._collect(wait=wait)
        if self._scoring is None:
            batch = take_first(self._crops, self._batch)
            self._scoring = batch, self._detector.submit(self._judged, batch)

    def _judged(self, batch: list[FaceCrop]) -> Judged:
        started = time.monotonic()
        judged = {
            scorer.card.name: self._batchers[scorer.card.name].run(partial(self._judge, scorer), batch)
            for scorer in self._scorers
        }
        return judged, time.monotonic() - started

    def _collect(self, *, wait: bool) -> None:
        """Take the results of the detectors' batch if it is finished, or when it is with `wait`."""
        if self._scoring is None or not (wait or self._scoring[1].done()):
            return
        batch, (judged, seconds) = self._scoring[0], self._scoring[1].result()
        self._scoring = None
        for name, results in judged.items():
            if warning := self._batchers[name].warning:
                self._batchers[name].warning = ""
                self._warn(f"the detector {name}: {warning}")
            for (video, observation, _), found in zip(batch, results, strict=True):
                if isinstance(found, Exception):
                    video.failure = f"the detector {name} failed at frame {observation.face.index}: {found}"
                    continue
                observation.raws[name], explanation = found
                if explanation is not None:
                    observation.explanations[name] = explanation
        for video, _, _ in batch:
            video.waiting -= 1
        self._charge("detector", seconds, [video for video, _, _ in batch])

    def _judge(self, scorer: Scorer, batch: list[FaceCrop]) -> list[tuple[float, Explanation | None]]:
        crops = np.stack([crops_by_recipe[scorer.recipe] for _, _, crops_by_recipe in batch])
        if not (self._options.explain or self._options.evidence):
            return [(raw, None) for raw in scorer.score(crops).tolist()]
        scores, explained = scorer.explain(crops)
        return list(zip(scores.tolist(), explained, strict=True))

    def _charge(self, stage: str, seconds: float, videos: Sequence[VideoState]) -> None:
        for video in videos:
            video.seconds[stage] += seconds / len(videos)

    def _finish(self) -> Iterator[RecordLine]:
        done = [number for number, video in self._videos.items() if video.report and not video.waiting]
        for number in done:
            video = self._videos.pop(number)
            assert video.report is not None
            if self._filter is not None:
                self._ask_filter(video, self._filter)
            record = build_record(
                video.report,
                path=video.path,
                sampled=video.sampled,
                observations=video.observations,
                models=self._models,
                rule=self._options.quality,
                min_share=self._options.min_share,
                least_face=self._filter.least if self._filter else 0.0,
                thumbnails=video.thumbnails,
                looks=self._looks,
                failure=video.failure,
                run=self._run,
                started=video.started,
                seconds={
                    **video.report.seconds,
                    **video.seconds,
                    "total": time.monotonic() - video.clock,
                },
            )
            if self._pictures is not None and video.pictures is not None:
                record = illustrate(record, video.pictures, self._pictures, self._models, self._options)
            yield record
