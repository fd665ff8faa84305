"""A mixture of adapters: small experts beside a frozen layer, weighed token by token (DFD-HR)."""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["gelu", "relu"]
AdapterInit = Literal["zero", "default"]


class MixtureOfAdapters(nn.Module):
    """X + sum_i G_i A_i(X), G = softmax(gate(X)): every expert always has its say (DFD-HR, expert routing).

    An expert A_i is linear, activation, linear, with biases. All of them are two matrices side by side, so
    that the mixture is two products however many they are: the gate weighs what lies between the two.

    Args:
        width: Width D of the tokens.
        experts: Number E of experts.
        hidden: Width H inside an expert.
        act: `gelu` (exact) or `relu`.
        noise: Whether the gate's logits are noisy in training: eps softplus(logits) is added, eps ~ N(0, 1).
        init: `zero` starts as the identity, with nothing added to X; `default` starts the second matrix as
            `nn.Linear` would.

    Raises:
        ValueError: A value is not one of those named, or out of range.
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
            raise ValueError(f"a mixture has experts with a width, not {experts} of {hidden}")
        for name, value, allowed in (("act", act, Activation), ("adapter_init", init, AdapterInit)):
            if value not in get_args(allowed):
                raise ValueError(f"{name} is one of {', '.join(get_args(allowed))}, not {value!r}")
        self.experts, self.noise = experts, noise
        self.gate = nn.Linear(width, experts)
        self.down = nn.Linear(width, experts * hidden)
        self.act = nn.GELU() if act == "gelu" else nn.ReLU()
        # Of each expert: the matrix transposed, shape (H, D), and the bias.
        self.up = nn.Parameter(torch.zeros(experts, hidden, width))
        self.bias = nn.Parameter(torch.zeros(experts, width))
        if init == "default":
            for parameter in (self.up, self.bias):
                nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def weigh(self, x: Tensor) -> Tensor:
        """Return the weight of each expert for each token, shape (B, N, E), rows summing to 1."""
        logits: Tensor = self.gate(x)
        if self.noise and self.training:
            logits = logits + torch.randn_like(logits) * F.softplus(logits)
        return torch.softmax(logits, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens with what the experts add, shape (B, N, D)."""
        weights = self.weigh(x).to(x.dtype)
        inside = self.act(self.down(x)).unflatten(-1, (self.experts, -1)) * weights[..., None]
        added: Tensor = inside.flatten(-2) @ self.up.flatten(0, 1) + weights @ self.bias
        return x + added
