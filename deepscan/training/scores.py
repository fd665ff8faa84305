"""Scores of a network in training: of crops, and of the videos that they are frames of."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deepscan.data.crops import CropSet
from deepscan.detectors.detector import FAKE, REAL, Network
from deepscan.detectors.inputs import Faces, Inputs
from deepscan.evaluation.metrics import auc
from deepscan.evaluation.unseen import Seen, votes


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


def predict(
    network: Network, crops: NDArray[np.uint8], inputs: Inputs, faces: Faces = None, batch: int = 64
) -> NDArray[np.float64]:
    """Return the probability of fake of crops in float32 arithmetic, the mean over all views.

    Args:
        network: The network.
        crops: RGB, shape (N, S, S, 3), uint8.
        inputs: Makes its inputs.
        faces: Where the face of each is, as `Inputs` takes it.
        batch: Crops at a time.
    """
    network.eval()
    device = next(network.parameters()).device
    scores: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch):
            views = []
            for view in range(inputs.views):
                known = None if faces is None else faces[start : start + batch]
                arrays = inputs(np.asarray(crops[start : start + batch]), view, known)
                given = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
                views.append(network.predict(**given)["probability"].double().cpu().numpy())
            scores.append(np.mean(views, axis=0))
    return np.concatenate(scores)
