"""Trains heads on features by sharpness-aware minimisation (SAM), to find the radii where they collapse."""

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
    """How a head is trained: stochastic gradient descent with momentum, in batches drawn at random.

    Attributes:
        steps: Batches.
        batch: Samples in each; all of them where there are fewer.
        lr: Learning rate.
        momentum: Of the descent.
    """

    steps: int
    batch: int
    lr: float
    momentum: float

    def batches(self, count: int, seed: int) -> Iterator[IndexArray]:
        """Yield the positions in each batch of so many samples, epoch after epoch in random order."""
        rng, size = np.random.default_rng(seed), min(self.batch, count)
        waiting = np.empty(0, dtype=np.int64)
        for _ in range(self.steps):
            if len(waiting) < size:
                waiting = np.concatenate((waiting, rng.permutation(count)))
            yield waiting[:size]
            waiting = waiting[size:]


def auc_and_loss(labels: IndexArray, margins: Tensor) -> tuple[float, float]:
    """Return AUC and cross-entropy of margins: fake logit less real logit, shape (N,).

    The AUC is taken from ranks: a head whose probabilities are all 0 or 1 still ranks the samples.
    """
    logits = margins.double()
    loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).double().to(logits.device))
    return auc(labels, rankdata(logits.cpu().numpy()) / len(labels)), float(loss)


def train_head(
    network: FrozenNetwork, features: Tensor, labels: Tensor, radius: float, plan: HeadPlan, seed: int
) -> None:
    """Train a new head of a frozen network by SAM around SGD (CoRIT, Eq. 1 and 2).

    Args:
        network: Its head is initialised and trained in place.
        features: As its backbone gives them, shape (N, ...).
        labels: 0 or 1, shape (N,).
        radius: Of SAM; 0 for plain SGD.
        plan: How to train.
        seed: Of the first weights and of the batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _redraw(network)
    trained = [value for _, value in trained_of(network)]
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


def trained_of(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters of a network outside its backbone, by name."""
    return [(name, value) for name, value in network.named_parameters() if name.split(".")[0] != _BACKBONE]


def _redraw(network: nn.Module) -> None:
    """Initialise the weights outside the backbone as in a new network."""
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
        samples: Positions of its training samples, shape (n,).
        radius: Of SAM; 0 for plain SGD.
        seed: Of its first weights and of its batches.
    """

    samples: IndexArray
    radius: float
    seed: int


def train_probes(
    features: Tensor,
    labels: Tensor,
    probes: Sequence[LinearProbe],
    plan: HeadPlan,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Train linear heads side by side, each as SAM around SGD trains a linear layer with two logits.

    The gradients of the two logits' weights are opposite. So only their difference d is kept: it moves twice
    as far as either, and the ascent of radius rho moves it by sqrt(2) rho.

    Args:
        features: Shape (N, D), float32.
        labels: 0 or 1, shape (N,).
        probes: The heads; their samples are all of one number.
        plan: How to train.
        watch: Called with the number of steps and the differences, before every step and at the end.

    Returns:
        The differences, biases last, shape (K, D + 1).
    """
    wide = torch.cat((features, features.new_ones(len(features), 1)), dim=1)
    truth = labels.to(wide.dtype)
    weights = torch.stack([_drawn(features.shape[1], probe.seed) for probe in probes]).to(wide.device)
    reach = 2**0.5 * torch.tensor([[probe.radius] for probe in probes], device=wide.device)
    speed = torch.zeros_like(weights)
    orders = [plan.batches(len(probe.samples), probe.seed) for probe in probes]
    for step, batches in enumerate(zip(*orders, strict=True)):
        if watch is not None:
            watch(step, weights)
        positions = [probe.samples[batch] for probe, batch in zip(probes, batches, strict=True)]
        chosen = torch.from_numpy(np.stack(positions)).to(wide.device)
        x, y = wide[chosen], truth[chosen]
        gradient = _gradient(weights, x, y)
        if reach.any():
            length = gradient.norm(dim=1, keepdim=True)
            gradient = _gradient(weights + reach * gradient / (length + 1e-12), x, y)
        speed = plan.momentum * speed + gradient
        weights = weights - 2 * plan.lr * speed
    if watch is not None:
        watch(plan.steps, weights)
    return weights


def probe_margins(features: Tensor, weights: Tensor) -> Tensor:
    """Return fake logit less real logit of features (N, D) by probes (K, D + 1), shape (K, N)."""
    return weights[:, :-1] @ features.T + weights[:, -1:]


def _drawn(width: int, seed: int) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, 2)
    both = torch.cat((head.weight, head.bias[:, None]), dim=1).detach()
    return both[FAKE] - both[REAL]


def _gradient(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient for the fake logit's weights, shape (K, D + 1), of batches (K, B, D + 1)."""
    errors = torch.sigmoid(torch.einsum("kbd,kd->kb", x, weights)) - y
    return torch.einsum("kb,kbd->kd", errors, x) / x.shape[1]
