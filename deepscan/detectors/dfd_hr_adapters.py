"""A mixture of adapters: small experts after a frozen layer, weighted for each token (DFD-HR)."""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["gelu", "relu"]
AdapterInit = Literal["zero", "default"]


class MixtureOfAdapters(nn.Module):
    """X + sum_i G_i A_i(X), G = softmax(gate(X)): all experts are always active (DFD-HR, expert routing).

    An expert A_i is linear, activation, linear, with biases. The experts' matrices are concatenated, so that
    the mixture is two products for any number of experts; the gate weights the hidden activations.

    Args:
        width: Width D of the tokens.
        experts: Number E of experts.
        hidden: Width H inside an expert.
        act: `gelu` (exact) or `relu`.
        noise: Whether to add noise to the gate's logits in training: eps softplus(logits), eps ~ N(0, 1).
        init: `zero` starts as the identity; `default` initialises the second matrix as `nn.Linear` does.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    def __init__(
        self,
        width: int,
        experts: int = 4,
        hidden: int = 256,
        act: Activation = "gelu",
        noise: bool = True,
        init: AdapterInit = "zero",
    ) -> None:
        super().__init__()
        if min(experts, hidden) < 1:
            raise ValueError(f"experts and hidden must be at least 1, not {experts} and {hidden}")
        for name, value, allowed in (("act", act, Activation), ("adapter_init", init, AdapterInit)):
            if value not in get_args(allowed):
                raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, not {value!r}")
        self.experts, self.noise = experts, noise
        self.gate = nn.Linear(width, experts)
        self.down = nn.Linear(width, experts * hidden)
        self.act = nn.GELU() if act == "gelu" else nn.ReLU()
        # For each expert: the second matrix, transposed, shape (H, D), and its bias.
        self.up = nn.Parameter(torch.zeros(experts, hidden, width))
        self.bias = nn.Parameter(torch.zeros(experts, width))
        if init == "default":
            for parameter in (self.up, self.bias):
                nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def gate_weights(self, x: Tensor) -> Tensor:
        """Return each expert's weight for each token, shape (B, N, E), rows summing to 1."""
        logits: Tensor = self.gate(x)
        if self.noise and self.training:
            logits = logits + torch.randn_like(logits) * F.softplus(logits)
        return torch.softmax(logits, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens plus the experts' weighted outputs, shape (B, N, D)."""
        weights = self.gate_weights(x).to(x.dtype)
        hidden = self.act(self.down(x)).unflatten(-1, (self.experts, -1)) * weights[..., None]
        added: Tensor = hidden.flatten(-2) @ self.up.flatten(0, 1) + weights @ self.bias
        return x + added
