"""The optimiser of a recipe, its learning rate, and a training step."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from deepscan.detectors.detector import Batch, FrozenNetwork, FrozenOutput, Network, Output
from deepscan.errors import UsageError
from deepscan.training.processes import Processes
from deepscan.training.recipe import Recipe
from deepscan.training.sam import SAM

LossFunction = Callable[[Any, Batch], tuple[Tensor, dict[str, Tensor]]]
#: Name of a `FrozenNetwork`'s cached features among a batch's inputs.
FEATURES = "features"
_COUNT = " count"
#: Hint of errors for NaN and infinite values.
UNSTABLE_HINT = (
    "start in another --out with a lower lr or with clip; --finish publishes the best epoch so far"
)


def make_optimiser(recipe: Recipe, network: Network) -> Optimizer:
    """Build the optimiser of a network's trainable parameters; each group has its `base_lr`."""
    backbone = {id(value) for value in network.backbone.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for value in network.parameters():
        if not value.requires_grad:
            continue
        rate = recipe.lr if recipe.backbone_lr is None or id(value) not in backbone else recipe.backbone_lr
        decays = recipe.decay == "all" or value.ndim > 1
        groups.setdefault((rate, recipe.weight_decay if decays else 0.0), []).append(value)
    settings = [
        {"params": values, "weight_decay": decay, "lr": rate, "base_lr": rate}
        for (rate, decay), values in groups.items()
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(settings, lr=recipe.lr, momentum=recipe.momentum)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(settings, lr=recipe.lr)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the factor on the learning rate at a step, from 0, of a run with `steps` steps."""
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    done = min(1.0, step / steps)
    if recipe.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * done))
    if recipe.schedule == "wsd":
        return warm * min(1.0, 4 * (1 - done))
    return warm


def predict_batch(network: Network, batch: Batch) -> Output:
    """Return a network's output for a batch, from cached features if the batch has them."""
    if FEATURES in batch.inputs:
        assert isinstance(network, FrozenNetwork)
        return FrozenOutput(network.classify(batch.inputs[FEATURES]))
    output: Output = network(**batch.inputs)
    return output


class TrainStep:
    """Runs training steps: gradients over the parts of a batch, then a step of the optimiser.

    Args:
        recipe: The recipe.
        network: The network to train.
        loss: The method's loss.
        optimiser: See `make_optimiser`.
        processes: The processes that share each batch.
    """

    def __init__(
        self, recipe: Recipe, network: Network, loss: LossFunction, optimiser: Optimizer, processes: Processes
    ) -> None:
        self.recipe, self.network, self.loss = recipe, network, loss
        self.optimiser, self.processes = optimiser, processes
        self.trained = [value for value in network.parameters() if value.requires_grad]
        self._half = recipe.half(processes.device.type)

    def step(self, parts: Sequence[Batch], seeds: Sequence[int], rate: float) -> dict[str, float]:
        """Run one step; return the mean loss and its parts over all processes.

        Args:
            parts: This process's parts of the batch.
            seeds: Seed of the network's randomness for each part.
            rate: Factor on the learning rate.

        Raises:
            UsageError: The loss or its gradient is not finite; the weights are unchanged.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * rate
        parts = [part.to(self.processes.device) for part in parts]
        if not self.recipe.sam_rho:
            means = self._gradients(parts, seeds)
            self.optimiser.step()
            return means
        sam = SAM(self.optimiser, self.recipe.sam_rho)
        means = self._gradients(parts, seeds)
        sam.ascend()
        try:
            self._gradients(parts, seeds)
        except UsageError:
            sam.restore()
            raise
        sam.descend()
        return means

    def _gradients(self, parts: Sequence[Batch], seeds: Sequence[int]) -> dict[str, float]:
        self.optimiser.zero_grad(set_to_none=True)
        share = 1 / (len(parts) * self.processes.count)
        # Sum and count of each value, because some are NaN for a part of a batch with one class.
        totals: dict[str, float] = {}
        wrong: float | None = None
        for part, seed in zip(parts, seeds, strict=True):
            torch.manual_seed(seed)
            with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self._half):
                output = predict_batch(self.network, part)
            total, losses = self.loss(output, part)
            if not math.isfinite(value := float(total.detach())):
                wrong = value
                break
            (total * share).backward()  # type: ignore[no-untyped-call]
            for name, number in {"loss": total.detach(), **losses}.items():
                finite = math.isfinite(float(number))
                totals[name] = totals.get(name, 0.0) + (float(number) if finite else 0.0)
                totals[name + _COUNT] = totals.get(name + _COUNT, 0.0) + finite
        if wrong is not None:
            # So that the other processes fail in this step too, instead of waiting for this one.
            for parameter in self.trained:
                parameter.grad = torch.full_like(parameter, math.nan)
        self.processes.add_gradients(self.trained)
        if wrong is not None:
            raise UsageError(f"the loss became {wrong}", UNSTABLE_HINT)
        norm = float(nn.utils.clip_grad_norm_(self.trained, self.recipe.clip or math.inf))
        if not math.isfinite(norm):
            raise UsageError(f"the gradient's norm became {norm}", UNSTABLE_HINT)
        sums = self.processes.add(totals)
        return {
            name: value / count if (count := sums[name + _COUNT]) else math.nan
            for name, value in sums.items()
            if not name.endswith(_COUNT)
        }
