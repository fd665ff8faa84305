"""Scores the videos of a test set; crops are prefetched and batched across videos, with bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.devices import usable_cpus
from deepscan.engines.scorer import Scorer
from deepscan.media.frames import Image

#: Changes a crop before the network: (crop, its video, index of the frame) -> crop.
Change = Callable[[Image, FaceVideo, int], Image]
Reader = Callable[[FaceVideo, int], Image | None]

#: Number of crops in a batch of the detector, and number of crops to prefetch.
BATCH, AHEAD = 32, 256


@dataclass(slots=True, eq=False)
class VideoScores:
    """The frame scores of a video.

    Attributes:
        video: The video.
        frames: Indices of the frames in the video's list, shape (F,).
        scores: Raw probability of fake for each variant of the crops, shape (V, F); NaN for an unreadable
            frame.
        waiting: Number of frames that are not scored yet; 0 once the video is yielded.
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
    """Yield the scores of videos in order, each as soon as its last frame is scored.

    A crop is read once for all changes.

    Args:
        videos: The videos; consumed lazily.
        read: Returns the crop of a frame for the network, or None if it cannot be read. Called from several
            threads.
        scorer: The detector.
        sample: Returns the indices to score, given a number of frames.
        changes: Functions that change each crop; empty to score the original crops. Called from several
            threads.
    """
    workers = usable_cpus()
    upcoming = _frames(videos, sample, max(1, len(changes)))
    pending: deque[VideoScores] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        read_ahead: deque[tuple[VideoScores, int, Future[Image | None]]] = deque()

        def fill() -> None:
            for item, index in islice(upcoming, AHEAD - len(read_ahead)):
                if not pending or pending[-1] is not item:
                    pending.append(item)
                if index >= 0:
                    number = int(item.frames[index])
                    read_ahead.append((item, index, pool.submit(read, item.video, number)))

        try:
            fill()
            while pending:
                batch = [read_ahead.popleft() for _ in range(min(BATCH, len(read_ahead)))]
                fill()
                _score_batch(
                    [(item, index, future.result()) for item, index, future in batch], scorer, changes, pool
                )
                while pending and not pending[0].waiting:
                    yield pending.popleft()
                if not pending:
                    # All of these videos were without frames; there may be more videos.
                    fill()
        finally:
            for _, _, future in read_ahead:
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


def _score_batch(
    batch: Sequence[tuple[VideoScores, int, Image | None]],
    scorer: Scorer,
    changes: Sequence[Change],
    pool: ThreadPoolExecutor,
) -> None:
    readable = [(item, index, crop) for item, index, crop in batch if crop is not None]

    def submit(change: Change) -> list[Future[Image]]:
        return [
            pool.submit(change, crop, item.video, int(item.frames[index])) for item, index, crop in readable
        ]

    # Compute the next variant while the detector scores this one.
    upcoming = submit(changes[0]) if changes else []
    for variant in range(len(changes) or 1) if readable else ():
        crops = [future.result() for future in upcoming] if changes else [crop for _, _, crop in readable]
        upcoming = submit(changes[variant + 1]) if variant + 1 < len(changes) else []
        for (item, index, _), score in zip(readable, scorer.score(np.stack(crops)).tolist(), strict=True):
            item.scores[variant, index] = score
    for item, _, _ in batch:
        item.waiting -= 1
