"""Countings: which frames are scored, which of them make up a video, and which metrics are taken."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepscan.data.crops.crop_cache import Sampling
from deepscan.errors import UsageError
from deepscan.evaluation.protocols import Level
from deepscan.evaluation.scores import Scores, by_video, mean_by
from deepscan.metrics.binary import METRICS, PUBLISHED_METRICS, Measure
from deepscan.registry import Registry

#: What makes frames those of one video: `full`, its data set, kind and name; `parent`, the name of the folder
#: that they lie in; `parent2`, that and the name of the folder above it.
VideoKey = Literal["full", "parent", "parent2"]


@dataclass(frozen=True, slots=True)
class Counting:
    """How frames are sampled and aggregated into videos, and what is measured.

    Attributes:
        name: As `--counting` takes it.
        sampling: Which frames of a video are scored, if it has more than are wanted.
        video_key: What identifies the video of a frame.
        per_video: The metrics that are also given per video; all if None.
        measures: The metrics, by the names of `METRICS`.
        explained: A paragraph for the reader of a report.
    """

    name: str
    sampling: Sampling
    video_key: VideoKey
    per_video: frozenset[str] | None
    measures: Mapping[str, Measure]
    explained: str

    def levels(self, figure: str) -> tuple[Level, ...]:
        """Return the levels at which a metric is given, by its name in `METRICS`."""
        by_video = self.per_video is None or figure in self.per_video
        return ("frame", "video") if by_video else ("frame",)


_TABLE = (
    Counting(
        name="corrected",
        sampling="even",
        video_key="full",
        per_video=None,
        measures=METRICS,
        explained="Corrected counting, which is what the papers describe: where a video has more frames "
        "than are asked for, they are taken evenly from its first to its last. The frames of a video are "
        "those that share its data set, its kind and its name, so that two videos never count as one. A "
        "video's score is the mean of its frames' scores. Every figure is given per frame and per video.",
    ),
    Counting(
        name="as-published",
        sampling="first",
        video_key="parent",
        per_video=frozenset({"auc"}),
        measures=PUBLISHED_METRICS,
        explained="As-published counting, which is what DeepfakeBench does, for figures that can stand "
        "beside published ones: where a video has more frames than are asked for, the first ones are "
        "taken, not an even spread. Frames make a video when the folders that they lie in have the same "
        "name (--video-key parent; parent2 asks it of the folder above, too), so that videos of one name "
        "merge, such as 000_003 of the four manipulations of FaceForensics++; where reals and fakes "
        "merge, the video counts as real. Only the AUC is given per video; accuracy (at 0.5), equal error "
        "rate and average precision are given per frame, the equal error rate without looking at the "
        "thresholds inside straight runs of the ROC curve. Two things no counting makes alike: published "
        "figures are of the epoch that did best on each test set, and DeepfakeBench finds faces with dlib.",
    ),
)
#: Name -> counting.
COUNTINGS: Registry[Counting] = Registry("way to count", {way.name: __name__ for way in _TABLE})
for _way in _TABLE:
    COUNTINGS.register(_way.name)(_way)


def sample(frames: int, wanted: int, sampling: Sampling) -> NDArray[np.int64]:
    """Return which frames of a video are scored, in order, shape (min(frames, wanted),).

    Args:
        frames: Number of its frames.
        wanted: Number to score at most; 0 for all.
        sampling: `even` from the first to the last, fractions cut off, as DeepfakeBench's own extraction of
            frames does it; or the `first`.
    """
    taken = min(frames, wanted or frames)
    if sampling == "first":
        return np.arange(taken, dtype=np.int64)
    return np.linspace(0, frames - 1, taken).astype(np.int64)


def videos_of(frames: Scores, rule: VideoKey) -> Scores:
    """Return video scores from frame scores; a merged video takes the columns of its first frame.

    Args:
        frames: Scores of frames.
        rule: What makes a video.

    Raises:
        UsageError: The rule asks for more folders than a frame's path has.
    """
    if rule == "full":
        return by_video(frames)
    parts = 1 if rule == "parent" else 2
    videos: dict[tuple[str, ...], int] = {}
    of_folder = np.zeros(len(frames.folder.names), dtype=np.int64)
    for code in np.unique(frames.folder.codes).tolist():
        folders = [name for name in frames.folder.names[code].split("/") if name]
        if len(folders) < parts:
            raise UsageError(
                f"the path {frames.folder.names[code]!r} has too few folders for --video-key {rule}",
                "count with --video-key full",
            )
        of_folder[code] = videos.setdefault(tuple(folders[-parts:]), len(videos))
    of_frame = of_folder[frames.folder.codes]
    # The benchmark cuts the mean of the labels to a whole number: one real frame makes the video real.
    real = np.isin(of_frame, of_frame[frames.labels == 0])
    return mean_by(replace(frames, labels=np.where(real, 0, 1)), of_frame)
