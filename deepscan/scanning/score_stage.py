"""Second stage of a scan: score the faces that the first stage found."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from deepscan.batching import AdaptiveBatcher, take_first
from deepscan.engines.explanation import Explanation
from deepscan.engines.scorer import Scorer
from deepscan.media.frames import CPU_SUFFIX
from deepscan.scanning.cpu_time import CpuClock, Lap
from deepscan.scanning.extract_stage import CropSlice, CutFace
from deepscan.scanning.outcome import ExtractedVideo

#: Name of the detector -> results of a batch of faces, and what it took.
Judged = tuple[dict[str, list[tuple[float, Explanation | None] | Exception]], Lap]


@dataclass(slots=True, eq=False)
class _Scoring:
    """What the detectors have done on a video so far.

    Attributes:
        waiting: Number of crops that have not been through the detectors yet.
        failure: Error message of the detector that failed; empty on success.
        spent: Time that the detectors spent on it.
    """

    waiting: int = 0
    failure: str = ""
    spent: Lap = field(default_factory=Lap)


class ScoreStage:
    """Second stage: score crops of many videos together, in a separate thread.

    `run` scores a video by itself. `Pipeline` takes the single steps instead, so that faces are found while
    the detectors work.

    Args:
        scorers: The detectors, empty for none.
        warn: Called with warnings for the user.
        explain: Whether to keep what each score is based on.
        clock: Measures CPU time, the same for all stages of this process.

    Attributes:
        models: What records need to know about the detectors.
        batch: Number of crops that go through the detectors together.
    """

    def __init__(
        self,
        scorers: Sequence[Scorer],
        warn: Callable[[str], None],
        *,
        explain: bool = False,
        clock: CpuClock | None = None,
    ) -> None:
        self._clock = clock or CpuClock()
        self._scorers, self._warn, self._explain = tuple(scorers), warn, explain
        self.models = tuple(scorer.facts for scorer in self._scorers)
        self.batch = max((scorer.batch for scorer in self._scorers), default=1)
        self._batchers = {model.name: AdaptiveBatcher(self.batch) for model in self.models}
        self._crops: deque[CutFace] = deque()
        self._videos: defaultdict[int, _Scoring] = defaultdict(_Scoring)
        self._running: tuple[list[CutFace], futures.Future[Judged]] | None = None
        self._thread: futures.ThreadPoolExecutor | None = None
        self._dropped: futures.Future[Judged] | None = None

    def __len__(self) -> int:
        """Return how many crops wait for the detectors, without the batch that they are at work on."""
        return len(self._crops)

    @property
    def busy(self) -> bool:
        """Whether the results of a batch have not been collected yet."""
        return self._running is not None

    def run(self, video: ExtractedVideo, slices: Iterable[CropSlice]) -> ExtractedVideo:
        """Score a video whose crops come from another process; return it with its scores.

        Args:
            video: The video. Its observations receive the scores.
            slices: Its crops.
        """
        try:
            for part in slices:
                for face in part.faces(video.observations):
                    self.add(face)
                    if len(self) >= self.batch:
                        self.start(wait=True)
            if len(self):
                self.start(wait=True)
            self.collect(wait=True)
            return self.scored(video)
        finally:
            self.close()

    def add(self, face: CutFace) -> None:
        """Add a face to the queue."""
        self._videos[face.video].waiting += 1
        self._crops.append(face)

    def waiting(self, video: int) -> int:
        """Return how many crops of a video have no results yet."""
        return self._videos[video].waiting if video in self._videos else 0

    def start(self, *, wait: bool) -> None:
        """Give the detectors a batch of crops, unless they are busy and `wait` is False."""
        self.collect(wait=wait)
        if self._running is None:
            batch = take_first(self._crops, self.batch)
            self._running = batch, self._executor().submit(self._judged, batch)

    def collect(self, *, wait: bool) -> None:
        """Take the results of the detectors' batch if it is finished, or when it is with `wait`."""
        if self._running is None or not (wait or self._running[1].done()):
            return
        batch, (judged, lap) = self._running[0], self._running[1].result()
        self._running = None
        for name, results in judged.items():
            if warning := self._batchers[name].warning:
                self._batchers[name].warning = ""
                self._warn(f"the detector {name}: {warning}")
            for face, found in zip(batch, results, strict=True):
                observation, video = face.observation, self._videos[face.video]
                if isinstance(found, Exception):
                    video.failure = f"the detector {name} failed at frame {observation.face.index}: {found}"
                    continue
                observation.raws[name], explanation = found
                if explanation is not None:
                    observation.explanations[name] = explanation
        for face in batch:
            video = self._videos[face.video]
            video.waiting -= 1
            video.spent.add(lap, 1 / len(batch))

    def scored(self, video: ExtractedVideo) -> ExtractedVideo:
        """Return a video of which no crop waits, with what the detectors add to it."""
        own = self._videos.pop(video.id, _Scoring())
        return replace(
            video,
            failure=own.failure or video.failure,
            seconds={**video.seconds, "detector": own.spent.seconds, "detector" + CPU_SUFFIX: own.spent.cpu},
        )

    def close(self) -> None:
        """Drop all crops and end the thread, without waiting for it; the next batch starts another."""
        self._crops.clear()
        self._videos.clear()
        if self._running is not None:
            self._dropped, self._running = self._running[1], None
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _executor(self) -> futures.ThreadPoolExecutor:
        if self._thread is None:
            if self._dropped is not None:
                # The detectors are not made for two threads.
                with suppress(futures.CancelledError):
                    self._dropped.exception()
                self._dropped = None
            self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix="detector")
        return self._thread

    def _judged(self, batch: list[CutFace]) -> Judged:
        with self._clock.lap() as lap:
            judged = {
                scorer.card.name: self._batchers[scorer.card.name].run(partial(self._judge, scorer), batch)
                for scorer in self._scorers
            }
        return judged, lap

    def _judge(self, scorer: Scorer, batch: list[CutFace]) -> list[tuple[float, Explanation | None]]:
        crops = np.stack([face.crops[scorer.recipe] for face in batch])
        if not self._explain:
            return [(raw, None) for raw in scorer.score(crops).tolist()]
        scores, explained = scorer.explain(crops)
        return list(zip(scores.tolist(), explained, strict=True))
