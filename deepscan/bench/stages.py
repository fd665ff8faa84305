"""The stages of a scan in isolation: decoding, finding faces, and the detector at several batch sizes."""

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

#: Memory limit of the decoded frames that are kept for repeated face finding, in bytes.
MAX_FRAME_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class DecodedVideos:
    """Decoded frames of several videos.

    Attributes:
        videos: The frames of each video, in order of time.
        left_out: Number of files that did not fit into memory.
    """

    videos: Sequence[Sequence[Frame]]
    left_out: int

    @property
    def count(self) -> int:
        """Total number of frames."""
        return sum(map(len, self.videos))


def decode_once(paths: Sequence[bytes], options: DecodeOptions) -> list[DecodeReport]:
    """Decode each file once and return the reports in file order, so that failing files can be skipped."""
    with DecodePool(options, 1) as pool:
        return _drain(pool, paths)


def decode_case(
    paths: Sequence[bytes], options: DecodeOptions, workers: int, labels: Mapping[str, Any]
) -> TimedCase:
    """Return the case of decoding files and releasing every frame immediately.

    The worker processes start before the clock does.

    Args:
        paths: The files.
        options: Decoding options.
        workers: Number of processes.
        labels: Labels of the row.
    """

    def run() -> Sample:
        with DecodePool(options, workers) as pool:
            _drain(pool, [paths[0]] * workers)
            return Sample(timed(lambda: _drain(pool, paths)).seconds)

    return TimedCase({**labels, "workers": workers}, len(paths), "videos", run)


def decode_within_memory(paths: Sequence[bytes], options: DecodeOptions) -> DecodedVideos:
    """Decode files one by one until `MAX_FRAME_BYTES` is reached, but at least one file."""
    videos: list[list[Frame]] = []
    room = MAX_FRAME_BYTES
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
    return DecodedVideos(videos, len(paths) - len(videos))


def faces_case(decoded: DecodedVideos, finder: FaceFinder, labels: Mapping[str, Any]) -> TimedCase:
    """Return the case of finding the faces of videos, in the batches of a scan.

    Args:
        decoded: Decoded frames.
        finder: The face finder.
        labels: Labels of the row.
    """

    def work() -> None:
        for frames in decoded.videos:
            state = FollowState()
            for start in range(0, len(frames), FRAME_BATCH):
                batch = frames[start : start + FRAME_BATCH]
                search_or_follow(finder, batch, [state] * len(batch))

    return TimedCase(labels, decoded.count, "frames", lambda: timed(work))


def detector_case(scorer: Scorer, batch: int, labels: Mapping[str, Any]) -> TimedCase:
    """Return the case of scoring a batch of crops, from pixels to scores on the CPU.

    The clock stops when the scores have arrived on the CPU, so a GPU has finished by then.

    Args:
        scorer: The detector.
        batch: Number of crops.
        labels: Labels of the row.
    """
    golden = golden_crops(scorer.recipe.input_side)
    crops = np.ascontiguousarray(np.resize(golden, (batch, *golden.shape[1:])))
    return TimedCase({**labels, "batch": batch}, batch, "crops", lambda: timed(lambda: scorer.score(crops)))


def _frames(pool: DecodePool, path: bytes) -> Iterator[FrameReady]:
    """Yield the frames of a file; each is released when the next is requested."""
    pool.submit(DecodeJob(0, path))
    while pool.busy:
        for event in pool.poll(1.0):
            if isinstance(event, FrameReady):
                yield event
                event.release()


def _drain(pool: DecodePool, paths: Sequence[bytes]) -> list[DecodeReport]:
    """Decode files, release every frame immediately, and return the reports in file order."""
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
