"""A loss as a function of weights: on a plane of random directions, and on the steepest ways up."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from deepscan.analyses.analysis import FloatArray

DirectionNorm = Literal["filter", "tensor"]


#: Adds up the loss of parts of the samples, each with its share: a batch larger than memory is none.
LossParts = Callable[[], Iterator[Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class WeightLoss:
    """A loss on fixed samples, as a function of weights that are moved in place.

    Attributes:
        values: The weights that are moved.
        parts: Yields the loss of parts of the samples; their sum is the mean loss.
    """

    values: tuple[Tensor, ...]
    parts: LossParts

    def value(self) -> float:
        """Return the loss at the present weights."""
        with torch.inference_mode():
            return float(sum(float(part) for part in self.parts()))

    def gradient(self) -> tuple[float, list[Tensor]]:
        """Return the loss and its gradient at the present weights."""
        total, sums = 0.0, [torch.zeros_like(value) for value in self.values]
        for part in self.parts():
            total += float(part.detach())
            found = torch.autograd.grad(part, self.values, allow_unused=True)
            for index, gradient in enumerate(found):
                if gradient is not None:
                    sums[index] += gradient
        return total, sums

    @contextmanager
    def restored(self) -> Iterator[list[Tensor]]:
        """Yield copies of the weights, which are put back in the end to the very bits."""
        origin = [value.detach().clone() for value in self.values]
        try:
            yield origin
        finally:
            self.put(origin)

    @torch.no_grad()
    def put(self, origin: Sequence[Tensor], *moves: tuple[float, Sequence[Tensor]]) -> None:
        """Set the weights to an origin, moved by steps along directions."""
        for index, (value, start) in enumerate(zip(self.values, origin, strict=True)):
            value.copy_(start)
            for step, direction in moves:
                value.add_(direction[index], alpha=step)


def direction(values: Sequence[Tensor], seed: Sequence[int], norm: DirectionNorm = "filter") -> list[Tensor]:
    """Return a random direction that has the weights' own proportions.

    Each filter of it, the slice of one output, is as long as that of the weights; biases and norms, which
    have one axis, do not move. So a step of 1 changes every filter by as much as there is of it ("Visualizing
    the Loss Landscape of Neural Nets", NeurIPS 2018, Sec. 4).

    Args:
        values: The weights.
        seed: Of the direction.
        norm: `filter`, or `tensor` for tensors that are as long as a whole.
    """
    rng, found = np.random.default_rng(seed), []
    for value in values:
        drawn = torch.from_numpy(rng.standard_normal(tuple(value.shape))).to(value)
        if value.ndim < 2:
            found.append(torch.zeros_like(value))
            continue
        rows = (len(value), -1) if norm == "filter" else (1, -1)
        lengths = value.detach().reshape(rows).norm(dim=1, keepdim=True)
        flat = drawn.reshape(rows)
        found.append((flat * lengths / flat.norm(dim=1, keepdim=True)).reshape(value.shape))
    return found


def surface(
    loss: WeightLoss,
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    steps: Sequence[float],
    on_progress: Callable[[], None] = lambda: None,
) -> FloatArray:
    """Return the loss at the weights moved by steps along two directions, shape (S, S): (first, second).

    Args:
        loss: The loss; its weights are put back.
        first: A direction, a tensor for each of the weights.
        second: Another.
        steps: How far along each.
        on_progress: Called after every point.
    """
    found = np.empty((len(steps), len(steps)))
    with loss.restored() as origin:
        for row, a in enumerate(steps):
            for column, b in enumerate(steps):
                loss.put(origin, (a, first), (b, second))
                found[row, column] = loss.value()
                on_progress()
    return found


def climb(
    loss: WeightLoss,
    radius: float,
    start: Sequence[Tensor] | None,
    steps: int,
    on_progress: Callable[[], None] = lambda: None,
) -> float:
    """Return the highest loss that an ascent finds at a distance from the weights.

    It goes as far along the gradient at the weights, which is SAM's own ascent, or in the direction given;
    and from there as far along the gradient at each place that it has come to, which on a quadratic loss is
    the power method for its sharpest direction.

    Args:
        loss: The loss; its weights are put back.
        radius: The distance, over all weights together.
        start: The first direction, None for the gradient.
        steps: Places that are tried.
        on_progress: Called after every place.
    """
    highest = -np.inf
    with loss.restored() as origin:
        ahead = loss.gradient()[1] if start is None else start
        for _ in range(steps):
            length = dot(ahead, ahead) ** 0.5
            if not length:
                break
            loss.put(origin, (radius / length, ahead))
            there, ahead = loss.gradient()
            highest = max(highest, there)
            on_progress()
    return highest


def dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the dot product of two directions, each a tensor per weight."""
    return float(sum((left * right).sum() for left, right in zip(one, other, strict=True)))
