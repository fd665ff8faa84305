"""Effort (ICML 2025): tunes each matrix only in its smallest singular directions."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import eigh
from torch import Tensor, nn

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.tuning import ATTENTION, TUNINGS, TunedLinear, matrices, replace
from deepscan.errors import UsageError


def smallest_triplets(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the smallest singular triplets of a matrix, in descending order.

    Computing `rank` eigenvectors of the smaller Gram matrix takes a tenth of the time of a full SVD. In
    float64 it is as accurate for condition numbers below 1e7; the singular values and the other vectors are
    then computed from the matrix itself.

    Args:
        weight: Shape (N, M).
        rank: Number R of triplets.

    Returns:
        Left vectors (N, R), values (R,), right vectors (R, M), float32, on the weight's device.
    """
    matrix = weight.detach().double().cpu().numpy()
    wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if wide else matrix
    _, right = eigh(tall.T @ tall, subset_by_index=(0, rank - 1))
    u, s, rotation = np.linalg.svd(tall @ right, full_matrices=False)
    v = rotation @ right.T
    if wide:
        u, v = v.T, u.T
    tensors = tuple(torch.from_numpy(part.copy()).to(weight.device, torch.float32) for part in (u, s, v))
    return tensors[0], tensors[1], tensors[2]


class EffortLinear(TunedLinear):
    """A linear map W = W_main + U diag(S) V, of which only U, S and V train (Effort, Sec. 3.2).

    They start as the smallest singular triplets of W, so that W is unchanged. The factors are applied one
    after the other, so that no gradient of the size of W is needed.

    Args:
        linear: The map whose weights are used.
        rank: Number R of singular triplets to train.

    Raises:
        ValueError: The rank is out of range for the matrix.
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
            outputs, inputs = weight.shape
            u, s, v = (weight.new_empty(shape) for shape in ((outputs, rank), (rank,), (rank, inputs)))
        else:
            u, s, v = smallest_triplets(weight, rank)
        self.main = nn.Parameter(weight.detach() - (u * s) @ v, requires_grad=False)
        self.bias = linear.bias
        self.u, self.s, self.v = nn.Parameter(u), nn.Parameter(s), nn.Parameter(v)
        # The penalties measure from these.
        for name, start in (("u_start", u), ("s_start", s), ("v_start", v)):
            self.register_buffer(name, start.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, shape (..., N), of x (..., M)."""
        tuned = F.linear(F.linear(x, self.s[:, None] * self.v), self.u)
        return F.linear(x, self.main, self.bias) + tuned

    def folded(self) -> nn.Linear:
        """Return the linear map of W."""
        outputs, inputs = self.main.shape
        linear = nn.Linear(inputs, outputs, bias=self.bias is not None, device="meta")
        weight = self.main + ((self.u * self.s) @ self.v).detach()
        linear.weight = nn.Parameter(weight, requires_grad=False)
        linear.bias = self.bias
        return linear

    def orth_loss(self) -> Tensor:
        """Return how far the singular vectors are from orthogonal, a scalar (Effort, Sec. 3.3, L_orth).

        The mean, over left and right, of ||A^T A - I|| in the Frobenius norm, where A concatenates the
        vectors of W_main and U (or V). The vectors of W_main are orthonormal, and with U's start they span
        the space: the part of U outside its start equals the part of U along them.
        """
        return (_gram(self.u, self.u_start) + _gram(self.v.T, self.v_start.T)) / 2

    def ksv_loss(self) -> Tensor:
        """Return how far ||W||^2 (Frobenius) has moved from its start, a scalar (Effort, Sec. 3.3, L_ksv)."""
        now, start = ((self.u, self.s, self.v), (self.u_start, self.s_start, self.v_start))
        return (_energy(self.main, *now) - _energy(self.main, *start)).abs()


def _gram(vectors: Tensor, start: Tensor) -> Tensor:
    """Return ||A^T A - I|| of `EffortLinear.orth_loss` for vectors (N, R) and their start (N, R)."""
    outside = vectors - start @ (start.T @ vectors)
    own = vectors.T @ vectors - torch.eye(vectors.shape[1], device=vectors.device)
    distance: Tensor = torch.linalg.vector_norm(torch.cat((2**0.5 * outside.flatten(), own.flatten())))
    return distance


def _energy(main: Tensor, u: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """Return ||main + u diag(s) v||^2 - ||main||^2 without computing the sum of the matrices."""
    scaled = u * s
    return 2 * (scaled * (main @ v.T)).sum() + ((scaled.T @ scaled) * (v @ v.T)).sum()


@TUNINGS.register("effort")
def effort(backbone: Backbone, *, rank: int = 1, targets: Sequence[str] = ATTENTION) -> None:
    """Train only the smallest singular triplets of matrices.

    Args:
        backbone: The backbone.
        rank: Number of triplets of each matrix.
        targets: Matrices of every block to tune; the paper tunes those of attention.

    Raises:
        ValueError: The rank is out of range, or a target is unknown.
    """
    backbone.requires_grad_(False)
    for name, linear in matrices(backbone, targets).items():
        replace(backbone, name, EffortLinear(linear, rank))


def penalties(backbone: nn.Module) -> tuple[Tensor, Tensor]:
    """Return L_orth and L_ksv of a backbone, each the mean over its tuned matrices (Effort, Sec. 3.3).

    Raises:
        UsageError: The backbone is not tuned by Effort.
    """
    tuned = [module for module in backbone.modules() if isinstance(module, EffortLinear)]
    if not tuned:
        raise UsageError(
            "Effort's penalties need a backbone tuned by Effort", "set network.tuning.type=effort"
        )
    orth = torch.stack([module.orth_loss() for module in tuned]).mean()
    return orth, torch.stack([module.ksv_loss() for module in tuned]).mean()
