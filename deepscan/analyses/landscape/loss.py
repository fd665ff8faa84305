"""A loss as a function of weights: on a plane of random directions, and along steepest ascents."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from deepscan.analyses.analysis import FloatArray

DirectionNorm = Literal["filter", "tensor"]


#: Yields the losses of parts of the samples, weighted by their share, so that memory limits no batch.
LossParts = Callable[[], Iterator[Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class WeightLoss:
    """A loss on fixed samples, as a function of weights that are changed in place.

    Attributes:
        values: The weights.
        parts: Yields the loss of parts of the samples; their sum is the mean loss.
    """

    values: tuple[Tensor, ...]
    parts: LossParts

    def value(self) -> float:
        """Return the loss at the current weights."""
        with torch.inference_mode():
            return float(sum(float(part) for part in self.parts()))

    def gradient(self) -> tuple[float, list[Tensor]]:
        """Return the loss and its gradient at the current weights."""
        total, sums = 0.0, [torch.zeros_like(value) for value in self.values]
        for part in self.parts():
            total += float(part.detach())
            gradients = torch.autograd.grad(part, self.values, allow_unused=True)
            for index, gradient in enumerate(gradients):
                if gradient is not None:
                    sums[index] += gradient
        return total, sums

    @contextmanager
    def restored(self) -> Iterator[list[Tensor]]:
        """Context manager that yields copies of the weights, and restores these bit for bit at the end."""
        origin = [value.detach().clone() for value in self.values]
        try:
            yield origin
        finally:
            self.put(origin)

    @torch.no_grad()
    def put(self, origin: Sequence[Tensor], *moves: tuple[float, Sequence[Tensor]]) -> None:
        """Set the weights to an origin plus steps along directions."""
        for index, (value, start) in enumerate(zip(self.values, origin, strict=True)):
            value.copy_(start)
            for step, direction in moves:
                value.add_(direction[index], alpha=step)


def direction(values: Sequence[Tensor], seed: Sequence[int], norm: DirectionNorm = "filter") -> list[Tensor]:
    """Return a random direction, normalised by filter or by tensor.

    Each filter, the slice of an output, has the norm of the corresponding filter of the weights; biases and
    norm layers, which have one axis, are 0 ("Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018,
    Sec. 4).

    Args:
        values: The weights.
        seed: Seed of the direction.
        norm: `filter`, or `tensor` to normalise whole tensors.
    """
    rng, gradients = np.random.default_rng(seed), []
    for value in values:
        drawn = torch.from_numpy(rng.standard_normal(tuple(value.shape))).to(value)
        if value.ndim < 2:
            gradients.append(torch.zeros_like(value))
            continue
        rows = (len(value), -1) if norm == "filter" else (1, -1)
        lengths = value.detach().reshape(rows).norm(dim=1, keepdim=True)
        flat = drawn.reshape(rows)
        gradients.append((flat * lengths / flat.norm(dim=1, keepdim=True)).reshape(value.shape))
    return gradients


def surface(
    loss: WeightLoss,
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    steps: Sequence[float],
    on_progress: Callable[[], None] = lambda: None,
) -> FloatArray:
    """Return the loss on a grid of steps along two directions, shape (S, S): (first, second).

    Args:
        loss: The loss; its weights are restored.
        first: First direction, with a tensor for each of the weights.
        second: Second direction.
        steps: Steps along each direction.
        on_progress: Called after every point.
    """
    gradients = np.empty((len(steps), len(steps)))
    with loss.restored() as origin:
        for row, a in enumerate(steps):
            for column, b in enumerate(steps):
                loss.put(origin, (a, first), (b, second))
                gradients[row, column] = loss.value()
                on_progress()
    return gradients


def climb(
    loss: WeightLoss,
    radius: float,
    start: Sequence[Tensor] | None,
    steps: int,
    on_progress: Callable[[], None] = lambda: None,
) -> float:
    """Return the highest loss that an ascent finds at a distance from the weights.

    The first point is in the direction of the gradient, which is SAM's ascent, or in the given direction.
    Each further point is in the direction of the gradient at the previous one; on a quadratic loss, this is
    the power method for the sharpest direction.

    Args:
        loss: The loss; its weights are restored.
        radius: The distance, over all weights together.
        start: The first direction; None for the gradient.
        steps: Number of points.
        on_progress: Called after every point.
    """
    highest = -np.inf
    with loss.restored() as origin:
        ascent = loss.gradient()[1] if start is None else start
        for _ in range(steps):
            length = dot(ascent, ascent) ** 0.5
            if not length:
                break
            loss.put(origin, (radius / length, ascent))
            loss_value, ascent = loss.gradient()
            highest = max(highest, loss_value)
            on_progress()
    return highest


def dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the dot product of two directions, each with a tensor for every weight."""
    return float(sum((left * right).sum() for left, right in zip(first, second, strict=True)))
