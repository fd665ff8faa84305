"""Sharpness-aware minimisation: the gradient that counts is that of the worst weights nearby."""

import torch
from torch import Tensor
from torch.optim import Optimizer


class SAM:
    """Steps of a base optimiser by the gradient at w + rho g / |g| ("SAM", ICLR 2021, Eq. 2 and 3).

    A step is: gradients, `ascend`, gradients again, `descend`.

    Args:
        base: The optimiser that takes the step; what it keeps is all that there is to keep.
        rho: Radius of the neighbourhood, at least 0; 0 leaves the base optimiser as it is.

    Raises:
        ValueError: The radius is negative.
    """

    def __init__(self, base: Optimizer, rho: float) -> None:
        if rho < 0:
            raise ValueError(f"the radius of SAM is at least 0, not {rho}")
        self.base, self.rho = base, rho
        self._origin: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def ascend(self) -> None:
        """Move the weights by rho along the gradient, its norm being that over all of them together.

        Raises:
            RuntimeError: The last ascent has not been followed by `descend`.
        """
        if self._origin:
            raise RuntimeError("an ascent follows a descent: call descend() first")
        moved = [
            value for group in self.base.param_groups for value in group["params"] if value.grad is not None
        ]
        if not moved or not self.rho:
            return
        norm = torch.stack([value.grad.float().norm() for value in moved]).norm()
        scale = self.rho / (norm + 1e-12)
        # Copies, not a subtraction later on: the weights return to the very bits that they had.
        self._origin = [(value, value.clone()) for value in moved]
        for value in moved:
            value.add_(value.grad * scale.to(value.grad))

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights back to where the ascent found them; nothing if there was none."""
        for value, origin in self._origin:
            value.copy_(origin)
        self._origin = []

    def descend(self) -> None:
        """Put the weights back and take the base optimiser's step by their present gradients."""
        self.restore()
        self.base.step()
