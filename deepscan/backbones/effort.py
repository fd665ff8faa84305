"""Effort (ICML 2025): each matrix is tuned in its least singular directions alone."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import eigh
from torch import Tensor, nn

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.tuning import ATTENTION, TUNINGS, TunedLinear, matrices, replace
from deepscan.errors import UsageError


def least(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the least singular triplets of a matrix, the greatest of them first.

    A whole decomposition finds all of them to use one. The eigenvectors of the smaller Gram matrix, only as
    many as are asked for, take a tenth of its time; in float64 they are as good for matrices whose condition
    is below 1e7, and the singular values and other vectors are then taken from the matrix itself.

    Args:
        weight: Shape (N, M).
        rank: How many, R.

    Returns:
        Left vectors (N, R), values (R,), right vectors (R, M), float32, on the weight's device.
    """
    matrix = weight.detach().double().cpu().numpy()
    wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if wide else matrix
    _, right = eigh(tall.T @ tall, subset_by_index=(0, rank - 1))
    u, s, turn = np.linalg.svd(tall @ right, full_matrices=False)
    v = turn @ right.T
    if wide:
        u, v = v.T, u.T
    found = tuple(torch.from_numpy(part.copy()).to(weight.device, torch.float32) for part in (u, s, v))
    return found[0], found[1], found[2]


class EffortLinear(TunedLinear):
    """A linear map W = W_main + U diag(S) V, of which U, S and V train (Effort, Sec. 3.2).

    They start as the least singular triplets of W, so that W is what it was. The products are taken one
    after the other: what trains never makes a gradient of the size of W.

    Args:
        linear: The map, whose weights are taken over.
        rank: Singular triplets R that train.

    Raises:
        ValueError: The matrix has fewer.
    """

    u_start: Tensor
    s_start: Tensor
    v_start: Tensor

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        weight = linear.weight
        if not 1 <= rank <= min(weight.shape):
            raise ValueError(f"rank must be 1 to {min(weight.shape)}, not {rank}")
        if weight.is_meta:
            outward, inward = weight.shape
            u, s, v = (weight.new_empty(shape) for shape in ((outward, rank), (rank,), (rank, inward)))
        else:
            u, s, v = least(weight, rank)
        self.main = nn.Parameter(weight.detach() - (u * s) @ v, requires_grad=False)
        self.bias = linear.bias
        self.u, self.s, self.v = nn.Parameter(u), nn.Parameter(s), nn.Parameter(v)
        # Where they started: what the penalties measure from.
        for name, start in (("u_start", u), ("s_start", s), ("v_start", v)):
            self.register_buffer(name, start.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, shape (..., N), of x (..., M)."""
        tuned = F.linear(F.linear(x, self.s[:, None] * self.v), self.u)
        return F.linear(x, self.main, self.bias) + tuned

    def folded(self) -> nn.Linear:
        """Return the linear map of W."""
        outward, inward = self.main.shape
        linear = nn.Linear(inward, outward, bias=self.bias is not None, device="meta")
        weight = self.main + ((self.u * self.s) @ self.v).detach()
        linear.weight = nn.Parameter(weight, requires_grad=False)
        linear.bias = self.bias
        return linear

    def turned(self) -> Tensor:
        """Return how far the singular vectors are from orthogonal, a scalar (Effort, Sec. 3.3, L_orth).

        Half of ||A^T A - I|| in the Frobenius norm, A being the left vectors of W_main beside U, and the same
        of the right ones. The vectors of W_main are orthogonal to each other and to where U started, and
        with that span the space: what U has of them is what it has beside its start.
        """
        return (_gram(self.u, self.u_start) + _gram(self.v.T, self.v_start.T)) / 2

    def grown(self) -> Tensor:
        """Return how far ||W||^2 (Frobenius) is from where it started, a scalar (Effort, Sec. 3.3, L_ksv)."""
        added, removed = ((self.u, self.s, self.v), (self.u_start, self.s_start, self.v_start))
        return (_energy(self.main, *added) - _energy(self.main, *removed)).abs()


def _gram(vectors: Tensor, start: Tensor) -> Tensor:
    beside = vectors - start @ (start.T @ vectors)
    own = vectors.T @ vectors - torch.eye(vectors.shape[1], device=vectors.device)
    distance: Tensor = torch.linalg.vector_norm(torch.cat((2**0.5 * beside.flatten(), own.flatten())))
    return distance


def _energy(main: Tensor, u: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """Return ||main + u diag(s) v||^2 - ||main||^2 without making the sum."""
    scaled = u * s
    return 2 * (scaled * (main @ v.T)).sum() + ((scaled.T @ scaled) * (v @ v.T)).sum()


@TUNINGS.register("effort")
def effort(backbone: Backbone, *, rank: int = 1, targets: Sequence[str] = ATTENTION) -> None:
    """Train the least singular triplets of matrices, and nothing else.

    Args:
        backbone: The backbone.
        rank: Triplets of each matrix.
        targets: Which matrices of every block; the paper's are those of attention.

    Raises:
        ValueError: The rank is out of range, or a target is none.
    """
    backbone.requires_grad_(False)
    for name, linear in matrices(backbone, targets).items():
        replace(backbone, name, EffortLinear(linear, rank))


def penalties(backbone: nn.Module) -> tuple[Tensor, Tensor]:
    """Return L_orth and L_ksv of a backbone, each the mean over its tuned matrices (Effort, Sec. 3.3).

    Raises:
        UsageError: Nothing in it is tuned by Effort.
    """
    tuned = [module for module in backbone.modules() if isinstance(module, EffortLinear)]
    if not tuned:
        raise UsageError(
            "Effort's penalties need a backbone that Effort tunes", "state network.tuning.type=effort"
        )
    turned = torch.stack([module.turned() for module in tuned]).mean()
    return turned, torch.stack([module.grown() for module in tuned]).mean()
