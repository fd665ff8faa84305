"""The training loop: seeded epochs, validation after each, a checkpoint after each, the same when resumed."""

import copy
import csv
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscan.data.crops import CropSet
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch, Network
from deepscan.engines.golden import normalised
from deepscan.errors import UsageError
from deepscan.evaluation.metrics import auc
from deepscan.training import checkpoint
from deepscan.training.checkpoint import BEST, LAST, Progress
from deepscan.training.recipe import Recipe
from deepscan.training.samples import batches, halves, pairs

LOG = "log.csv"


@dataclass(frozen=True, slots=True)
class Step:
    """What a listener is told after a step.

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


Listener = Callable[[Step], None]
Loss = Callable[[Any, Batch], tuple[Tensor, dict[str, Tensor]]]


@dataclass(slots=True)
class Run:
    """A network in training, and what trains it."""

    recipe: Recipe
    network: Network
    average: Network | None
    optimiser: torch.optim.Optimizer
    device: torch.device
    progress: Progress = field(default_factory=lambda: Progress(0, 0, -math.inf, ()))

    @property
    def kept(self) -> Network:
        """The network that is validated and kept: the averaged one, where there is one."""
        return self.network if self.average is None else self.average


def train(
    recipe: Recipe,
    crops: CropSet,
    folder: Path,
    *,
    resume: bool = False,
    finish: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> tuple[Network, Progress]:
    """Train a network and return the best epoch's, by the AUC of the validation crops' first half.

    After each epoch `last.safetensors` holds the run, `best.safetensors` the best weights so far and
    `log.csv` a row an epoch. A resumed run goes on after the last whole epoch, and on a CPU with as many
    threads gives the weights of an uninterrupted one: every epoch draws from a seed of its own.

    Args:
        recipe: How to train.
        crops: Training and validation crops.
        folder: Where checkpoints and the log go.
        resume: Go on from the folder's last checkpoint.
        finish: Only take the best weights of an interrupted run as they are.
        device: `auto` (CUDA where there is one), `cpu` or `cuda`.
        listener: Told after every step.

    Raises:
        UsageError: The crops lack a class, or do not fill one batch.
        ContractError: The checkpoint is of a run with another recipe or other data.
        MissingError: There is no checkpoint to resume from.
    """
    identity = {**recipe.to_json(), "crops": crops.key}
    choosing, _ = halves(crops)
    training = crops.where("train")
    run = _begin(recipe, device)
    if resume or finish:
        run.progress = checkpoint.restore(folder / LAST, run.network, run.average, run.optimiser, identity)
    with _one_thread_in_opencv():
        for epoch in range(run.progress.epoch, run.progress.epoch if finish else recipe.epochs):
            row = _epoch(run, crops, training, choosing, epoch, listener)
            better = row["auc"] > run.progress.best
            run.progress = Progress(
                epoch + 1,
                run.progress.step + int(row["steps"]),
                max(row["auc"], run.progress.best),
                (*run.progress.history, row),
            )
            if better:
                checkpoint.save_weights(folder / BEST, run.kept)
            checkpoint.save(folder / LAST, run.network, run.average, run.optimiser, run.progress, identity)
            _write_log(folder / LOG, run.progress.history)
    return best_network(recipe, folder), run.progress


def best_network(recipe: Recipe, folder: Path) -> Network:
    """Return the best network of a run's folder so far, on the CPU, in evaluation mode."""
    from safetensors.torch import load_file

    network = DETECTORS.get(recipe.method)(**recipe.loss).build(recipe.network)
    network.load_state_dict(load_file(folder / BEST))
    return network.eval()


def predict(
    network: Network, crops: NDArray[np.uint8], recipe: Recipe, batch: int = 64
) -> NDArray[np.float64]:
    """Return the probability of fake of crops, shape (N, S, S, 3), uint8, in float32 arithmetic."""
    network.eval()
    device = next(network.parameters()).device
    scores: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch):
            values = normalised(crops[start : start + batch], recipe.mean, recipe.std)
            probability = network.predict(crops=torch.from_numpy(values).to(device))["probability"]
            scores.append(probability.double().cpu().numpy())
    return np.concatenate(scores)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step, from 0, of as many as the whole run has."""
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "constant":
        return recipe.lr * warm
    return recipe.lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def _begin(recipe: Recipe, device: str) -> Run:
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"there is no device {device!r}", "choose from: auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here", "use --device cpu")
    place = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    )
    torch.manual_seed(recipe.seed)
    network = DETECTORS.get(recipe.method)(**recipe.loss).build(recipe.network)
    # Convolutions on a CPU run a sixth faster on this layout.
    network = network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False) if recipe.ema else None
    trained = [value for value in network.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in trained if value.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [value for value in trained if value.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return Run(recipe, network, average, kind(groups, lr=recipe.lr), place)


def _epoch(
    run: Run,
    crops: CropSet,
    training: NDArray[np.int64],
    choosing: NDArray[np.int64],
    epoch: int,
    listener: Listener | None,
) -> dict[str, float]:
    recipe, begun = run.recipe, time.monotonic()
    torch.manual_seed(recipe.seed * 1_000_003 + epoch)
    order = pairs(crops, training, (recipe.seed, epoch), by_group=recipe.paired)
    steps = len(order) // (recipe.batch // 2)
    if not steps:
        raise UsageError(
            f"{len(training)} training crops do not fill a batch of {recipe.batch}", "lower batch"
        )
    detector = DETECTORS.get(recipe.method)(**recipe.loss)
    run.network.train()
    sums: dict[str, float] = {}
    step = 0
    for images, labels in batches(crops, order, recipe, epoch):
        at = run.progress.step + step
        for group in run.optimiser.param_groups:
            group["lr"] = learning_rate(recipe, at, steps * recipe.epochs)
        parts = _step(run, detector.loss, images, labels, at)
        step += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value
        if listener is not None:
            rate = step * recipe.batch / (time.monotonic() - begun)
            left = ((recipe.epochs - epoch) * steps - step) * recipe.batch / rate
            listener(Step(epoch + 1, recipe.epochs, step, steps, sums["loss"] / step, rate, left))
    seconds = time.monotonic() - begun
    scores = predict(run.kept, crops.crops[choosing], recipe)
    row = {
        "epoch": float(epoch + 1),
        "steps": float(step),
        "lr": learning_rate(recipe, run.progress.step + step - 1, steps * recipe.epochs),
        **{name: value / step for name, value in sums.items()},
        "auc": auc(crops.labels[choosing], scores),
        "seconds": round(seconds, 1),
        "rate": round(step * recipe.batch / seconds, 1),
    }
    if listener is not None:
        left = (recipe.epochs - epoch - 1) * (time.monotonic() - begun)
        listener(Step(epoch + 1, recipe.epochs, step, steps, row["loss"], row["rate"], left, row))
    return row


def _step(run: Run, loss: Loss, images: Tensor, labels: Tensor, at: int) -> dict[str, float]:
    recipe, device = run.recipe, run.device
    images = images.to(device, memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        output = run.network(images)
    total, parts = loss(output, Batch({"crops": images}, labels.to(device)))
    if not torch.isfinite(total):
        raise UsageError(f"the loss became {float(total.detach())} at step {at + 1}", "lower lr, or set clip")
    run.optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if recipe.clip:
        nn.utils.clip_grad_norm_(run.network.parameters(), recipe.clip)
    run.optimiser.step()
    if run.average is not None:
        _follow(run.average, run.network, min(recipe.ema, (1 + at) / (10 + at)))
    return {"loss": float(total.detach()), **{name: float(part) for name, part in parts.items()}}


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights towards the present ones; the norms' statistics are averaged as well."""
    present = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(present[name], 1 - decay)
        else:
            value.copy_(present[name])


def _write_log(path: Path, history: tuple[Mapping[str, float], ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)


@contextmanager
def _one_thread_in_opencv() -> Iterator[None]:
    # The crops are small: OpenCV's threads would cost more than they do, and take the cores from torch.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
