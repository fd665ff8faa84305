"""Gradient and curvature of a linear head's loss, and the resulting bound on SAM's radius (CoRIT, Sec. III).

The formulas are missing from the available text of the paper. Those given here are reconstructed from its
wording, its symbols and the steps of its proofs; each follows from the previous one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.special import expit

from deepscan.analyses.analysis import FloatArray


@dataclass(frozen=True, slots=True)
class Geometry:
    """Local geometry of the loss L: g is the gradient of a single sample's loss, H the Hessian of L.

    As in the paper's proof of Eq. 5 (supplement, Sec. VII-A), g refers to a single sample; the gradient of a
    batch of B samples has 1/B of the covariance.

    Attributes:
        signal: Squared norm of the mean gradient, |grad L|^2.
        noise: Trace of the gradients' covariance, tr Cov(g).
        curvature: Trace of the Hessian, tr H.
        sharpness: Largest eigenvalue of H.
    """

    signal: float
    noise: float
    curvature: float
    sharpness: float

    @property
    def gsnr(self) -> float:
        """Gradient signal-to-noise ratio: |grad L|^2 / tr Cov(g) (CoRIT, Eq. 4)."""
        return self.signal / self.noise if self.noise else math.inf

    @property
    def bound(self) -> float:
        """The radius below which SAM's step still descends: |grad L| / lambda_max(H) (CoRIT, Eq. 8 to 10)."""
        return math.sqrt(self.signal) / self.sharpness if self.sharpness else math.inf

    @property
    def residual(self) -> float:
        """Trace of the residual: tr R = tr H - tr Cov(g) - |grad L|^2 (CoRIT, Eq. 5 and 14)."""
        return self.curvature - self.noise - self.signal

    @property
    def flatness(self) -> float:
        """First factor of Eq. 13: r_s / sqrt(tr H), with the stable rank r_s = tr H / lambda_max(H)."""
        return math.sqrt(self.curvature) / self.sharpness if self.sharpness else math.inf

    @property
    def misspecification(self) -> float:
        """Second factor of Eq. 13: sqrt(1 - tr R / tr H), which is real (CoRIT, Lemma 2)."""
        return math.sqrt(1 - self.residual / self.curvature) if self.curvature else math.nan

    @property
    def fidelity(self) -> float:
        """Third factor of Eq. 13: sqrt(GSNR / (1 + GSNR))."""
        return math.sqrt(self.gsnr / (1 + self.gsnr)) if math.isfinite(self.gsnr) else 1.0


def geometry(features: FloatArray, labels: NDArray[np.int64], margins: FloatArray) -> Geometry:
    """Compute the geometry of the mean cross-entropy of a linear head with two logits and biases.

    Let x be the features with an appended 1, p the probability of fake and y the label. A sample's gradient
    is (p - y) x for the fake logit's weights and its negative for those of the real logit; its Hessian is
    p (1 - p) [[1, -1], [-1, 1]] times x x^T. Both have twice the trace, and the Hessian twice the eigenvalue,
    of a single logit.

    Args:
        features: Shape (N, D).
        labels: 0 or 1, shape (N,).
        margins: Fake logit minus real logit of each sample, shape (N,).
    """
    extended = np.column_stack((features, np.ones(len(features))))
    # 1 - p would underflow long before p (1 - p) does.
    errors = np.where(labels == 1, -expit(-margins), expit(margins))
    lengths = np.einsum("nd,nd->n", extended, extended)
    mean = errors @ extended / len(extended)
    signal = 2 * float(mean @ mean)
    power = 2 * float(np.mean(errors**2 * lengths))
    weights = expit(margins) * expit(-margins)
    rows = extended * np.sqrt(weights / len(extended))[:, None]
    return Geometry(
        signal=signal,
        noise=max(0.0, power - signal),
        curvature=2 * float(np.mean(weights * lengths)),
        sharpness=2 * _largest_eigenvalue(rows),
    )


def critical(path: Sequence[Geometry]) -> int:
    """Return the bottleneck of a training: the index of the smallest bound (CoRIT, Eq. 11 and 12).

    This bound is the critical optimisation radius: rho_COR = min over t of |grad L| / lambda_max(H).

    Args:
        path: The geometry at steps of the training.
    """
    return int(np.argmin([point.bound for point in path]))


def _largest_eigenvalue(rows: FloatArray) -> float:
    """Return the largest eigenvalue of rows^T rows."""
    if not rows.any():
        return 0.0
    width = rows.shape[1]
    gram = LinearOperator((width, width), matvec=lambda vector: rows.T @ (rows @ vector), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(width)
    return float(eigsh(gram, k=1, v0=start, tol=1e-9, return_eigenvectors=False)[0])
