"""Metrics of validation scores for crops, for videos, and for methods and origins unseen in training."""

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
    """Return the indices of the samples of figure U; empty if they lack a class.

    Figure U is the AUC of fakes of methods, and reals of origins, that no training crop has.

    Args:
        crops: The crops.
        rows: Samples from `batches.arrange`, with the labels of the data.
    """
    if not crops.methods or not crops.origins:
        return np.empty(0, np.int64)
    unseen = np.flatnonzero(SeenInTraining.of_crops(crops).unseen(crops)[rows[:, 0]])
    return unseen if set(rows[unseen, 1].tolist()) == {REAL, FAKE} else unseen[:0]


def choosing_figures(
    crops: CropSet, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, float]:
    """Return the AUC of crops and of videos, and figure U if methods and origins are known.

    Args:
        crops: The crops.
        rows: Scored samples from `batches.arrange`.
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
    """Methods and origins of the split `train`.

    Attributes:
        methods: Methods of its fakes.
        origins: Origins of its reals and fakes.
    """

    methods: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of_pictures(cls, pictures: Iterable[LabelledPicture]) -> "SeenInTraining":
        """Return the methods and origins of the training pictures among these."""
        train = [picture for picture in pictures if picture.split == "train"]
        return cls(
            frozenset(picture.method for picture in train if picture.label == FAKE),
            frozenset(picture.origin or picture.source for picture in train),
        )

    @classmethod
    def of_crops(cls, crops: CropSet) -> "SeenInTraining":
        """Return the methods and origins of the training crops, which must have them."""
        train = crops.where("train").tolist()
        return cls(
            frozenset(crops.methods[position] for position in train if crops.labels[position] == FAKE),
            frozenset(crops.origins[position] for position in train),
        )

    def unseen(self, crops: CropSet) -> NDArray[np.bool_]:
        """Return a mask of fakes of unseen methods and reals of unseen origins, shape (N,)."""
        methods = np.array([method not in self.methods for method in crops.methods])
        origins = np.array([origin not in self.origins for origin in crops.origins])
        return np.where(crops.labels == FAKE, methods, origins)


class GroupVotes(NamedTuple):
    """One vote per group and label, such as a video: the mean score of its crops.

    Attributes:
        labels: Shape (V,), int64.
        scores: Probability of fake, shape (V,).
        groups: Length V; a group with both labels has two votes.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    groups: tuple[str, ...]


def mean_votes(labels: NDArray[np.int64], scores: NDArray[np.float64], groups: Sequence[str]) -> GroupVotes:
    """Return the votes of scored crops, in order of first occurrence of group and label.

    Args:
        labels: 0 or 1, shape (N,).
        scores: Probability of fake, shape (N,).
        groups: Group of each crop, length N.
    """
    crop_scores: dict[tuple[str, int], list[float]] = {}
    for group, label, score in zip(groups, labels.tolist(), scores.tolist(), strict=True):
        crop_scores.setdefault((group, label), []).append(score)
    return GroupVotes(
        np.array([label for _, label in crop_scores], dtype=np.int64),
        np.array([np.mean(values) for values in crop_scores.values()]),
        tuple(group for group, _ in crop_scores),
    )
