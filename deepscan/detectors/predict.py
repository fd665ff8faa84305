"""Score crops with a torch network."""

import numpy as np
import torch
from numpy.typing import NDArray

from deepscan.detectors.detector import Network
from deepscan.detectors.preprocess import Faces, Preprocessor


def predict(
    network: Network, crops: NDArray[np.uint8], preprocess: Preprocessor, faces: Faces = None, batch: int = 64
) -> NDArray[np.float64]:
    """Return each crop's probability of fake in float32, averaged over all views, shape (N,).

    Args:
        network: The network.
        crops: RGB, shape (N, S, S, 3), uint8.
        preprocess: Makes the network's inputs.
        faces: Face masks, see `Preprocessor`.
        batch: Batch size.
    """
    network.eval()
    device = next(network.parameters()).device
    scores: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch):
            views = []
            for view in range(preprocess.views):
                masks = None if faces is None else faces[start : start + batch]
                arrays = preprocess(np.asarray(crops[start : start + batch]), view, masks)
                inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
                views.append(network.predict(**inputs)["probability"].double().cpu().numpy())
            scores.append(np.mean(views, axis=0))
    return np.concatenate(scores)
