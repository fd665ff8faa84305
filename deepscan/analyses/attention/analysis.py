"""Attention of a detector: the spread of the attention of the CLS token and of the queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, FloatArray, Subject, WorkProgress
from deepscan.analyses.attention.figure import draw_attention
from deepscan.analyses.attention.measures import (
    CLS,
    QUERIES,
    AttentionSums,
    attention_maps,
    divergence,
    effective,
    entropy,
    top_share,
)
from deepscan.analyses.attention.rand_cls import ARMS, ClsEpoch, compare_cls, split_halves
from deepscan.analyses.crops import (
    DrawnCrop,
    OpenNetwork,
    draw_crops,
    note_unreadable,
    open_network,
    read_batches,
)
from deepscan.backbones import TRANSFORMERS
from deepscan.detectors.qtfp import QtfpNetwork
from deepscan.errors import UsageError
from deepscan.evaluation.scores import LABEL_NAMES


@ANALYSES.register("attention")
@dataclass(frozen=True)
class AttentionAnalysis(Analysis):
    """Spread of attention on reals and fakes, and its dependence on the initial CLS token.

    Attributes:
        top: Share of the patches that count as the heaviest.
        epochs: Training epochs of RandCLS and PreCLS; 0 to skip them.
        learnt: Maximum number of crops for these, half for training and half for testing.
        lr: Learning rate of these.
    """

    top: float = 0.1
    epochs: int = 5
    learnt: int = 512
    lr: float = 1e-3
    summary = "spread of the CLS token's attention against the queries', and RandCLS against PreCLS"
    source = "QTFP, Fig. 2; supplement, Sec. 2.2, Fig. 1"

    def __post_init__(self) -> None:
        if not 0 < self.top <= 1 or self.epochs < 0 or self.learnt < 4 or self.lr <= 0:
            raise UsageError(
                f"top {self.top}, epochs {self.epochs}, learnt {self.learnt} or lr {self.lr} is out of range",
                "required: 0 < top <= 1, epochs >= 0, learnt >= 4, lr > 0",
            )

    def run(self, subject: Subject) -> Findings:
        """Return the measures by data set, label and token, and those of the two CLS tokens by epoch.

        Raises:
            UsageError: The model has no attention maps, or the crops lack a class.
            MissingError: Crops, the model's `torch` file or a package are missing.
            ContractError: The `torch` file does not match the network.
        """
        drawn, opened = draw_crops(subject), open_network(subject.card)
        # Queries attend to the patches of any backbone; an averaging CLS token weights all patches equally.
        if opened.network.backbone.averages and not isinstance(opened.network, QtfpNetwork):
            raise UsageError(
                f"model {subject.card.name!r} has no attention maps: its backbone averages the patches",
                f"choose a model with one of these backbones: {', '.join(TRANSFORMERS)}",
            )
        patches = opened.network.backbone.grid**2
        sums = AttentionSums(max(1, round(self.top * patches)))
        kept: list[tuple[DrawnCrop, NDArray[np.uint8]]] = []
        read = 0
        picked = _picked(drawn, self.learnt if self.epochs else 0, subject.seed)
        halves = split_halves([crop for crop in drawn if id(crop) in picked], subject.seed)
        compares = halves.whole and opened.network.backbone.cls is not None
        progress = WorkProgress(subject, len(drawn) + (halves.passes(self.epochs) if compares else 0))
        for crops, pixels in read_batches(drawn, on_progress=progress.reached):
            with torch.no_grad():
                output = opened.network(**opened.prepare(pixels))
            sums.add(crops, attention_maps(output))
            read += len(crops)
            kept += [(crop, image) for crop, image in zip(crops, pixels, strict=True) if id(crop) in picked]
        lines = [*note_unreadable(len(drawn), read), *_spreads(sums, patches)]
        points, notes = self._compared(opened, kept, subject, progress)
        progress.end()
        rows = [*_rows(sums), *_courses(points, patches, sums.top)]
        figure = draw_attention(sums, points, opened.network.backbone.grid)
        return Findings(rows, figure, (*lines, *notes))

    def _compared(
        self,
        opened: OpenNetwork,
        kept: Sequence[tuple[DrawnCrop, NDArray[np.uint8]]],
        subject: Subject,
        progress: WorkProgress,
    ) -> tuple[list[ClsEpoch], tuple[str, ...]]:
        """Return the results of RandCLS and PreCLS, and notes for readers."""
        if not self.epochs:
            return [], ()
        if opened.network.backbone.cls is None:
            return [], ("RandCLS against PreCLS is skipped: this backbone has no CLS token",)
        halves = split_halves([crop for crop, _ in kept], subject.seed)
        if not halves.whole:
            return [], ("RandCLS against PreCLS is skipped: too few crops for two halves with both labels",)
        points = compare_cls(
            opened,
            halves,
            np.stack([image for _, image in kept]),
            epochs=self.epochs,
            lr=self.lr,
            seed=subject.seed,
            on_progress=progress.more,
        )
        return points, _verdict(points, halves.learnt.size, halves.held_out.size, subject)


def _picked(drawn: Sequence[DrawnCrop], limit: int, seed: int) -> set[int]:
    """Return the ids of the crops to train on, up to half of the limit for each label."""
    rng = np.random.default_rng(seed)
    picked: set[int] = set()
    for label in (0, 1):
        of_label = [crop for crop in drawn if crop.label == label]
        picked |= {id(of_label[index]) for index in rng.permutation(len(of_label))[: limit // 2]}
    return picked


def _rows(sums: AttentionSums) -> list[dict[str, Cell]]:
    sets = list(dict.fromkeys(name for name, _, _ in sums.measures))
    rows = [
        _row("spread", name, LABEL_NAMES[label], token, np.stack(measures))
        for (name, label, token), measures in sorted(
            sums.measures.items(), key=lambda item: (sets.index(item[0][0]), item[0][1])
        )
    ]
    if len(sets) > 1:
        kinds = dict.fromkeys((label, token) for _, label, token in sorted(sums.measures))
        rows += [_row("spread", "all", LABEL_NAMES[kind[0]], kind[1], sums.of(*kind)) for kind in kinds]
    return rows


def _row(
    part: str, name: str, label: str, token: str, measures: FloatArray, **cells: Cell
) -> dict[str, Cell]:
    means, low, high = measures.mean(axis=0), *np.quantile(measures[:, 1], (0.25, 0.75))
    return {
        "part": part,
        "dataset": name,
        "label": label,
        "token": token,
        "epoch": cells.get("epoch", ""),
        "crops": len(measures),
        "entropy": round(float(means[0]), 4),
        "effective_patches": round(float(means[1]), 2),
        "effective_low": round(float(low), 2),
        "effective_high": round(float(high), 2),
        "top_share": round(float(means[2]), 4),
        "divergence": round(float(means[3]), 4),
        "auc": cells.get("auc", ""),
    }


def _courses(points: Sequence[ClsEpoch], patches: int, top: int) -> list[dict[str, Cell]]:
    """Return the rows of RandCLS and PreCLS, with the divergence from the model's own CLS token."""
    rows = []
    for point in points:
        attention, of_label = point.attention, points[0].attention
        measures = (
            entropy(attention),
            effective(attention),
            top_share(attention, top),
            divergence(attention, of_label),
        )
        cells: dict[str, Any] = {"epoch": point.epoch, "auc": round(point.auc, 4)}
        rows.append(_row("course", "held out", "both", point.arm, np.stack(measures, axis=1), **cells))
    return rows


def _spreads(sums: AttentionSums, patches: int) -> list[str]:
    lines = []
    for token in (CLS, QUERIES):
        if (token, 0) in sums.maps:
            real, fake = (sums.of(label, token).mean(axis=0) for label in (0, 1))
            lines.append(
                f"{token}: effective number of patches {real[1]:.1f} on reals, {fake[1]:.1f} on fakes, of "
                f"{patches}; the heaviest {sums.top} have {real[2]:.1%} and {fake[2]:.1%} of the weight"
            )
    if (QUERIES, 0) in sums.maps:
        real, fake = (sums.of(label, QUERIES).mean(axis=0) for label in (0, 1))
        lines.append(
            f"divergence of the queries from CLS: {real[3]:.3f} nats on reals, where RAAL aligns them, "
            f"{fake[3]:.3f} on fakes"
        )
    lines.append("the paper shows CLS spread over nearly all patches (Fig. 2a), without numbers")
    return lines


def _verdict(points: Sequence[ClsEpoch], learnt: int, held_out: int, subject: Subject) -> tuple[str, ...]:
    last = points[-1].epoch
    by_epoch = {(point.arm, point.epoch): point for point in points}
    pre, rand = (by_epoch[arm, last] for arm in ARMS)
    distances = [
        float(divergence(by_epoch["RandCLS", epoch].attention, points[0].attention).mean())
        for epoch in (0, last)
    ]
    backbone = subject.card.network.get("backbone", {}).get("name", "")
    lines = [
        f"AUC of a linear head on CLS after {last} epochs: PreCLS {pre.auc:.3f}, RandCLS {rand.auc:.3f} "
        f"(trained on {learnt} crops, tested on {held_out})",
        f"divergence of RandCLS from the model's CLS: {distances[0]:.3f} nats before training, "
        f"{distances[1]:.3f} after",
        "the paper's AUC curves converge after several epochs (Fig. 2b, without numbers)",
        "only the token and the head are trained here; the paper also trains Effort's part of the backbone",
    ]
    if backbone == "compact":
        lines.append(
            "this backbone was not pre-trained on other data: PreCLS is the token after its own training"
        )
    return tuple(lines)
