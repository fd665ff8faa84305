"""Features of a network, extracted once for many heads: head inputs, and the tokens after every layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from deepscan.analyses.analysis import IndexArray, Subject
from deepscan.analyses.crops import DrawnCrop, OpenNetwork, draw_crops, note_unreadable, read_batches
from deepscan.detectors.corit import CoritNetwork
from deepscan.detectors.detector import FAKE, REAL, FrozenNetwork, Network
from deepscan.detectors.dfd_hr import halved
from deepscan.errors import UsageError
from deepscan.progress import OnProgress

#: Number of folds of groups, one of which is held out.
FOLDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class ForgeryCrops:
    """Crops of a kind of fake, and as many reals.

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
    """The rows of a kind of fake in the extracted features.

    Attributes:
        data: Name of the data set.
        kind: Name of its label.
        rows: Row indices, shape (n,).
        groups: Group of each row, length n.
    """

    data: str
    kind: str
    rows: IndexArray
    groups: tuple[str, ...]

    def split(self, labels: IndexArray, seed: int) -> tuple[IndexArray, IndexArray]:
        """Split the rows into training and held-out rows, without common groups.

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
                f"{self.data}, {self.kind}: {len(self.rows)} crops in {len(set(self.groups))} groups are too "
                "few for a training and a held-out part",
                "use data with more videos of both labels",
            )
        return self.rows[trained], self.rows[held_out]


@dataclass(frozen=True, slots=True, eq=False)
class CropFeatures:
    """Features of crops.

    Attributes:
        crops: The crops, length N.
        own: Input of the head of a frozen network, shape (N, ...); for other networks, the features of the
            last layer.
        layers: Features after each of L layers, shape (N, L, D): the CLS token, or the mean patch token
            without one; for CoRIT, CLS and region tokens concatenated. All have passed the final norm, so
            that radii are comparable between layers.
    """

    crops: tuple[DrawnCrop, ...]
    own: Tensor
    layers: Tensor

    @property
    def labels(self) -> IndexArray:
        """0 for real, 1 for fake, shape (N,)."""
        return np.array([crop.label for crop in self.crops], dtype=np.int64)

    def case(self, forgery: ForgeryCrops) -> ForgeryRows:
        """Return the rows of a kind of fake."""
        position = {_identity(crop): row for row, crop in enumerate(self.crops)}
        readable = [crop for crop in forgery.crops if _identity(crop) in position]
        rows = np.array([position[_identity(crop)] for crop in readable], dtype=np.int64)
        return ForgeryRows(forgery.data, forgery.kind, rows, tuple(crop.group for crop in readable))


def forgeries(subject: Subject) -> list[ForgeryCrops]:
    """Draw up to `subject.max_crops` crops of each kind of fake, and as many reals.

    The reals come from the same data set, or from all data sets if it has none.

    Raises:
        MissingError: There are no crops.
        UsageError: There are no reals or no fakes.
    """
    all_crops = draw_crops(subject)
    drawn = []
    for dataset in subject.datasets:
        of_data = [crop for crop in all_crops if crop.dataset == dataset.name]
        reals = [crop for crop in of_data if not crop.label] or [crop for crop in all_crops if not crop.label]
        for kind in sorted({video.kind for video in dataset.videos if video.label and video.frames}):
            single_kind = replace(dataset, videos=[video for video in dataset.videos if video.kind == kind])
            fakes = draw_crops(replace(subject, datasets=(single_kind,)), both=False)
            crops = tuple(crop for pair in zip(reals, fakes, strict=False) for crop in pair)
            drawn.append(ForgeryCrops(dataset.name, kind, crops))
    return drawn


def distinct_crops(drawn: Sequence[ForgeryCrops]) -> list[DrawnCrop]:
    """Return the crops of all kinds of fakes without repetitions, since kinds share their reals."""
    return list({_identity(crop): crop for forgery in drawn for crop in forgery.crops}.values())


def extract_features(
    opened: OpenNetwork, crops: Sequence[DrawnCrop], on_progress: OnProgress | None = None
) -> CropFeatures:
    """Extract the features of crops; unreadable crops are skipped.

    Args:
        opened: The network.
        crops: The crops.
        on_progress: Progress callback: (done, total).

    Raises:
        MissingError: No crop could be read.
    """
    read, drawn = gather(opened, crops, partial(_extract, opened.network), on_progress)
    return CropFeatures(read, drawn[0], drawn[1])


def gather(
    opened: OpenNetwork,
    crops: Sequence[DrawnCrop],
    compute: Callable[[dict[str, Tensor]], tuple[Any, ...]],
    on_progress: OnProgress | None,
) -> tuple[tuple[DrawnCrop, ...], list[Tensor]]:
    """Compute tensors for all readable crops, and return both.

    Args:
        opened: The network.
        crops: The crops.
        compute: Maps the network's inputs to tensors, each of shape (B, ...).
        on_progress: Progress callback: (done, total).

    Raises:
        MissingError: No crop could be read.
    """
    read: list[DrawnCrop] = []
    parts = []
    with torch.inference_mode():
        for part, pixels in read_batches(crops, on_progress=on_progress):
            read += part
            parts.append([tensor.cpu() for tensor in compute(opened.prepare(pixels))])
    note_unreadable(len(crops), len(read))
    # Clone outside of inference mode, since heads are trained on these tensors.
    return tuple(read), [torch.cat(columns).clone() for columns in zip(*parts, strict=True)]


def _extract(network: Network, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    if isinstance(network, CoritNetwork):
        used_layers, depth = network.layers, network.backbone.depth
        network.layers = tuple(range(1, depth + 1))
        try:
            tokens = network.extract(**inputs)[0]
        finally:
            network.layers = used_layers
        tokens = tokens.reshape(len(tokens), depth, -1, tokens.shape[-1])
        return tokens[:, [layer - 1 for layer in used_layers]].flatten(1, 2), tokens.flatten(2)
    tokens = _tokens(network, inputs["crops"])
    if isinstance(network, FrozenNetwork):
        return network.extract(**inputs)[0], tokens
    return tokens[:, -1], tokens


def _tokens(network: Network, crops: Tensor) -> Tensor:
    """Return the backbone's tokens of crops after each layer, shape (B, L, D)."""
    backbone = network.backbone
    return backbone.layers(crops if network.side == backbone.side else halved(crops))


def _identity(crop: DrawnCrop) -> tuple[str, str, str, str, int]:
    return crop.dataset, crop.video.split, crop.video.kind, crop.video.name, crop.number
