"""Scores of a network that torch runs."""

import numpy as np
import torch
from numpy.typing import NDArray

from deepscan.detectors.detector import Network
from deepscan.detectors.preprocess import Faces, Preprocessor


def predict(
    network: Network, crops: NDArray[np.uint8], preprocess: Preprocessor, faces: Faces = None, batch: int = 64
) -> NDArray[np.float64]:
    """Return the probability of fake of crops in float32 arithmetic, the mean over all views.

    Args:
        network: The network.
        crops: RGB, shape (N, S, S, 3), uint8.
        preprocess: Makes the inputs of the network.
        faces: Where the face of each is, as `Preprocessor` takes it.
        batch: Crops at a time.
    """
    network.eval()
    device = next(network.parameters()).device
    scores: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch):
            views = []
            for view in range(preprocess.views):
                known = None if faces is None else faces[start : start + batch]
                arrays = preprocess(np.asarray(crops[start : start + batch]), view, known)
                given = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
                views.append(network.predict(**given)["probability"].double().cpu().numpy())
            scores.append(np.mean(views, axis=0))
    return np.concatenate(scores)
