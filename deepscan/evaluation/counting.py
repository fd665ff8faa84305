"""Countings: which frames are scored, which of them make up a video, and which metrics are taken."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepscan.data.crops.crop_cache import Sampling
from deepscan.errors import UsageError
from deepscan.evaluation.protocols import Level
from deepscan.evaluation.scores import Scores, by_video
from deepscan.metrics.binary import METRICS, PUBLISHED_METRICS, Measure
from deepscan.registry import Registry

#: What makes frames those of one video: `full`, its data set, kind and name; `parent`, the name of the folder
#: that they lie in; `parent2`, that and the name of the folder above it.
VideoKey = Literal["full", "parent", "parent2"]
GroupKey = tuple[str, ...]


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


#: Name -> counting.
COUNTINGS: Registry[Counting] = Registry(
    "way to count", dict.fromkeys(("corrected", "as-published"), __name__)
)

COUNTINGS.register("corrected")(
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
    )
)
COUNTINGS.register("as-published")(
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
    )
)


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


def video_key(dataset: str, kind: str, name: str, frame: str, rule: VideoKey) -> GroupKey:
    """Return the key of a frame's video.

    Args:
        dataset: Name of the data set.
        kind: Name of the video's label.
        name: Name of the video.
        frame: Path of the frame, with `/` or backslashes.
        rule: What makes a video.

    Raises:
        UsageError: The rule asks for more folders than the path has.
    """
    if rule == "full":
        return dataset, kind, name
    folders = [folder for folder in _folder(frame).split("/") if folder]
    asked = 1 if rule == "parent" else 2
    if len(folders) < asked:
        raise UsageError(
            f"the path {frame!r} has too few folders for --video-key {rule}", "count with --video-key full"
        )
    return tuple(folders[-asked:])


@dataclass(frozen=True, slots=True, eq=False)
class FrameRows:
    """Scored frames as columns, all of length N.

    Attributes:
        dataset: Name of each frame's data set.
        kind: Name of its video's label.
        label: 0 for real, 1 for fake, shape (N,).
        name: Name of its video.
        frame: Its path.
        score: Probability of fake, shape (N,); NaN for a frame that could not be read.
    """

    dataset: Sequence[str]
    kind: Sequence[str]
    label: NDArray[np.int64]
    name: Sequence[str]
    frame: Sequence[str]
    score: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__slots__}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of unequal length: {lengths}")
        if not np.isin(self.label, (0, 1)).all():
            raise ValueError("a label is neither 0 nor 1")


@dataclass(frozen=True, slots=True, eq=False)
class VideoRows:
    """The videos of a counting, in the order of their first frames.

    Attributes:
        keys: Key of each, length M.
        label: 0 for real, 1 for fake, shape (M,); real for a video that has frames of both.
        score: Mean score of its frames, shape (M,); NaN without a score.
        frames: How many frames with a score each has, shape (M,).
        mixed: Which have frames of both labels, shape (M,).
        of_frame: Position of each frame's video, shape (N,).
    """

    keys: tuple[GroupKey, ...]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    frames: NDArray[np.int64]
    mixed: NDArray[np.bool_]
    of_frame: NDArray[np.int64]


def group(rows: FrameRows, rule: VideoKey) -> VideoRows:
    """Return the videos that frames belong to.

    Args:
        rows: The frames.
        rule: What makes a video.

    Raises:
        UsageError: Frames of both labels share data set, kind and name, or a path has too few folders.
    """
    codes = np.zeros(len(rows.score), dtype=np.int64)
    if rule == "full":
        for column in (rows.dataset, rows.kind, rows.name):
            more = _numbered(column)
            # Two numbers in one, made small again after each column, so that they cannot overflow.
            codes = _small(codes * (1 + more.max(initial=0)) + more)
    else:
        codes = _numbered(map(_folder, rows.frame))
        # The key is worked out once for each folder, not for each frame.
        _, first = np.unique(codes, return_index=True)
        codes = _numbered(video_key("", "", "", rows.frame[at], rule) for at in first.tolist())[codes]
    return _videos(rows, rule, codes)


def videos_of(frames: Scores, rule: VideoKey) -> Scores:
    """Return video scores from frame scores.

    Args:
        frames: Scores of frames; a merged video takes the columns of its first frame.
        rule: What makes a video.

    Raises:
        UsageError: See `group`.
    """
    if rule == "full":
        return by_video(frames)
    paths = [f"{folder}/" for folder in frames.folder.texts()]
    rows = FrameRows(
        frames.dataset.texts(), frames.kind.texts(), frames.labels, frames.video.texts(), paths, frames.scores
    )
    made = group(rows, rule)
    _, first = np.unique(made.of_frame, return_index=True)
    return replace(frames.take(first), labels=made.label, scores=made.score, frames=made.frames)


def _videos(rows: FrameRows, rule: VideoKey, of_frame: NDArray[np.int64]) -> VideoRows:
    videos = int(of_frame.max()) + 1 if len(of_frame) else 0
    _, first = np.unique(of_frame, return_index=True)
    keys = tuple(
        video_key(rows.dataset[at], rows.kind[at], rows.name[at], rows.frame[at], rule)
        for at in first.tolist()
    )
    judged = ~np.isnan(rows.score)
    frames = np.bincount(of_frame[judged], minlength=videos)
    total = np.bincount(of_frame[judged], weights=rows.score[judged], minlength=videos)
    all_frames = np.bincount(of_frame, minlength=videos)
    fakes = np.bincount(of_frame, weights=rows.label, minlength=videos).astype(np.int64)
    mixed = (fakes > 0) & (fakes < all_frames)
    if rule == "full" and mixed.any():
        raise UsageError(
            f"{'/'.join(keys[int(np.argmax(mixed))])} is stated as real and as fake", "give it one label"
        )
    score = np.divide(total, frames, out=np.full(videos, np.nan), where=frames > 0)
    # The benchmark cuts the mean of the labels to a whole number: one real frame makes the video real.
    return VideoRows(keys, (fakes == all_frames).astype(np.int64), score, frames, mixed, of_frame)


def _folder(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[0]


def _numbered(values: Iterable[object]) -> NDArray[np.int64]:
    """Return equal numbers for equal values, from 0 in the order of their first occurrence."""
    # Of text a table is several times faster than sorting, which np.unique does.
    number: defaultdict[object, int] = defaultdict(count().__next__)
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return np.fromiter(map(number.__getitem__, listed), dtype=np.int64)


def _small(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return codes renumbered from 0 in the order of their first occurrence."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
