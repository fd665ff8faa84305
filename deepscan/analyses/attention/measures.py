"""Measures of attention weights, collected over crops."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscan.analyses.analysis import FloatArray
from deepscan.analyses.crops import DrawnCrop
from deepscan.detectors.detector import Output
from deepscan.detectors.linear import LinearOutput
from deepscan.detectors.qtfp import QtfpOutput
from deepscan.errors import UsageError

#: A token and a label.
TokenLabel = tuple[str, int]
CLS, QUERIES = "CLS", "queries"
#: Bins of a patch's weight, in multiples of the uniform weight.
EDGES = np.geomspace(1e-3, 1e2, 51)


def entropy(attention: FloatArray) -> FloatArray:
    """Return the entropy in nats, shape (...), of weights that sum to 1, shape (..., P)."""
    terms = np.where(attention > 0, attention * np.log(np.maximum(attention, 1e-300)), 0.0)
    # Adding 0 turns the -0 of a single patch into 0.
    return np.asarray(-terms.sum(axis=-1) + 0.0)


def effective(attention: FloatArray) -> FloatArray:
    """Return the effective number of patches, exp(entropy): P for uniform weights, 1 for a single patch."""
    return np.asarray(np.exp(entropy(attention)))


def top_share(attention: FloatArray, count: int) -> FloatArray:
    """Return the total weight of the heaviest patches, in (0, 1], shape (...), of weights (..., P)."""
    return np.asarray(np.sort(attention, axis=-1)[..., -count:].sum(axis=-1))


def divergence(attention: FloatArray, reference: FloatArray) -> FloatArray:
    """Return the Kullback-Leibler divergence in nats, clamped as in training (QTFP, RAAL), shape (...)."""
    # The loss clamps at 1e-8 too.
    logs = np.log(np.maximum(attention, 1e-8)) - np.log(np.maximum(reference, 1e-8))
    return np.asarray((attention * logs).sum(axis=-1))


def attention_maps(output: Output) -> dict[str, FloatArray]:
    """Return the attention of each token to the patches, shape (B, P), by name: CLS, query 1, query 2, ...

    Raises:
        UsageError: The network has no attention maps.
    """
    if "attention" not in output.explanation:
        raise UsageError(
            "a model of this method has no attention maps",
            "choose one of qtfp, unifd, effort, gend, lora or fft, or analyse routing",
        )
    attention = _array(output.explanation["attention"])
    if isinstance(output, QtfpOutput) and output.pooled is not None:
        queries = {f"query {number}": attention[:, number - 1] for number in range(1, attention.shape[1] + 1)}
        return {CLS: _array(output.tokens.attention), **queries}
    if isinstance(output, QtfpOutput | LinearOutput):
        return {CLS: _array(output.tokens.attention)}
    return {CLS: attention[:, 0]}


def _array(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.detach().double().cpu())


@dataclass(slots=True, eq=False)
class AttentionSums:
    """Attention statistics collected over crops.

    Attributes:
        top: Number of patches that count as the heaviest.
        measures: (Data set, label, token) -> entropy, effective patches, top share and divergence of each
            crop, shape (4,).
        maps: Token and label -> sum of the weights, shape (P,); all queries together.
        counts: Token and label -> histogram of patch weights with the bin edges `EDGES`, and outliers.
    """

    top: int
    measures: dict[tuple[str, int, str], list[FloatArray]] = field(default_factory=dict)
    maps: dict[TokenLabel, FloatArray] = field(default_factory=dict)
    counts: dict[TokenLabel, NDArray[np.int64]] = field(default_factory=dict)

    def add(self, crops: Sequence[DrawnCrop], attention: dict[str, FloatArray]) -> None:
        """Add the attention of each token on a batch of crops."""
        by_token = {
            token: np.stack(
                (
                    entropy(weights),
                    effective(weights),
                    top_share(weights, self.top),
                    divergence(weights, attention[CLS]),
                ),
                axis=1,
            )
            for token, weights in attention.items()
        }
        queries = [token for token in attention if token != CLS]
        if queries:
            by_token[QUERIES] = np.mean([by_token[token] for token in queries], axis=0)
        for token, measured in by_token.items():
            for crop, values in zip(crops, measured, strict=True):
                self.measures.setdefault((crop.dataset, crop.label, token), []).append(values)
        labels = np.array([crop.label for crop in crops])
        for token, weights in attention.items():
            for label in set(labels.tolist()):
                self._draw((CLS if token == CLS else QUERIES, label), weights[labels == label])

    def of(self, label: int, token: str) -> FloatArray:
        """Return the measures of all data sets' crops of a label, shape (N, 4)."""
        rows = [
            row for (_, kind, name), measured in self.measures.items() if (kind, name) == (label, token)
            for row in measured
        ]  # fmt: skip
        return np.stack(rows)

    def _draw(self, kind: TokenLabel, weights: FloatArray) -> None:
        patches = weights.shape[1]
        self.maps[kind] = self.maps.get(kind, np.zeros(patches)) + weights.sum(axis=0)
        bins = np.searchsorted(EDGES, weights.ravel() * patches)
        self.counts[kind] = self.counts.get(kind, 0) + np.bincount(bins, minlength=len(EDGES) + 1)
