"""Trains heads on features with sharpness-aware minimisation (SAM), to find the radii of collapse."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from deepscan.analyses.analysis import IndexArray
from deepscan.detectors.detector import FAKE, REAL, FrozenNetwork
from deepscan.metrics.binary import auc
from deepscan.training.sam import SAM

_BACKBONE = "backbone"


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """Settings of the training of a head: stochastic gradient descent with momentum, on random batches.

    Attributes:
        steps: Number of batches.
        batch: Number of samples in a batch, or all samples if there are fewer.
        lr: Learning rate.
        momentum: Momentum.
    """

    steps: int
    batch: int
    lr: float
    momentum: float

    def batches(self, count: int, seed: int) -> Iterator[IndexArray]:
        """Yield the sample indices of each batch, epoch after epoch in random order."""
        rng, size = np.random.default_rng(seed), min(self.batch, count)
        waiting = np.empty(0, dtype=np.int64)
        for _ in range(self.steps):
            if len(waiting) < size:
                waiting = np.concatenate((waiting, rng.permutation(count)))
            yield waiting[:size]
            waiting = waiting[size:]


def auc_and_loss(labels: IndexArray, margins: Tensor) -> tuple[float, float]:
    """Return AUC and cross-entropy of margins (fake logit minus real logit), shape (N,).

    The AUC is computed from ranks, because probabilities may saturate at 0 and 1.
    """
    logits = margins.double()
    loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).double().to(logits.device))
    return auc(labels, rankdata(logits.cpu().numpy()) / len(labels)), float(loss)


def train_head(
    network: FrozenNetwork, features: Tensor, labels: Tensor, radius: float, plan: HeadPlan, seed: int
) -> None:
    """Train a new head of a frozen network with SAM around SGD (CoRIT, Eq. 1 and 2).

    Args:
        network: The network, whose head is initialised and trained in place.
        features: Features of its backbone, shape (N, ...).
        labels: 0 or 1, shape (N,).
        radius: Radius of SAM; 0 for plain SGD.
        plan: Training settings.
        seed: Seed of the initial weights and of the batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _reset_head(network)
    trained = [value for _, value in head_parameters(network)]
    optimiser = torch.optim.SGD(trained, lr=plan.lr, momentum=plan.momentum)
    sam = SAM(optimiser, radius)
    for positions in plan.batches(len(features), seed):
        chosen = torch.from_numpy(positions).to(features.device)
        for turn in range(2 if radius else 1):
            if turn:
                sam.ascend()
            optimiser.zero_grad()
            loss = F.cross_entropy(network.classify(features[chosen]), labels[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
        sam.descend()


def head_parameters(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the named parameters of a network outside its backbone."""
    return [(name, value) for name, value in network.named_parameters() if name.split(".")[0] != _BACKBONE]


def _reset_head(network: nn.Module) -> None:
    """Reinitialise the weights outside the backbone."""
    for name, module in network.named_modules():
        if name.split(".")[0] == _BACKBONE:
            continue
        if isinstance(module, nn.MultiheadAttention):
            module._reset_parameters()
        elif isinstance(module, (nn.Linear, nn.LayerNorm)):
            module.reset_parameters()


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A linear head to train.

    Attributes:
        samples: Indices of its training samples, shape (n,).
        radius: Radius of SAM; 0 for plain SGD.
        seed: Seed of its initial weights and of its batches.
    """

    samples: IndexArray
    radius: float
    seed: int


def train_probes(
    features: Tensor,
    labels: Tensor,
    probes: Sequence[LinearProbe],
    plan: HeadPlan,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Train linear heads in parallel, equivalent to SAM around SGD on a linear layer with two logits.

    The gradients of the two logits' weights are opposite, so only their difference d is stored. It moves
    twice as far as either, and an ascent of radius rho moves it by sqrt(2) rho.

    Args:
        features: Shape (N, D), float32.
        labels: 0 or 1, shape (N,).
        probes: The heads, with equal numbers of samples.
        plan: Training settings.
        on_step: Called with the number of steps and the differences, before every step and at the end.

    Returns:
        The differences, with biases last, shape (K, D + 1).
    """
    extended = torch.cat((features, features.new_ones(len(features), 1)), dim=1)
    truth = labels.to(extended.dtype)
    weights = torch.stack([_initial_difference(features.shape[1], probe.seed) for probe in probes]).to(
        extended.device
    )
    ascent = 2**0.5 * torch.tensor([[probe.radius] for probe in probes], device=extended.device)
    velocity = torch.zeros_like(weights)
    orders = [plan.batches(len(probe.samples), probe.seed) for probe in probes]
    for step, batches in enumerate(zip(*orders, strict=True)):
        if on_step is not None:
            on_step(step, weights)
        positions = [probe.samples[batch] for probe, batch in zip(probes, batches, strict=True)]
        chosen = torch.from_numpy(np.stack(positions)).to(extended.device)
        x, y = extended[chosen], truth[chosen]
        gradient = _gradient(weights, x, y)
        if ascent.any():
            length = gradient.norm(dim=1, keepdim=True)
            gradient = _gradient(weights + ascent * gradient / (length + 1e-12), x, y)
        velocity = plan.momentum * velocity + gradient
        weights = weights - 2 * plan.lr * velocity
    if on_step is not None:
        on_step(plan.steps, weights)
    return weights


def probe_margins(features: Tensor, weights: Tensor) -> Tensor:
    """Return the margins, fake minus real logit, of features (N, D) for probes (K, D + 1), shape (K, N)."""
    return weights[:, :-1] @ features.T + weights[:, -1:]


def _initial_difference(width: int, seed: int) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, 2)
    both = torch.cat((head.weight, head.bias[:, None]), dim=1).detach()
    return both[FAKE] - both[REAL]


def _gradient(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the fake logit's weights, shape (K, D + 1), for batches (K, B, D + 1)."""
    errors = torch.sigmoid(torch.einsum("kbd,kd->kb", x, weights)) - y
    return torch.einsum("kb,kbd->kd", errors, x) / x.shape[1]
