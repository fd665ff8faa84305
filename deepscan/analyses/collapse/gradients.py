"""Gradient and curvature of a linear head's loss, and the radius that they allow SAM (CoRIT, Sec. III).

The text of the paper that we have lost its formulas. Those stated here are put together from its words, its
symbols and the steps of its proofs; each follows from the one before it.
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
    """The loss L around some weights: g is the gradient of one sample's loss, H the Hessian of L.

    The paper's proof of Eq. 5 takes g of a single sample (supplement, Sec. VII-A), and so do we; the gradient
    of a batch of B has 1/B of the covariance.

    Attributes:
        signal: Squared length of the mean gradient, |grad L|^2.
        noise: Trace of the gradients' covariance, tr Cov(g).
        curvature: tr H.
        sharpness: Greatest eigenvalue of H.
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
        """Trace of what the model misses: tr R = tr H - tr Cov(g) - |grad L|^2 (CoRIT, Eq. 5 and 14)."""
        return self.curvature - self.noise - self.signal

    @property
    def flatness(self) -> float:
        """First factor of Eq. 13: r_s / sqrt(tr H), r_s = tr H / lambda_max(H) being the stable rank."""
        return math.sqrt(self.curvature) / self.sharpness if self.sharpness else math.inf

    @property
    def misspecification(self) -> float:
        """Second factor of Eq. 13: sqrt(1 - tr R / tr H); its root is real (CoRIT, Lemma 2)."""
        return math.sqrt(1 - self.residual / self.curvature) if self.curvature else math.nan

    @property
    def fidelity(self) -> float:
        """Third factor of Eq. 13: sqrt(GSNR / (1 + GSNR))."""
        return math.sqrt(self.gsnr / (1 + self.gsnr)) if math.isfinite(self.gsnr) else 1.0


def geometry(features: FloatArray, labels: NDArray[np.int64], margins: FloatArray) -> Geometry:
    """Return the geometry of the mean cross-entropy of a linear head with two logits and biases.

    With x the features and a 1 beside them, p the probability of fake and y the label, a sample's gradient is
    (p - y) x for the fake logit's weights and the opposite for the real one's; its Hessian is p (1 - p) times
    [[1, -1], [-1, 1]] times x x^T. So both have twice the trace, and the Hessian twice the eigenvalue, of one
    logit's.

    Args:
        features: Shape (N, D).
        labels: 0 or 1, shape (N,).
        margins: Fake logit less real logit of each, shape (N,).
    """
    wide = np.column_stack((features, np.ones(len(features))))
    # Not 1 - p: that is 0 long before p (1 - p) is.
    errors = np.where(labels == 1, -expit(-margins), expit(margins))
    lengths = np.einsum("nd,nd->n", wide, wide)
    mean = errors @ wide / len(wide)
    signal = 2 * float(mean @ mean)
    power = 2 * float(np.mean(errors**2 * lengths))
    weights = expit(margins) * expit(-margins)
    rows = wide * np.sqrt(weights / len(wide))[:, None]
    return Geometry(
        signal=signal,
        noise=max(0.0, power - signal),
        curvature=2 * float(np.mean(weights * lengths)),
        sharpness=2 * _greatest(rows),
    )


def critical(path: Sequence[Geometry]) -> int:
    """Return the bottleneck of a training: where the bound is least (CoRIT, Eq. 11 and 12).

    The critical optimisation radius is the bound there: rho_COR = min over t of |grad L| / lambda_max(H).

    Args:
        path: The geometry at some steps of the training.
    """
    return int(np.argmin([point.bound for point in path]))


def _greatest(rows: FloatArray) -> float:
    """Return the greatest eigenvalue of rows^T rows."""
    if not rows.any():
        return 0.0
    width = rows.shape[1]
    gram = LinearOperator((width, width), matvec=lambda vector: rows.T @ (rows @ vector), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(width)
    return float(eigsh(gram, k=1, v0=start, tol=1e-9, return_eigenvectors=False)[0])
