"""The training loop: seeded epochs, validation, checkpoints and deterministic resumption."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from deepscan.data.augmentation.forgeries import Redrawer
from deepscan.data.crops.crop_cache import CropSet
from deepscan.detectors.detector import Network
from deepscan.errors import DeepscanError, UsageError
from deepscan.progress import OnProgress
from deepscan.training import run_files
from deepscan.training.batches import arrange
from deepscan.training.optimiser import UNSTABLE_HINT, learning_rate
from deepscan.training.processes import DeferredSignals, Processes, deferred_signals
from deepscan.training.recipe import Recipe
from deepscan.training.run import TrainingRun, start_run
from deepscan.training.run_files import BEST, LAST, Log, TrainingProgress
from deepscan.training.validation import choosing_figures

#: Seconds between checkpoints within an epoch.
CHECKPOINT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class StepReport:
    """Argument of `on_step` after a step.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: Number of epochs.
        step: Steps done in this epoch.
        steps: Steps of the epoch.
        loss: Mean loss of the epoch so far.
        rate: Crops per second in this epoch.
        left: Estimated seconds until the last epoch ends.
        row: The epoch's row of the log, after its last step; None before.
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
    """Train a network; return the best epoch's network, by the first half of the validation crops.

    Processes other than the first return the network of the last epoch.

    In the folder, `last.safetensors` is the state after each epoch, every ten minutes and on interruption;
    `best.safetensors` has the best weights so far, `log.csv` one row per epoch, and `tensorboard` the curves.
    A resumed run continues after the last saved step. On a CPU with the same number of threads its weights
    equal those of an uninterrupted run, because every part of every step has its own seed.

    Every process computes its share of each batch; only the first one writes files.

    Args:
        recipe: The recipe.
        crops: Training and validation crops.
        folder: Folder of checkpoints and the log.
        processes: The processes of the training, and this one's device.
        resume: Whether to resume from the folder's last checkpoint.
        finish: Whether to only load the best weights of an interrupted run.
        cache: Folder for the features of a frozen backbone; None to compute them in every step.
        redrawers: Trained autoencoders, if the recipe uses them.
        on_step: Called after every step.
        on_features: Progress callback: (crops with features, crops).

    Raises:
        UsageError: The crops lack a class or do not fill one batch, or the loss became NaN or infinite.
        ContractError: The checkpoint is from a run with another recipe or other data.
        MissingError: The checkpoint to resume from or the backbone's weights are missing.
    """
    with _one_thread_in_opencv():
        run = start_run(recipe, crops, folder, processes, cache, redrawers, on_features)
        if resume or finish:
            with processes.together():
                run.progress = run_files.restore_checkpoint(
                    folder / LAST, run.network, run.average, run.train_step.optimiser, run.identity
                )
        if not finish and run.progress.epoch < recipe.epochs:
            _epochs(run, on_step if processes.first else None)
        processes.wait()
        network = run.network
        if processes.first:
            run_files.load_best(folder / BEST, network)
        return network.to("cpu").eval(), run.progress


def _epochs(run: TrainingRun, on_step: OnStep | None) -> None:
    recipe, folder = run.recipe, run.folder
    done = sum(int(row["steps"]) for row in run.progress.history) + run.progress.step
    log = closing(Log(folder, done)) if run.processes.first else nullcontext()
    with log as open_log, deferred_signals() as signals:
        for epoch in range(run.progress.epoch, recipe.epochs):
            row = _epoch(run, epoch, on_step, open_log, signals)
            improved = row[recipe.select] > run.progress.best
            run.progress = TrainingProgress(
                epoch + 1, 0, max(row[recipe.select], run.progress.best), (*run.progress.history, row)
            )
            if run.processes.first:
                if improved:
                    run_files.save_best(folder / BEST, run.evaluated)
                assert open_log is not None
                open_log.epoch(sum(int(past["steps"]) for past in run.progress.history), run.progress.history)
            run.save()
            signals.share(run.processes)
            _end_if_signalled(run, signals)


def _epoch(
    run: TrainingRun, epoch: int, on_step: OnStep | None, log: Log | None, signals: DeferredSignals
) -> dict[str, float]:
    recipe, progress = run.recipe, run.progress
    order = arrange(run.crops, run.training, recipe, (recipe.seed, epoch))
    steps, size = len(order) // recipe.batch, recipe.batch // run.parts
    if not steps:
        raise UsageError(f"{len(order)} samples do not fill a batch of {recipe.batch}", "lower batch")
    if recipe.batch % run.parts or (size % 2 and recipe.balance != "natural"):
        raise UsageError(
            f"a batch of {recipe.batch} cannot be split into {run.parts} parts of whole pairs",
            f"make batch a multiple of {2 * run.parts}",
        )
    own = range(run.processes.rank, run.parts, run.processes.count)
    starts = [step * recipe.batch + part * size for step in range(progress.step, steps) for part in own]
    batches = run.source.batches([order[start : start + size] for start in starts], epoch)
    run.network.train()
    started, saved = time.monotonic() - progress.seconds, time.monotonic()
    for step in range(progress.step, steps):
        number, rate = (
            epoch * steps + step,
            learning_rate(recipe, epoch * steps + step, steps * recipe.epochs),
        )
        parts = [next(batches) for _ in own]
        try:
            losses = run.train_step.step(parts, [_seed(recipe.seed, number, part) for part in own], rate)
        except DeepscanError as error:
            raise type(error)(f"epoch {epoch + 1}, batch {step + 1}: {error.message}", error.hint)
        if run.average is not None:
            update_ema(run.average, run.network, min(recipe.ema, (1 + number) / (10 + number)))
        run.progress = replace(
            run.progress,
            step=step + 1,
            sums=_add(run.progress.sums, losses),
            seconds=time.monotonic() - started,
        )
        if log is not None:
            log.step(number + 1, {**losses, "lr": recipe.lr * rate})
        if on_step is not None:
            on_step(_step(run, epoch, steps, None))
        signals.share(run.processes)
        if signals.signal is not None or time.monotonic() - saved > CHECKPOINT_SECONDS:
            run.save()
            saved = time.monotonic()
            _end_if_signalled(run, signals)
    try:
        validation = _validate(run)
    except DeepscanError as error:
        raise type(error)(f"epoch {epoch + 1}, after its last batch: {error.message}", error.hint)
    row = {
        "epoch": float(epoch + 1),
        "steps": float(steps),
        "lr": recipe.lr * learning_rate(recipe, (epoch + 1) * steps - 1, steps * recipe.epochs),
        **_means(run.progress.sums),
        **validation,
        "seconds": round(run.progress.seconds, 1),
        "rate": round(steps * recipe.batch / run.progress.seconds, 1),
    }
    if on_step is not None:
        on_step(_step(run, epoch, steps, row))
    return row


def _end_if_signalled(run: TrainingRun, signals: DeferredSignals) -> None:
    if signals.signal is not None:
        # When one process has ended, torchrun ends the others; first the checkpoint must have been written.
        run.processes.wait()
        signals.end()


def _step(run: TrainingRun, epoch: int, steps: int, row: Mapping[str, float] | None) -> StepReport:
    recipe, progress = run.recipe, run.progress
    rate = progress.step * recipe.batch / max(progress.seconds, 1e-9)
    left = ((recipe.epochs - epoch) * steps - progress.step) * recipe.batch / rate
    mean = _means(progress.sums)["loss"]
    return StepReport(epoch + 1, recipe.epochs, progress.step, steps, mean, rate, left, row)


def _seed(seed: int, step: int, part: int) -> int:
    return ((seed * 1_000_003 + step) * 1_009 + part) % 2**63


def _add(sums: Mapping[str, tuple[float, int]], losses: Mapping[str, float]) -> dict[str, tuple[float, int]]:
    return {
        name: (sums.get(name, (0.0, 0))[0] + value, sums.get(name, (0.0, 0))[1] + 1)
        if math.isfinite(value)
        else sums.get(name, (0.0, 0))
        for name, value in losses.items()
    }


def _means(sums: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    return {name: value / count if count else math.nan for name, (value, count) in sums.items()}


def _validate(run: TrainingRun) -> dict[str, float]:
    """Return the metrics of the validation crops; each process scores its share."""
    run.processes.share_buffers(run.evaluated)
    rank, count = run.processes.rank, run.processes.count
    run.evaluated.eval()
    shares = run.processes.gather(run.source.scores(run.evaluated, run.choosing[rank::count]))
    scores = np.empty(len(run.choosing))
    for process, share in enumerate(shares):
        scores[process::count] = share
    if not np.isfinite(scores).all():
        raise UsageError(
            f"{np.isnan(scores).sum()} of {len(scores)} validation scores are NaN", UNSTABLE_HINT
        )
    return choosing_figures(run.crops, run.choosing, scores)


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update an exponential moving average of weights and of the norms' statistics, in place."""
    current = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])


@contextmanager
def _one_thread_in_opencv() -> Iterator[None]:
    # Crops are small, so OpenCV's threads would cost more than they save and compete with torch's.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
