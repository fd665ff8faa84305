"""Batches from the features of a frozen backbone, which are computed once and cached on disk."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepscan.data.crops.crop_cache import CropIndices, CropSet
from deepscan.detectors.detector import Batch, FrozenNetwork
from deepscan.detectors.preprocess import Preprocessor
from deepscan.progress import OnProgress
from deepscan.training.batches import faces_of
from deepscan.training.optimiser import FEATURES, predict_batch
from deepscan.training.recipe import Recipe

_BATCH = 32


def cacheable(recipe: Recipe) -> bool:
    """Return whether crops have the same features in every epoch."""
    return recipe.augment == "none" and not recipe.blend and not recipe.pairs_only


def features_key(network: FrozenNetwork, crops: CropSet, positions: CropIndices, recipe: Recipe) -> str:
    """Return a hash of everything that the features depend on: crops, network, inputs, backbone weights."""
    settings = [
        crops.key,
        recipe.network,
        recipe.inputs,
        recipe.mean,
        recipe.std,
        fingerprint(network.backbone),
    ]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(positions).tobytes())
    return digest.hexdigest()[:16]


def fingerprint(module: nn.Module) -> str:
    """Return a hash of a module's weights."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class FeatureSource:
    """Cached features of crops, float16 on disk.

    Args:
        network: A network with a frozen backbone.
        crops: The crops.
        positions: Indices of the crops to use.
        recipe: Recipe that the network was built from.
        inputs: Makes the network's inputs.
        store: Folder of the cache.
        on_progress: Progress callback: (done, total).
    """

    def __init__(
        self,
        network: FrozenNetwork,
        crops: CropSet,
        positions: CropIndices,
        recipe: Recipe,
        inputs: Preprocessor,
        store: Path,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.positions = np.unique(positions)
        path = store / f"features-{features_key(network, crops, self.positions, recipe)}.npy"
        if not path.is_file():
            _fill(path, network, crops, self.positions, inputs, on_progress)
        self.features: NDArray[np.float16] = np.load(path, mmap_mode="r")

    def batches(self, parts: Sequence[CropIndices], epoch: int) -> Iterator[Batch]:
        """Yield a batch for each part of an epoch's order; features are the same in every epoch."""
        for rows in parts:
            yield Batch({FEATURES: self._read(rows[:, 0])}, torch.from_numpy(rows[:, 1].copy()))

    def scores(self, network: FrozenNetwork, rows: CropIndices) -> NDArray[np.float64]:
        """Return the probability of fake of samples, whose rows are from `arrange`, shape (N,)."""
        device = next(network.parameters()).device
        labels = torch.zeros(1, dtype=torch.int64)
        with torch.inference_mode():
            scores = [
                predict_batch(network, Batch({FEATURES: self._read(part)}, labels).to(device)).probability
                for part in np.array_split(rows[:, 0], max(1, len(rows) // 1024))
            ]
        return torch.cat(scores).double().cpu().numpy()

    def _read(self, positions: CropIndices) -> torch.Tensor:
        rows = np.searchsorted(self.positions, positions)
        return torch.from_numpy(self.features[rows].astype(np.float32))


def _fill(
    path: Path,
    network: FrozenNetwork,
    crops: CropSet,
    positions: CropIndices,
    inputs: Preprocessor,
    on_progress: OnProgress | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npy")
    device = next(network.parameters()).device
    network.eval()
    try:
        with temporary.open("wb") as file:
            for start in range(0, len(positions), _BATCH):
                part = positions[start : start + _BATCH]
                arrays = inputs(np.asarray(crops.crops[part]), faces=faces_of(crops, part))
                tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
                with torch.inference_mode():
                    features, _ = network.extract(**tensors)
                values = features.cpu().numpy().astype(np.float16)
                if not start:
                    # Written rather than memory-mapped: on a full disk a write fails with an error, while a
                    # map kills the process.
                    shape = (len(positions), *values.shape[1:])
                    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(values).tobytes())
                if on_progress is not None:
                    on_progress(start + len(part), len(positions))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
