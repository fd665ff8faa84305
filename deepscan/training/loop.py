"""The training loop: seeded epochs, validation after each, checkpoints, the same when resumed."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepscan.data.augmentation.forgeries import Redrawer
from deepscan.data.crops.crop_cache import CropIndices, CropSet
from deepscan.data.pictures import PAIRS
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch, Detector, FrozenNetwork, Network
from deepscan.errors import DeepscanError, UsageError
from deepscan.progress import OnProgress
from deepscan.training import run_files
from deepscan.training.batches import CropSource, arrange, halves
from deepscan.training.features import FeatureSource, cacheable, fingerprint
from deepscan.training.optimiser import UNSTABLE_HINT, TrainStep, learning_rate, make_optimiser
from deepscan.training.processes import DeferredSignals, Processes, deferred_signals
from deepscan.training.recipe import Recipe
from deepscan.training.run_files import BEST, LAST, Log, TrainingProgress
from deepscan.training.validation import choosing_figures, unseen_rows

#: Seconds after which a checkpoint is written within an epoch.
CHECKPOINT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class StepReport:
    """What `on_step` is told after a step.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: How many there are.
        step: Steps done in this epoch.
        steps: How many it has.
        loss: Mean loss of the epoch so far.
        rate: Crops a second in this epoch.
        left: Seconds until the last epoch ends, by that rate.
        row: The epoch's row of the log, once it has ended.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    rate: float
    left: float
    row: Mapping[str, float] | None = None


OnStep = Callable[[StepReport], None]


class BatchSource(Protocol):
    """Where batches come from: crops, or the cached features of a frozen backbone."""

    def batches(self, parts: Sequence[CropIndices], epoch: int) -> Iterator[Batch]:
        """Yield a batch for each part of an epoch's order."""

    def scores(self, network: Any, rows: CropIndices) -> NDArray[np.float64]:
        """Return the probability of fake of samples, rows as `arrange` gives them."""


@dataclass(slots=True)
class TrainingRun:
    """A network in training, and what trains it."""

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
    def kept(self) -> Network:
        """The network that is validated and kept: the averaged one, where there is one."""
        return self.network if self.average is None else self.average

    @property
    def parts(self) -> int:
        """In how many parts a batch is taken, over all processes."""
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


def train(
    recipe: Recipe,
    crops: CropSet,
    folder: Path,
    *,
    processes: Processes,
    resume: bool = False,
    finish: bool = False,
    cache: Path | None = None,
    redrawers: Sequence[Redrawer] = (),
    on_step: OnStep | None = None,
    on_features: OnProgress | None = None,
) -> tuple[Network, TrainingProgress]:
    """Train a network and return the best epoch's, by the validation crops' first half.

    `last.safetensors` holds the run after each epoch, after every ten minutes and when it is interrupted,
    `best.safetensors` the best weights so far, `log.csv` a row an epoch, `tensorboard` the curves. A resumed
    run goes on after the last step that was saved, and on a CPU with as many threads gives the weights of an
    uninterrupted one: every part of every step draws from a seed of its own.

    Every process takes its share of each batch; the first one writes.

    Args:
        recipe: How to train.
        crops: Training and validation crops.
        folder: Where checkpoints and the log go.
        processes: Which processes train it together, and where this one computes.
        resume: Go on from the folder's last checkpoint.
        finish: Only take the best weights of an interrupted run as they are.
        cache: Folder to keep the features of a frozen backbone in; None trains with it live.
        redrawers: Trained autoencoders, where the recipe makes fakes by them.
        on_step: Told after every step.
        on_features: Told how many crops' features are done, and how many there are.

    Raises:
        UsageError: The crops lack a class, or do not fill one batch; or the loss became no number.
        ContractError: The checkpoint is of a run with another recipe or other data.
        MissingError: There is no checkpoint to resume from, or the backbone's weights are not there.
    """
    with _one_thread_in_opencv():
        run = _begin(recipe, crops, folder, processes, cache, redrawers, on_features)
        if resume or finish:
            run.progress = run_files.restore_checkpoint(
                folder / LAST, run.network, run.average, run.train_step.optimiser, run.identity
            )
        if not finish and run.progress.epoch < recipe.epochs:
            _epochs(run, on_step if processes.first else None)
        processes.wait()
        network = run.network
        run_files.load_best(folder / BEST, network)
        return network.to("cpu").eval(), run.progress


def _begin(
    recipe: Recipe,
    crops: CropSet,
    folder: Path,
    processes: Processes,
    cache: Path | None,
    redrawers: Sequence[Redrawer],
    on_features: OnProgress | None,
) -> TrainingRun:
    training, choosing = _rows(recipe, crops)
    torch.manual_seed(recipe.seed)
    detector: Detector[Any] = DETECTORS.get(recipe.method)(**recipe.loss)
    network = detector.build(recipe.network, recipe.weights)
    # Convolutions on a CPU run a sixth faster on this layout.
    network = network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    identity = {**recipe.to_json(), "crops": crops.key, "index": crops.stated}
    if isinstance(network, FrozenNetwork):
        # Its checkpoints hold no backbone that could tell.
        identity["backbone"] = fingerprint(network.backbone)
    average = copy.deepcopy(network).requires_grad_(False) if recipe.ema else None
    inputs, source = recipe.make_preprocessor(), None
    if cache is not None and isinstance(network, FrozenNetwork) and cacheable(recipe):
        rows = np.concatenate((training, choosing[:, 0]))
        # One process fills the cache, the others read it.
        for turn in (True, False):
            if processes.first == turn:
                source = FeatureSource(network, crops, rows, recipe, inputs, cache, on_features)
            processes.wait()
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
    """Return the positions to train on, and the samples that choose the epoch, as `arrange` gives them."""
    training = crops.where("train", recipe.frames["train"], recipe.sampling)
    if recipe.labels == "none":
        held = crops.where("val", recipe.frames["val"], recipe.sampling)
        return training, arrange(crops, held, recipe, (recipe.seed,))
    training = np.concatenate((training, crops.where(PAIRS)))
    choosing, _ = halves(crops, recipe.frames["val"], recipe.sampling)
    rows = np.column_stack((choosing, crops.labels[choosing], choosing))
    if recipe.select == "unseen_auc" and not len(unseen_rows(crops, rows)):
        raise UsageError(
            "select=unseen_auc: no validation crop is of a method or an origin that is not trained on",
            "give faces.csv the columns method and origin, or choose select=auc",
        )
    return training, rows


def _epochs(run: TrainingRun, on_step: OnStep | None) -> None:
    recipe, folder = run.recipe, run.folder
    done = sum(int(row["steps"]) for row in run.progress.history) + run.progress.step
    log = Log(folder, done) if run.processes.first else nullcontext()
    with log as told, deferred_signals() as held:
        for epoch in range(run.progress.epoch, recipe.epochs):
            row = _epoch(run, epoch, on_step, told, held)
            better = row[recipe.select] > run.progress.best
            run.progress = TrainingProgress(
                epoch + 1, 0, max(row[recipe.select], run.progress.best), (*run.progress.history, row)
            )
            if run.processes.first:
                if better:
                    run_files.save_best(folder / BEST, run.kept)
                assert told is not None
                told.epoch(sum(int(past["steps"]) for past in run.progress.history), run.progress.history)
            run.save()
            held.end()


def _epoch(
    run: TrainingRun, epoch: int, on_step: OnStep | None, log: Log | None, held: DeferredSignals
) -> dict[str, float]:
    recipe, progress = run.recipe, run.progress
    order = arrange(run.crops, run.training, recipe, (recipe.seed, epoch))
    steps, size = len(order) // recipe.batch, recipe.batch // run.parts
    if not steps:
        raise UsageError(f"{len(order)} samples do not fill a batch of {recipe.batch}", "lower batch")
    if recipe.batch % run.parts or (size % 2 and recipe.balance != "natural"):
        raise UsageError(
            f"a batch of {recipe.batch} cannot be taken in {run.parts} parts of whole pairs",
            f"make batch a multiple of {2 * run.parts}",
        )
    own = range(run.processes.rank, run.parts, run.processes.count)
    starts = [step * recipe.batch + part * size for step in range(progress.step, steps) for part in own]
    coming = run.source.batches([order[start : start + size] for start in starts], epoch)
    run.network.train()
    begun, saved = time.monotonic() - progress.seconds, time.monotonic()
    for step in range(progress.step, steps):
        at, rate = epoch * steps + step, learning_rate(recipe, epoch * steps + step, steps * recipe.epochs)
        parts = [next(coming) for _ in own]
        try:
            told = run.train_step.step(parts, [_seed(recipe.seed, at, part) for part in own], rate)
        except DeepscanError as error:
            raise type(error)(f"epoch {epoch + 1}, batch {step + 1}: {error.message}", error.hint)
        if run.average is not None:
            update_ema(run.average, run.network, min(recipe.ema, (1 + at) / (10 + at)))
        run.progress = replace(
            run.progress,
            step=step + 1,
            sums=_added(run.progress.sums, told),
            seconds=time.monotonic() - begun,
        )
        if log is not None:
            log.step(at + 1, {**told, "lr": recipe.lr * rate})
        if on_step is not None:
            on_step(_step(run, epoch, steps, None))
        if held.signal is not None or time.monotonic() - saved > CHECKPOINT_SECONDS:
            run.save()
            saved = time.monotonic()
            held.end()
    try:
        judged = _validate(run)
    except DeepscanError as error:
        raise type(error)(f"epoch {epoch + 1}, after its last batch: {error.message}", error.hint)
    row = {
        "epoch": float(epoch + 1),
        "steps": float(steps),
        "lr": recipe.lr * learning_rate(recipe, (epoch + 1) * steps - 1, steps * recipe.epochs),
        **_means(run.progress.sums),
        **judged,
        "seconds": round(run.progress.seconds, 1),
        "rate": round(steps * recipe.batch / run.progress.seconds, 1),
    }
    if on_step is not None:
        on_step(_step(run, epoch, steps, row))
    return row


def _step(run: TrainingRun, epoch: int, steps: int, row: Mapping[str, float] | None) -> StepReport:
    recipe, progress = run.recipe, run.progress
    rate = progress.step * recipe.batch / max(progress.seconds, 1e-9)
    left = ((recipe.epochs - epoch) * steps - progress.step) * recipe.batch / rate
    mean = _means(progress.sums)["loss"]
    return StepReport(epoch + 1, recipe.epochs, progress.step, steps, mean, rate, left, row)


def _seed(seed: int, step: int, part: int) -> int:
    return ((seed * 1_000_003 + step) * 1_009 + part) % 2**63


def _added(sums: Mapping[str, tuple[float, int]], told: Mapping[str, float]) -> dict[str, tuple[float, int]]:
    return {
        name: (sums.get(name, (0.0, 0))[0] + value, sums.get(name, (0.0, 0))[1] + 1)
        if math.isfinite(value)
        else sums.get(name, (0.0, 0))
        for name, value in told.items()
    }


def _means(sums: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    return {name: value / count if count else math.nan for name, (value, count) in sums.items()}


def _validate(run: TrainingRun) -> dict[str, float]:
    """Return the figures of the validation crops, each process having scored its share."""
    run.processes.share_buffers(run.kept)
    rank, count = run.processes.rank, run.processes.count
    run.kept.eval()
    shares = run.processes.gather(run.source.scores(run.kept, run.choosing[rank::count]))
    scores = np.empty(len(run.choosing))
    for at, share in enumerate(shares):
        scores[at::count] = share
    if not np.isfinite(scores).all():
        raise UsageError(
            f"{np.isnan(scores).sum()} of {len(scores)} validation scores are no numbers", UNSTABLE_HINT
        )
    return choosing_figures(run.crops, run.choosing, scores)


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights towards the present ones; the norms' statistics are averaged as well."""
    present = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(present[name], 1 - decay)
        else:
            value.copy_(present[name])


@contextmanager
def _one_thread_in_opencv() -> Iterator[None]:
    # The crops are small: OpenCV's threads would cost more than they do, and take the cores from torch.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
