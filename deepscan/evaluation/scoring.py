"""Scores the videos of a test set: crops are read ahead and batched over videos, never all in memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.engines.scorer import Scorer
from deepscan.media.frames import Image

#: Changes a crop before the network: (crop, its video, number of the frame) -> crop.
Change = Callable[[Image, FaceVideo, int], Image]
Reader = Callable[[FaceVideo, int], Image | None]

#: Crops that go through the detector together, and crops that are read ahead of it.
BATCH, AHEAD = 32, 256


@dataclass(slots=True, eq=False)
class VideoScores:
    """The scores of the frames of a video.

    Attributes:
        video: The video.
        frames: Numbers of the frames, from 0 in the video's list, shape (F,).
        scores: Probability of fake under each change of the crops, shape (V, F), raw; NaN for a frame that
            could not be read.
        waiting: How many frames are still to be scored; 0 once it is yielded.
    """

    video: FaceVideo
    frames: NDArray[np.int64]
    scores: NDArray[np.float64]
    waiting: int


def score_videos(
    videos: Iterable[FaceVideo],
    read: Reader,
    scorer: Scorer,
    sample: Callable[[int], NDArray[np.int64]],
    changes: Sequence[Change] = (),
) -> Iterator[VideoScores]:
    """Yield the scores of videos, each as soon as its last frame is scored.

    A crop is read once for all changes. Videos keep their order.

    Args:
        videos: The videos; consumed lazily.
        read: Returns the crop of a frame as the network takes it; None if it cannot be read. Called by
            several threads.
        scorer: The detector.
        sample: Returns the positions to score, of a number of frames.
        changes: Changes of each crop; none to score the crops as they are. Called by several threads.
    """
    workers = max(1, os.cpu_count() or 1)
    coming = _frames(videos, sample, max(1, len(changes)))
    pending: deque[VideoScores] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        ahead: deque[tuple[VideoScores, int, Future[Image | None]]] = deque()

        def fill() -> None:
            for item, index in islice(coming, AHEAD - len(ahead)):
                if not pending or pending[-1] is not item:
                    pending.append(item)
                if index >= 0:
                    number = int(item.frames[index])
                    ahead.append((item, index, pool.submit(read, item.video, number)))

        try:
            fill()
            while pending:
                batch = [ahead.popleft() for _ in range(min(BATCH, len(ahead)))]
                fill()
                _judge(
                    [(item, index, future.result()) for item, index, future in batch], scorer, changes, pool
                )
                while pending and not pending[0].waiting:
                    yield pending.popleft()
                if not pending:
                    # There were only videos without frames, and there may be more to come.
                    fill()
        finally:
            for _, _, future in ahead:
                future.cancel()


def _frames(
    videos: Iterable[FaceVideo], sample: Callable[[int], NDArray[np.int64]], variants: int
) -> Iterator[tuple[VideoScores, int]]:
    for video in videos:
        frames = sample(len(video.frames))
        item = VideoScores(video, frames, np.full((variants, len(frames)), np.nan), len(frames))
        if not len(frames):
            yield item, -1
        for index in range(len(frames)):
            yield item, index


def _judge(
    batch: Sequence[tuple[VideoScores, int, Image | None]],
    scorer: Scorer,
    changes: Sequence[Change],
    pool: ThreadPoolExecutor,
) -> None:
    read = [(item, index, crop) for item, index, crop in batch if crop is not None]

    def changed(change: Change) -> list[Future[Image]]:
        return [pool.submit(change, crop, item.video, int(item.frames[index])) for item, index, crop in read]

    # The next variant is made while the detector looks at this one.
    coming = changed(changes[0]) if changes else []
    for variant in range(len(changes) or 1) if read else ():
        crops = [future.result() for future in coming] if changes else [crop for _, _, crop in read]
        coming = changed(changes[variant + 1]) if variant + 1 < len(changes) else []
        for (item, index, _), score in zip(read, scorer.score(np.stack(crops)).tolist(), strict=True):
            item.scores[variant, index] = score
    for item, _, _ in batch:
        item.waiting -= 1
