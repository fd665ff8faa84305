"""Scores of a network in training: of crops, and of the videos that they are frames of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepscan.data.crops.crop_cache import CropSet
from deepscan.data.unseen import Seen, votes
from deepscan.detectors.detector import FAKE, REAL
from deepscan.metrics.binary import auc


def video_means(
    labels: NDArray[np.int64], scores: NDArray[np.float64], videos: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return label and mean score of each video, a video being one of its name and its label."""
    of_video: dict[tuple[str, int], list[float]] = {}
    for label, score, video in zip(labels.tolist(), scores.tolist(), videos, strict=True):
        of_video.setdefault((video, label), []).append(score)
    return (
        np.array([label for _, label in of_video], dtype=np.int64),
        np.array([np.mean(given) for given in of_video.values()]),
    )


def unseen_rows(crops: CropSet, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which samples make figure U of `evaluation.unseen`; none where a class is missing among them.

    Args:
        crops: The crops.
        rows: Samples as `samples.arrange` gives them, with the labels of the data.
    """
    if not crops.methods or not crops.origins:
        return np.empty(0, np.int64)
    found = np.flatnonzero(Seen.of_crops(crops).unseen(crops)[rows[:, 0]])
    return found if set(rows[found, 1].tolist()) == {REAL, FAKE} else found[:0]


def choosing_figures(
    crops: CropSet, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, float]:
    """Return the AUC of crops and of videos, and figure U where methods and origins are known.

    Args:
        crops: The crops.
        rows: Which of them were scored, as `samples.arrange` gives them.
        scores: Probability of fake of each row.
    """
    positions, labels = rows[:, 0], rows[:, 1]
    videos = video_means(labels, scores, [crops.videos[at] for at in positions])
    figures = {"auc": auc(labels, scores), "video_auc": auc(*videos)}
    if len(unseen := unseen_rows(crops, rows)):
        groups = [crops.groups[at] for at in positions[unseen]]
        voted = votes(labels[unseen], scores[unseen], groups)
        figures["unseen_auc"] = auc(voted.labels, voted.scores)
    return figures
