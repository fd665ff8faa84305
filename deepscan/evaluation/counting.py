"""Countings: which frames are scored, how they are grouped into videos, and which metrics are computed."""

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

#: What identifies the video of a frame: `full`, data set, kind and name; `parent`, the name of its folder;
#: `parent2`, the names of its folder and of the parent folder.
VideoKey = Literal["full", "parent", "parent2"]


@dataclass(frozen=True, slots=True)
class Counting:
    """How frames are sampled and aggregated into videos, and which metrics are computed.

    Attributes:
        name: The value of `--counting`.
        sampling: Which frames of a video are scored if it has more than requested.
        video_key: What identifies the video of a frame.
        per_video: Metrics that are also computed per video; None for all.
        measures: The metrics, by their names in `METRICS`.
        explained: An explanation for readers of a report.
    """

    name: str
    sampling: Sampling
    video_key: VideoKey
    per_video: frozenset[str] | None
    measures: Mapping[str, Measure]
    explained: str

    def levels(self, metric: str) -> tuple[Level, ...]:
        """Return the levels at which a metric is computed, given its name in `METRICS`."""
        by_video = self.per_video is None or metric in self.per_video
        return ("frame", "video") if by_video else ("frame",)


_TABLE = (
    Counting(
        name="corrected",
        sampling="even",
        video_key="full",
        per_video=None,
        measures=METRICS,
        explained="Corrected counting, as the papers describe it: if a video has more frames than "
        "requested, they are sampled evenly from the first to the last. The frames of a video are those "
        "with the same data set, kind and name, so that two videos are never merged. A video's score is "
        "the mean of its frames' scores. Every metric is computed per frame and per video.",
    ),
    Counting(
        name="as-published",
        sampling="first",
        video_key="parent",
        per_video=frozenset({"auc"}),
        measures=PUBLISHED_METRICS,
        explained="As-published counting, as in DeepfakeBench, for comparison with published results: if a "
        "video has more frames than requested, the first ones are used instead of an even sample. Frames "
        "belong to the same video if their folders have the same name (--video-key parent; with parent2, "
        "the parent folders too), so videos of the same name are merged, such as 000_003 of the four "
        "manipulations of FaceForensics++; if reals and fakes are merged, the video counts as real. Only "
        "the AUC is computed per video; accuracy (at 0.5), equal error rate and average precision are "
        "computed per frame, the equal error rate without the thresholds inside straight segments of the "
        "ROC curve. Two differences remain under any counting: published results come from the best epoch "
        "on each test set, and DeepfakeBench finds faces with dlib.",
    ),
)
#: Name -> counting.
COUNTINGS: Registry[Counting] = Registry("counting", {counting.name: __name__ for counting in _TABLE})
for _counting in _TABLE:
    COUNTINGS.register(_counting.name)(_counting)


def sample(frames: int, limit: int, sampling: Sampling) -> NDArray[np.int64]:
    """Return the indices of the frames of a video to score, ascending, shape (min(frames, limit),).

    Args:
        frames: Number of frames of the video.
        limit: Maximum number of frames to score; 0 for all.
        sampling: `even` from the first to the last, rounded down as in DeepfakeBench's frame extraction; or
            the `first`.
    """
    count = min(frames, limit or frames)
    if sampling == "first":
        return np.arange(count, dtype=np.int64)
    return np.linspace(0, frames - 1, count).astype(np.int64)


def videos_of(frames: Scores, rule: VideoKey) -> Scores:
    """Average frame scores into video scores; a merged video has the columns of its first frame.

    Args:
        frames: Scores of frames.
        rule: What identifies a video.

    Raises:
        UsageError: The rule needs more folders than a frame's path has.
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
                "use --counting corrected" + (", or --video-key parent" if parts == 2 else ""),
            )
        of_folder[code] = videos.setdefault(tuple(folders[-parts:]), len(videos))
    of_frame = of_folder[frames.folder.codes]
    # The benchmark truncates the mean label to an integer, so one real frame makes the video real.
    real = np.isin(of_frame, of_frame[frames.labels == 0])
    return mean_by(replace(frames, labels=np.where(real, 0, 1)), of_frame)
