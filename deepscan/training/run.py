"""State of a training run: network, optimiser, data and progress."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from deepscan.data.augmentation.forgeries import Redrawer
from deepscan.data.crops.crop_cache import CropIndices, CropSet
from deepscan.data.pictures import PAIRS
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch, DetectionMethod, FrozenNetwork, Network
from deepscan.errors import UsageError
from deepscan.progress import OnProgress
from deepscan.training import run_files
from deepscan.training.batches import CropSource, arrange, halves
from deepscan.training.features import FeatureSource, cacheable, fingerprint
from deepscan.training.optimiser import TrainStep, make_optimiser
from deepscan.training.processes import Processes
from deepscan.training.recipe import Recipe
from deepscan.training.run_files import LAST, TrainingProgress
from deepscan.training.validation import unseen_rows


class BatchSource(Protocol):
    """Source of batches: crops, or the cached features of a frozen backbone."""

    def batches(self, parts: Sequence[CropIndices], epoch: int) -> Iterator[Batch]:
        """Yield a batch for each part of an epoch's order."""

    def scores(self, network: Any, rows: CropIndices) -> NDArray[np.float64]:
        """Return the probability of fake of samples, whose rows are from `arrange`."""


@dataclass(slots=True)
class TrainingRun:
    """A network in training, and everything needed to train it."""

    recipe: Recipe
    crops: CropSet
    source: BatchSource
    training: CropIndices
    choosing: CropIndices
    network: Network
    average: Network | None
    train_step: TrainStep
    processes: Processes
    folder: Path
    identity: Mapping[str, Any]
    progress: TrainingProgress = field(default_factory=lambda: TrainingProgress(0, 0, -math.inf, ()))

    @property
    def evaluated(self) -> Network:
        """The network that is validated and published: the averaged one, if there is one."""
        return self.network if self.average is None else self.average

    @property
    def parts(self) -> int:
        """Number of parts of a batch, over all processes."""
        return self.recipe.accumulate * self.processes.count

    def save(self) -> None:
        """Write the checkpoint to resume from."""
        if self.processes.first:
            run_files.save_checkpoint(
                self.folder / LAST,
                self.network,
                self.average,
                self.train_step.optimiser,
                self.progress,
                self.identity,
            )


def start_run(
    recipe: Recipe,
    crops: CropSet,
    folder: Path,
    processes: Processes,
    cache: Path | None,
    redrawers: Sequence[Redrawer],
    on_features: OnProgress | None,
) -> TrainingRun:
    """Set up a run before its first step; see `training.loop.train` for the arguments."""
    training, choosing = _rows(recipe, crops)
    torch.manual_seed(recipe.seed)
    detector: DetectionMethod[Any] = DETECTORS.get(recipe.method)(**recipe.loss)
    with processes.together():
        network = detector.build(recipe.network, recipe.weights)
    # Convolutions on a CPU are a sixth faster in this layout.
    network = network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    processes.share_weights(network)
    identity = {**recipe.to_json(), "crops": crops.key, "index": crops.index_hash}
    if isinstance(network, FrozenNetwork):
        # Its checkpoints do not contain the backbone.
        identity["backbone"] = fingerprint(network.backbone)
    average = copy.deepcopy(network).requires_grad_(False) if recipe.ema else None
    inputs, source = recipe.make_preprocessor(), None
    if cache is not None and isinstance(network, FrozenNetwork) and cacheable(recipe):
        rows = np.concatenate((training, choosing[:, 0]))
        # The first process fills the cache, then the others read it.
        for first in (True, False):
            with processes.together():
                if processes.first == first:
                    source = FeatureSource(network, crops, rows, recipe, inputs, cache, on_features)
    return TrainingRun(
        recipe=recipe,
        crops=crops,
        source=source or CropSource(crops, recipe, inputs, masks=detector.wants_masks, redrawers=redrawers),
        training=training,
        choosing=choosing,
        network=network,
        average=average,
        train_step=TrainStep(recipe, network, detector.loss, make_optimiser(recipe, network), processes),
        processes=processes,
        folder=folder,
        identity=identity,
    )


def _rows(recipe: Recipe, crops: CropSet) -> tuple[CropIndices, CropIndices]:
    """Return the positions to train on, and the samples that choose the epoch, as rows of `arrange`."""
    training = crops.where("train", recipe.frames["train"], recipe.sampling)
    if recipe.labels == "none":
        validation = crops.where("val", recipe.frames["val"], recipe.sampling)
        return training, arrange(crops, validation, recipe, (recipe.seed,))
    training = np.concatenate((training, crops.where(PAIRS)))
    choosing, _ = halves(crops, recipe.frames["val"], recipe.sampling)
    rows = np.column_stack((choosing, crops.labels[choosing], choosing))
    if recipe.select == "unseen_auc" and not len(unseen_rows(crops, rows)):
        raise UsageError(
            "select=unseen_auc needs validation crops of methods and origins that are not trained on",
            "add the columns method and origin to faces.csv, or set select=auc",
        )
    return training, rows
