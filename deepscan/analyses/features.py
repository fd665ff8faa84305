"""Features of a network, extracted once for many heads: its own, and the tokens after every layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from deepscan.analyses.analysis import IndexArray, Subject
from deepscan.analyses.crops import DrawnCrop, OpenNetwork, draw_crops, note_unread, read_batches
from deepscan.detectors.corit import CoritNetwork
from deepscan.detectors.detector import FAKE, REAL, FrozenNetwork, Network
from deepscan.detectors.dfd_hr import halved
from deepscan.errors import UsageError
from deepscan.progress import OnProgress

#: Number of folds of groups; one of them is held out.
FOLDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class ForgeryCrops:
    """Crops of one kind of fake, and as many reals.

    Attributes:
        data: Name of the data set.
        kind: Name of its label.
        crops: Reals and fakes, alternating.
    """

    data: str
    kind: str
    crops: tuple[DrawnCrop, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ForgeryRows:
    """The crops of one kind of fake among the extracted features.

    Attributes:
        data: Name of the data set.
        kind: Name of its label.
        rows: Their positions, shape (n,).
        groups: The group of each, length n.
    """

    data: str
    kind: str
    rows: IndexArray
    groups: tuple[str, ...]

    def split(self, labels: IndexArray, seed: int) -> tuple[IndexArray, IndexArray]:
        """Return the positions to train on and those to hold out; no group is in both.

        Raises:
            UsageError: There are too few groups.
        """
        truth = labels[self.rows]
        try:
            folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
            trained, held_out = next(folds.split(truth, truth, self.groups))
        except ValueError:
            trained = held_out = np.empty(0, dtype=np.int64)
        if any(set(truth[part]) != {REAL, FAKE} for part in (trained, held_out)):
            raise UsageError(
                f"{self.data}, {self.kind}: {len(self.rows)} crops of {len(set(self.groups))} groups are too "
                "few to train on some and hold out others",
                "name data with more videos of both labels",
            )
        return self.rows[trained], self.rows[held_out]


@dataclass(frozen=True, slots=True, eq=False)
class SeenFeatures:
    """Features of crops.

    Attributes:
        crops: The crops, length N.
        own: What the head of a frozen network is trained on, shape (N, ...); of another network, the last
            layer's.
        layers: After each of L layers, shape (N, L, D): the CLS token, or without one the patches' mean; of
            CoRIT, CLS and region tokens side by side. All have passed the final norm, so that a radius
            means the same at every layer.
    """

    crops: tuple[DrawnCrop, ...]
    own: Tensor
    layers: Tensor

    @property
    def labels(self) -> IndexArray:
        """0 for real, 1 for fake, shape (N,)."""
        return np.array([crop.label for crop in self.crops], dtype=np.int64)

    def case(self, forgery: ForgeryCrops) -> ForgeryRows:
        """Return which of the crops belong to a kind of fake."""
        position = {_identity(crop): row for row, crop in enumerate(self.crops)}
        there = [crop for crop in forgery.crops if _identity(crop) in position]
        rows = np.array([position[_identity(crop)] for crop in there], dtype=np.int64)
        return ForgeryRows(forgery.data, forgery.kind, rows, tuple(crop.group for crop in there))


def forgeries(subject: Subject) -> list[ForgeryCrops]:
    """Return the crops of each kind of fake, at most `subject.most` of it, and as many reals.

    The reals are those of its own data set, or of all where that has none.

    Raises:
        MissingError: There is no crop.
        UsageError: There are no reals or no fakes.
    """
    everyone = draw_crops(subject)
    found = []
    for dataset in subject.datasets:
        of_data = [crop for crop in everyone if crop.dataset == dataset.name]
        reals = [crop for crop in of_data if not crop.label] or [crop for crop in everyone if not crop.label]
        for kind in sorted({video.kind for video in dataset.videos if video.label and video.frames}):
            alone = replace(dataset, videos=[video for video in dataset.videos if video.kind == kind])
            fakes = draw_crops(replace(subject, datasets=(alone,)), both=False)
            crops = tuple(crop for pair in zip(reals, fakes, strict=False) for crop in pair)
            found.append(ForgeryCrops(dataset.name, kind, crops))
    return found


def distinct_crops(found: Sequence[ForgeryCrops]) -> list[DrawnCrop]:
    """Return the crops of all kinds of fakes, each once: kinds share their reals."""
    return list({_identity(crop): crop for forgery in found for crop in forgery.crops}.values())


def see_crops(
    opened: OpenNetwork, crops: Sequence[DrawnCrop], on_progress: OnProgress | None = None
) -> SeenFeatures:
    """Return the features of crops; those that cannot be read are left out.

    Args:
        opened: The network.
        crops: The crops.
        on_progress: Progress callback: (done, total).

    Raises:
        MissingError: No crop could be read.
    """
    read, found = gather(opened, crops, partial(_seen, opened.network), on_progress)
    return SeenFeatures(read, found[0], found[1])


def gather(
    opened: OpenNetwork,
    crops: Sequence[DrawnCrop],
    look: Callable[[dict[str, Tensor]], tuple[Any, ...]],
    on_progress: OnProgress | None,
) -> tuple[tuple[DrawnCrop, ...], list[Tensor]]:
    """Return the readable crops, and what is made of all of them.

    Args:
        opened: The network.
        crops: The crops.
        look: Returns tensors of the network's inputs, each of shape (B, ...).
        on_progress: Progress callback: (done, total).

    Raises:
        MissingError: No crop could be read.
    """
    read: list[DrawnCrop] = []
    parts = []
    with torch.inference_mode():
        for part, pixels in read_batches(crops, on_progress=on_progress):
            read += part
            parts.append([tensor.cpu() for tensor in look(opened.prepare(pixels))])
    note_unread(len(crops), len(read))
    # Cloned out of inference mode: heads are trained on them.
    return tuple(read), [torch.cat(columns).clone() for columns in zip(*parts, strict=True)]


def _seen(network: Network, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    if isinstance(network, CoritNetwork):
        taken, depth = network.layers, network.backbone.depth
        network.layers = tuple(range(1, depth + 1))
        try:
            tokens = network.extract(**inputs)[0]
        finally:
            network.layers = taken
        tokens = tokens.reshape(len(tokens), depth, -1, tokens.shape[-1])
        return tokens[:, [layer - 1 for layer in taken]].flatten(1, 2), tokens.flatten(2)
    tokens = _tokens(network, inputs["crops"])
    if isinstance(network, FrozenNetwork):
        return network.extract(**inputs)[0], tokens
    return tokens[:, -1], tokens


def _tokens(network: Network, crops: Tensor) -> Tensor:
    """Return the backbone's tokens after each of its layers, shape (B, L, D), of a network's crops."""
    backbone = network.backbone
    return backbone.layers(crops if network.side == backbone.side else halved(crops))


def _identity(crop: DrawnCrop) -> tuple[str, str, str, str, int]:
    return crop.dataset, crop.video.split, crop.video.kind, crop.video.name, crop.number
