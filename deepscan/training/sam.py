"""Sharpness-aware minimisation: uses the gradient at the worst weights in a neighbourhood."""

import torch
from torch import Tensor
from torch.optim import Optimizer


class SAM:
    """Steps of a base optimiser with the gradient at w + rho g / |g| ("SAM", ICLR 2021, Eq. 2 and 3).

    A step is: gradients, `ascend`, gradients again, `descend`.

    Args:
        base: The optimiser that takes the step; SAM has no further state between steps.
        rho: Radius of the neighbourhood, at least 0; 0 is the base optimiser.

    Raises:
        ValueError: The radius is negative.
    """

    def __init__(self, base: Optimizer, rho: float) -> None:
        if rho < 0:
            raise ValueError(f"the radius of SAM must be at least 0, not {rho}")
        self.base, self.rho = base, rho
        self._origin: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def ascend(self) -> None:
        """Move the weights by rho along the gradient, normalised over all parameters.

        Raises:
            RuntimeError: The last ascent has not been followed by `descend`.
        """
        if self._origin:
            raise RuntimeError("call descend() before ascending again")
        trained = [
            value for group in self.base.param_groups for value in group["params"] if value.grad is not None
        ]
        if not trained or not self.rho:
            return
        norm = torch.stack([value.grad.float().norm() for value in trained]).norm()
        scale = self.rho / (norm + 1e-12)
        # Copies rather than a later subtraction, so that the weights are restored exactly.
        self._origin = [(value, value.clone()) for value in trained]
        for value in trained:
            value.add_(value.grad * scale.to(value.grad))

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the weights from before the ascent; does nothing without one."""
        for value, origin in self._origin:
            value.copy_(origin)
        self._origin = []

    def descend(self) -> None:
        """Restore the weights and take the base optimiser's step with the current gradients."""
        self.restore()
        self.base.step()
