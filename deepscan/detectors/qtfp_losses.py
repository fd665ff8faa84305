"""QTFP's losses on tokens: patches drawn together or apart, and queries kept near the CLS token."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deepscan.detectors.detector import FAKE, REAL


def anchor_weights(
    anchors: Tensor, real_mean: Tensor, fake_mean: Tensor, tau_w: float, weighting: str = "sigmoid"
) -> Tensor:
    """Return how much each anchor counts: g(delta), growing with delta (QTFP, weighting eq.).

    delta is the cosine to the fakes' mean less the cosine to the reals'; the paper names both forms of g.

    Args:
        anchors: Patch tokens of N fake pictures, shape (N, P, D).
        real_mean: Mean patch token of the real pictures, shape (D,).
        fake_mean: Mean patch token of the fake pictures, shape (D,).
        tau_w: Temperature.
        weighting: `sigmoid` of delta / tau_w, in (0, 1), or `softmax` of it over a picture's patches, times
            P, so that a picture's weights have a mean of 1.

    Returns:
        Weights, shape (N, P).
    """
    delta = F.cosine_similarity(anchors, fake_mean, dim=-1) - F.cosine_similarity(anchors, real_mean, dim=-1)
    if weighting == "softmax":
        return torch.softmax(delta / tau_w, dim=-1) * delta.shape[-1]
    return torch.sigmoid(delta / tau_w)


def patch_contrast(
    patches: Tensor,
    labels: Tensor,
    tau: float,
    tau_w: float,
    max_anchor_tokens: int | None = None,
    weighting: str = "sigmoid",
) -> Tensor:
    """Return L_FLCL, at least 0: fake patches are drawn together, away from real ones (QTFP, FLCL eq.).

    The paper's numerator and denominator index different sets. Here an anchor's positives are all other
    patches of fake pictures in the batch and its denominator all other patches, so that the ratio is at
    most 1. Means and weights are detached, or the loss would fall by shrinking the weights.

    Args:
        patches: Patch tokens, shape (B, P, D), float32.
        labels: 0 or 1, shape (B,).
        tau: Temperature of the similarities.
        tau_w: Temperature of the weights.
        max_anchor_tokens: Anchors drawn at random, None for all.
        weighting: As `anchor_weights` takes it.

    Returns:
        A scalar; 0 for a batch without both classes.
    """
    fakes, reals = patches[labels == FAKE], patches[labels == REAL]
    if not len(fakes) or not len(reals):
        return patches.new_zeros(())
    fake, real = fakes.flatten(0, 1), reals.flatten(0, 1)
    with torch.no_grad():
        weights = anchor_weights(fakes, real.mean(0), fake.mean(0), tau_w, weighting)
    return _contrast(fake, real, weights.flatten(), tau, max_anchor_tokens)


def mask_contrast(
    patches: Tensor, labels: Tensor, masks: Tensor, tau: float, max_anchor_tokens: int | None = None
) -> Tensor:
    """Return L_MACL, at least 0: FLCL told where the forgery is (QTFP, supplement, Sec. 2.1).

    Anchors are all forged patches, each counting the same; the other patches of fakes are as real as those of
    real pictures. A patch is forged where the mask covers at least half of it.

    Args:
        patches: Patch tokens in reading order, shape (B, P, D), P a square number, float32.
        labels: 0 or 1, shape (B,).
        masks: How far each pixel was forged, in [0, 1], shape (B, S, S); a fake's that is negative is not
            known, and the fake takes no part. A real picture's does not matter.
        tau: Temperature of the similarities.
        max_anchor_tokens: Anchors drawn at random, None for all.

    Returns:
        A scalar; 0 for a batch without forged patches or without real ones.
    """
    fake = labels == FAKE
    known = masks.flatten(1).amin(dim=1) >= 0
    grid = round(patches.shape[1] ** 0.5)
    coverage = F.adaptive_avg_pool2d(masks[:, None].float(), grid).flatten(1)
    forged = (coverage >= 0.5) & (fake & known)[:, None]
    genuine = ~forged & (~fake | known)[:, None]
    return _contrast(patches[forged], patches[genuine], None, tau, max_anchor_tokens)


def _contrast(
    forged: Tensor, genuine: Tensor, weights: Tensor | None, tau: float, max_anchor_tokens: int | None
) -> Tensor:
    """Return the mean over anchors of -log(similar to other forged patches / similar to all others)."""
    # An anchor needs another forged patch as its positive.
    if len(forged) < 2 or not len(genuine):
        return forged.new_zeros(())
    forged, genuine = F.normalize(forged, dim=-1), F.normalize(genuine, dim=-1)
    chosen = torch.arange(len(forged), device=forged.device)
    if max_anchor_tokens is not None and len(forged) > max_anchor_tokens:
        chosen = torch.randperm(len(forged), device=forged.device)[:max_anchor_tokens]
    anchors = forged[chosen] / tau
    positive = (anchors @ forged.T).scatter(1, chosen[:, None], -torch.inf).logsumexp(dim=1)
    everything = torch.logaddexp(positive, (anchors @ genuine.T).logsumexp(dim=1))
    losses = everything - positive
    return (losses if weights is None else weights[chosen] * losses).mean()


def attention_alignment(queries: Tensor, cls: Tensor, labels: Tensor, metric: str = "kl") -> Tensor:
    """Return L_RAAL, how far the queries look from where CLS does, on real pictures (QTFP, RAAL eq.).

    Args:
        queries: Attention of the queries, shape (B, K, P), rows summing to 1.
        cls: Attention of the CLS token, shape (B, P), rows summing to 1; detached here.
        labels: 0 or 1, shape (B,).
        metric: `kl`, KL(queries || CLS), or the distance `l1` or `l2` (supplement, Sec. 2.3).

    Returns:
        A scalar, the mean over real pictures and queries; 0 for a batch without a real picture.
    """
    real = labels == REAL
    if not real.any():
        return queries.new_zeros((), dtype=torch.float32)
    given, anchor = queries[real].float(), cls[real].detach().float()[:, None]
    if metric in {"l1", "l2"}:
        return _distance(given, anchor, 1 if metric == "l1" else 2)
    given, anchor = given.clamp_min(1e-8), anchor.clamp_min(1e-8)
    return (given * (given.log() - anchor.log())).sum(dim=-1).mean()


def token_alignment(pooled: Tensor, cls: Tensor, labels: Tensor) -> Tensor:
    """Return the mean distance of the global token from the CLS token on real pictures.

    The supplement's alternative to RAAL (Sec. 2.3, Table 4). The CLS token is an anchor here as well.

    Args:
        pooled: What the queries gathered, shape (B, D).
        cls: The CLS token, shape (B, D); detached here.
        labels: 0 or 1, shape (B,).

    Returns:
        A scalar; 0 for a batch without a real picture.
    """
    real = labels == REAL
    if not real.any():
        return pooled.new_zeros((), dtype=torch.float32)
    return _distance(pooled[real].float(), cls[real].detach().float(), 2)


def _distance(first: Tensor, second: Tensor, order: int) -> Tensor:
    distance: Tensor = torch.linalg.vector_norm(first - second, order, dim=-1)
    return distance.mean()


@torch.no_grad()
def separation(patches: Tensor, labels: Tensor) -> Tensor:
    """Return the SNR of the two classes' patch tokens (QTFP, SNR eq.); above 1 is informative.

    ||dmu|| / sigma, sigma being the standard deviation along dmu, the classes' variances averaged.

    Args:
        patches: Patch tokens, shape (B, P, D), float32.
        labels: 0 or 1, shape (B,).

    Returns:
        A scalar; NaN for a batch without both classes.
    """
    fake, real = patches[labels == FAKE].flatten(0, 1), patches[labels == REAL].flatten(0, 1)
    if not len(fake) or not len(real):
        return patches.new_tensor(torch.nan)
    gap = real.mean(0) - fake.mean(0)
    distance = gap.norm().clamp_min(1e-12)
    along = gap / distance
    spread = ((real @ along).var(correction=0) + (fake @ along).var(correction=0)) / 2
    snr: Tensor = distance / spread.sqrt().clamp_min(1e-12)
    return snr
