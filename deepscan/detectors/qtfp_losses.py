"""QTFP's losses on tokens: contrast of patches, and alignment of queries with the CLS token."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deepscan.detectors.detector import FAKE, REAL


def anchor_weights(
    anchors: Tensor, real_mean: Tensor, fake_mean: Tensor, tau_w: float, weighting: str = "sigmoid"
) -> Tensor:
    """Return each anchor's weight g(delta), which grows with delta (QTFP, weighting eq.).

    delta is the cosine to the fakes' mean minus the cosine to the reals' mean; the paper has both forms of g.

    Args:
        anchors: Patch tokens of N fake crops, shape (N, P, D).
        real_mean: Mean patch token of the real crops, shape (D,).
        fake_mean: Mean patch token of the fake crops, shape (D,).
        tau_w: Temperature.
        weighting: `sigmoid` of delta / tau_w, in (0, 1), or `softmax` of it over a crop's patches, times P,
            so that a crop's weights have a mean of 1.

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
    """Return L_FLCL, at least 0: attracts fake patches to each other, away from real ones (QTFP, FLCL eq.).

    The paper's numerator and denominator index different sets. Here an anchor's positives are all other
    patches of fake crops in the batch and its denominator all other patches, so that the ratio is at most 1.
    Means and weights are detached; otherwise smaller weights would lower the loss.

    Args:
        patches: Patch tokens, shape (B, P, D), float32.
        labels: 0 or 1, shape (B,).
        tau: Temperature of the similarities.
        tau_w: Temperature of the weights.
        max_anchor_tokens: Number of anchors drawn at random, None for all.
        weighting: See `anchor_weights`.

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
    """Return L_MACL, at least 0: FLCL that knows where the forgery is (QTFP, supplement, Sec. 2.1).

    Anchors are all forged patches, with equal weights; other patches of fakes count as real. A patch is
    forged if the mask covers at least half of it.

    Args:
        patches: Patch tokens in reading order, shape (B, P, D), P a square number, float32.
        labels: 0 or 1, shape (B,).
        masks: How much each pixel was forged, in [0, 1], shape (B, S, S). Fakes with a negative, unknown mask
            are ignored; masks of real crops are not used.
        tau: Temperature of the similarities.
        max_anchor_tokens: Number of anchors drawn at random, None for all.

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
    """Return the mean over anchors of -log(similarity to other forged patches / similarity to all others)."""
    # An anchor needs another forged patch as its positive.
    if len(forged) < 2 or not len(genuine):
        return forged.new_zeros(())
    forged, genuine = F.normalize(forged, dim=-1), F.normalize(genuine, dim=-1)
    chosen = torch.arange(len(forged), device=forged.device)
    if max_anchor_tokens is not None and len(forged) > max_anchor_tokens:
        chosen = torch.randperm(len(forged), device=forged.device)[:max_anchor_tokens]
    anchors = forged[chosen] / tau
    positive = (anchors @ forged.T).scatter(1, chosen[:, None], -torch.inf).logsumexp(dim=1)
    total = torch.logaddexp(positive, (anchors @ genuine.T).logsumexp(dim=1))
    losses = total - positive
    return (losses if weights is None else weights[chosen] * losses).mean()


def attention_alignment(queries: Tensor, cls: Tensor, labels: Tensor, metric: str = "kl") -> Tensor:
    """Return L_RAAL, the distance of the queries' attention from the CLS token's (QTFP, RAAL eq.).

    Args:
        queries: Attention of the queries, shape (B, K, P), rows summing to 1.
        cls: Attention of the CLS token, shape (B, P), rows summing to 1; detached here.
        labels: 0 or 1, shape (B,).
        metric: `kl`, KL(queries || CLS), or the distance `l1` or `l2` (supplement, Sec. 2.3).

    Returns:
        A scalar, the mean over real crops and queries; 0 for a batch without a real crop.
    """
    real = labels == REAL
    if not real.any():
        return queries.new_zeros((), dtype=torch.float32)
    attention, anchor = queries[real].float(), cls[real].detach().float()[:, None]
    if metric in {"l1", "l2"}:
        return _distance(attention, anchor, 1 if metric == "l1" else 2)
    attention, anchor = attention.clamp_min(1e-8), anchor.clamp_min(1e-8)
    return (attention * (attention.log() - anchor.log())).sum(dim=-1).mean()


def token_alignment(pooled: Tensor, cls: Tensor, labels: Tensor) -> Tensor:
    """Return the mean distance of the global token from the CLS token on real crops.

    This is the supplement's alternative to RAAL (Sec. 2.3, Table 4).

    Args:
        pooled: The global token, shape (B, D).
        cls: The CLS token, shape (B, D); detached here.
        labels: 0 or 1, shape (B,).

    Returns:
        A scalar; 0 for a batch without a real crop.
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

    It is ||dmu|| / sigma, where sigma^2 is the mean of the classes' variances along dmu.

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
