"""The stages of a scan alone: decoding, finding faces, and the detector at several batch sizes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepscan.bench.timing import Sample, TimedCase, timed
from deepscan.engines.golden import golden_crops
from deepscan.engines.scorer import Scorer
from deepscan.faces.finder import FaceFinder
from deepscan.faces.following import FollowState, search_or_follow
from deepscan.faces.stage import FRAME_BATCH
from deepscan.media.frames import DecodeReport, Frame
from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FrameReady
from deepscan.media.pool import DecodePool

#: Bytes of decoded frames that are held at once, to be searched again and again.
MAX_HELD_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Held:
    """Decoded frames of some videos.

    Attributes:
        videos: The frames of each, in the order of time.
        left_out: How many of the files are not among them, for want of room.
    """

    videos: Sequence[Sequence[Frame]]
    left_out: int

    @property
    def count(self) -> int:
        """How many frames there are."""
        return sum(map(len, self.videos))


def decode_once(paths: Sequence[bytes], options: DecodeOptions) -> list[DecodeReport]:
    """Decode each file once and return how that went, in their order: what fails has no speed."""
    with DecodePool(options, 1) as pool:
        return _drain(pool, paths)


def decoding(
    paths: Sequence[bytes], options: DecodeOptions, workers: int, labels: Mapping[str, Any]
) -> TimedCase:
    """Return the case of decoding files and giving every frame back at once.

    The processes that decode have started before the clock does.

    Args:
        paths: The files.
        options: How to decode.
        workers: Processes at once.
        labels: Of the row.
    """

    def run() -> Sample:
        with DecodePool(options, workers) as pool:
            _drain(pool, [paths[0]] * workers)
            return Sample(timed(lambda: _drain(pool, paths)).seconds)

    return TimedCase({**labels, "workers": workers}, len(paths), "videos", run)


def hold(paths: Sequence[bytes], options: DecodeOptions) -> Held:
    """Decode files one by one while there is room for their frames; one file at least."""
    videos: list[list[Frame]] = []
    room = MAX_HELD_BYTES
    with DecodePool(options, 1) as pool:
        for path in paths:
            if room <= 0:
                break
            frames = [
                Frame(event.frame.index, event.frame.pts, event.frame.image.copy())
                for event in _frames(pool, path)
            ]
            size = sum(frame.image.nbytes for frame in frames)
            room -= size
            if room >= 0 or not videos:
                videos.append(frames)
    return Held(videos, len(paths) - len(videos))


def finding(decoded: Held, finder: FaceFinder, labels: Mapping[str, Any]) -> TimedCase:
    """Return the case of finding the faces of videos, in batches as a scan does.

    Args:
        decoded: Their frames.
        finder: The face finder.
        labels: Of the row.
    """

    def work() -> None:
        for frames in decoded.videos:
            state = FollowState()
            for start in range(0, len(frames), FRAME_BATCH):
                batch = frames[start : start + FRAME_BATCH]
                search_or_follow(finder, batch, [state] * len(batch))

    return TimedCase(labels, decoded.count, "frames", lambda: timed(work))


def judging(scorer: Scorer, batch: int, labels: Mapping[str, Any]) -> TimedCase:
    """Return the case of scoring a batch of crops, from their pixels to their scores on the CPU.

    A GPU's work has ended when its scores have arrived, so that no clock stops before it.

    Args:
        scorer: The detector.
        batch: How many crops.
        labels: Of the row.
    """
    crops = golden_crops(scorer.recipe.input_side)
    given = np.ascontiguousarray(np.resize(crops, (batch, *crops.shape[1:])))
    return TimedCase({**labels, "batch": batch}, batch, "crops", lambda: timed(lambda: scorer.score(given)))


def _frames(pool: DecodePool, path: bytes) -> Iterator[FrameReady]:
    """Yield the frames of a file; each is given back when the next is asked for."""
    pool.submit(DecodeJob(0, path))
    while pool.busy:
        for event in pool.poll(1.0):
            if isinstance(event, FrameReady):
                yield event
                event.release()


def _drain(pool: DecodePool, paths: Sequence[bytes]) -> list[DecodeReport]:
    """Decode files, give every frame back at once, and return how it went, in the order of the files."""
    waiting = [DecodeJob(number, path) for number, path in enumerate(paths)][::-1]
    reports: dict[int, DecodeReport] = {}
    while waiting or pool.busy:
        while waiting and pool.idle:
            pool.submit(waiting.pop())
        for event in pool.poll(1.0):
            if isinstance(event, FrameReady):
                event.release()
            elif isinstance(event, Ended):
                reports[event.job.id] = event.report
    return [reports[number] for number in range(len(paths))]
