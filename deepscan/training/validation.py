"""What validation scores say: of crops, of videos, and of methods and origins that training lacks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepscan.data.crops.crop_cache import CropSet
from deepscan.data.pictures import LabelledPicture
from deepscan.detectors.detector import FAKE, REAL
from deepscan.metrics.binary import auc


def unseen_rows(crops: CropSet, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which samples make figure U; none where a class is missing among them.

    Figure U is the AUC of fakes of methods, and reals of origins, that no training crop has.

    Args:
        crops: The crops.
        rows: Samples as `batches.arrange` gives them, with the labels of the data.
    """
    if not crops.methods or not crops.origins:
        return np.empty(0, np.int64)
    found = np.flatnonzero(SeenInTraining.of_crops(crops).unseen(crops)[rows[:, 0]])
    return found if set(rows[found, 1].tolist()) == {REAL, FAKE} else found[:0]


def choosing_figures(
    crops: CropSet, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, float]:
    """Return the AUC of crops and of videos, and figure U where methods and origins are known.

    Args:
        crops: The crops.
        rows: Which of them were scored, as `batches.arrange` gives them.
        scores: Probability of fake of each row.
    """
    positions, labels = rows[:, 0], rows[:, 1]
    videos = mean_votes(labels, scores, [crops.videos[position] for position in positions])
    figures = {"auc": auc(labels, scores), "video_auc": auc(videos.labels, videos.scores)}
    if len(unseen := unseen_rows(crops, rows)):
        groups = [crops.groups[position] for position in positions[unseen]]
        voted = mean_votes(labels[unseen], scores[unseen], groups)
        figures["unseen_auc"] = auc(voted.labels, voted.scores)
    return figures


@dataclass(frozen=True, slots=True)
class SeenInTraining:
    """What the rows of `train` have.

    Attributes:
        methods: Of their fakes.
        origins: Of their reals and fakes.
    """

    methods: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of(cls, pictures: Iterable[LabelledPicture]) -> "SeenInTraining":
        """Return what the training pictures among these have."""
        train = [picture for picture in pictures if picture.split == "train"]
        return cls(
            frozenset(picture.method for picture in train if picture.label == FAKE),
            frozenset(picture.origin or picture.source for picture in train),
        )

    @classmethod
    def of_crops(cls, crops: CropSet) -> "SeenInTraining":
        """Return what the training crops among these have, whose methods and origins are known."""
        train = crops.where("train").tolist()
        return cls(
            frozenset(crops.methods[position] for position in train if crops.labels[position] == FAKE),
            frozenset(crops.origins[position] for position in train),
        )

    def unseen(self, crops: CropSet) -> NDArray[np.bool_]:
        """Return which crops are fakes of another method, or reals of another origin, shape (N,)."""
        methods = np.array([method not in self.methods for method in crops.methods])
        origins = np.array([origin not in self.origins for origin in crops.origins])
        return np.where(crops.labels == FAKE, methods, origins)


class GroupVotes(NamedTuple):
    """One vote a group and label, such as a video and its label: the mean score of its crops.

    Attributes:
        labels: Shape (V,), int64.
        scores: Probability of fake, shape (V,).
        groups: Length V; a group with both labels has two votes.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    groups: tuple[str, ...]


def mean_votes(labels: NDArray[np.int64], scores: NDArray[np.float64], groups: Sequence[str]) -> GroupVotes:
    """Return the votes of scored crops, in the order in which group and label first occur.

    Args:
        labels: 0 or 1, shape (N,).
        scores: Probability of fake, shape (N,).
        groups: Of each crop, length N.
    """
    of_vote: dict[tuple[str, int], list[float]] = {}
    for group, label, score in zip(groups, labels.tolist(), scores.tolist(), strict=True):
        of_vote.setdefault((group, label), []).append(score)
    return GroupVotes(
        np.array([label for _, label in of_vote], dtype=np.int64),
        np.array([np.mean(crop_scores) for crop_scores in of_vote.values()]),
        tuple(group for group, _ in of_vote),
    )
