"""Where a detector looks: how far the attention of the CLS token and of the queries spreads."""

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
    note_unread,
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
    """How far attention spreads, real against fake, and how that depends on the initial CLS token.

    Attributes:
        top: Share of the patches that count as the heaviest.
        epochs: Training epochs of RandCLS and PreCLS; 0 leaves them out.
        learnt: Greatest number of crops for them, half to train on and half to test on.
        lr: Their learning rate.
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
                "0 < top <= 1, epochs from 0, learnt from 4, lr above 0",
            )

    def look(self, subject: Subject) -> Findings:
        """Return the measures by data set, label and token, and the course of the two CLS tokens.

        Raises:
            UsageError: The model has no attention maps, or the crops lack a class.
            MissingError: Crops, the model's `torch` file or a package are not there.
            ContractError: That file does not fit.
        """
        drawn, opened = draw_crops(subject), open_network(subject.card)
        # Queries look at patches of any backbone; a CLS token that averages looks at all alike.
        if opened.network.backbone.averages and not isinstance(opened.network, QtfpNetwork):
            raise UsageError(
                f"model {subject.card.name!r} has no attention maps: its backbone averages the patches",
                f"name a model on one of: {', '.join(TRANSFORMERS)}",
            )
        patches = opened.network.backbone.grid**2
        seen = AttentionSums(max(1, round(self.top * patches)))
        kept: list[tuple[DrawnCrop, NDArray[np.uint8]]] = []
        read = 0
        picked = _picked(drawn, self.learnt if self.epochs else 0, subject.seed)
        halves = split_halves([crop for crop in drawn if id(crop) in picked], subject.seed)
        learns = halves.whole and opened.network.backbone.cls is not None
        pieces = WorkProgress(subject, len(drawn) + (halves.passes(self.epochs) if learns else 0))
        for crops, pixels in read_batches(drawn, on_progress=pieces.reached):
            with torch.no_grad():
                output = opened.network(**opened.prepare(pixels))
            seen.add(crops, attention_maps(output))
            read += len(crops)
            kept += [(crop, image) for crop, image in zip(crops, pixels, strict=True) if id(crop) in picked]
        lines = [*note_unread(len(drawn), read), *_spreads(seen, patches)]
        points, notes = self._compared(opened, kept, subject, pieces)
        pieces.end()
        rows = [*_rows(seen), *_courses(points, patches, seen.top)]
        figure = draw_attention(seen, points, opened.network.backbone.grid)
        return Findings(rows, figure, (*lines, *notes))

    def _compared(
        self,
        opened: OpenNetwork,
        kept: Sequence[tuple[DrawnCrop, NDArray[np.uint8]]],
        subject: Subject,
        pieces: WorkProgress,
    ) -> tuple[list[ClsEpoch], tuple[str, ...]]:
        """Return what RandCLS and PreCLS come to, and notes for the reader."""
        if not self.epochs:
            return [], ()
        if opened.network.backbone.cls is None:
            return [], ("RandCLS against PreCLS is left out: this backbone has no CLS token",)
        halves = split_halves([crop for crop, _ in kept], subject.seed)
        if not halves.whole:
            return [], ("RandCLS against PreCLS is left out: too few crops for two halves with both labels",)
        points = compare_cls(
            opened,
            halves,
            np.stack([image for _, image in kept]),
            epochs=self.epochs,
            lr=self.lr,
            seed=subject.seed,
            on_progress=pieces.more,
        )
        return points, _verdict(points, halves.learnt.size, halves.held_out.size, subject)


def _picked(drawn: Sequence[DrawnCrop], most: int, seed: int) -> set[int]:
    """Return which crops are kept to learn from, as many of each label as there are."""
    rng = np.random.default_rng(seed)
    picked: set[int] = set()
    for label in (0, 1):
        own = [crop for crop in drawn if crop.label == label]
        picked |= {id(own[index]) for index in rng.permutation(len(own))[: most // 2]}
    return picked


def _rows(seen: AttentionSums) -> list[dict[str, Cell]]:
    sets = list(dict.fromkeys(name for name, _, _ in seen.measures))
    rows = [
        _row("spread", name, LABEL_NAMES[label], token, np.stack(measures))
        for (name, label, token), measures in sorted(
            seen.measures.items(), key=lambda item: (sets.index(item[0][0]), item[0][1])
        )
    ]
    if len(sets) > 1:
        kinds = dict.fromkeys((label, token) for _, label, token in sorted(seen.measures))
        rows += [_row("spread", "all", LABEL_NAMES[kind[0]], kind[1], seen.of(*kind)) for kind in kinds]
    return rows


def _row(part: str, name: str, label: str, token: str, measures: FloatArray, **more: Cell) -> dict[str, Cell]:
    means, low, high = measures.mean(axis=0), *np.quantile(measures[:, 1], (0.25, 0.75))
    return {
        "part": part,
        "dataset": name,
        "label": label,
        "token": token,
        "epoch": more.get("epoch", ""),
        "crops": len(measures),
        "entropy": round(float(means[0]), 4),
        "effective_patches": round(float(means[1]), 2),
        "effective_low": round(float(low), 2),
        "effective_high": round(float(high), 2),
        "top_share": round(float(means[2]), 4),
        "divergence": round(float(means[3]), 4),
        "auc": more.get("auc", ""),
    }


def _courses(points: Sequence[ClsEpoch], patches: int, top: int) -> list[dict[str, Cell]]:
    """Return the rows of RandCLS and PreCLS; their divergence is from the model's own CLS token."""
    rows = []
    for point in points:
        look, own = point.attention, points[0].attention
        measures = (entropy(look), effective(look), top_share(look, top), divergence(look, own))
        more: dict[str, Any] = {"epoch": point.epoch, "auc": round(point.auc, 4)}
        rows.append(_row("course", "held out", "both", point.arm, np.stack(measures, axis=1), **more))
    return rows


def _spreads(seen: AttentionSums, patches: int) -> list[str]:
    lines = []
    for token in (CLS, QUERIES):
        if (token, 0) in seen.maps:
            real, fake = (seen.of(label, token).mean(axis=0) for label in (0, 1))
            lines.append(
                f"{token}: effective number of patches {real[1]:.1f} on reals, {fake[1]:.1f} on fakes, of "
                f"{patches}; the heaviest {seen.top} hold {real[2]:.1%} and {fake[2]:.1%}"
            )
    if (QUERIES, 0) in seen.maps:
        real, fake = (seen.of(label, QUERIES).mean(axis=0) for label in (0, 1))
        lines.append(
            f"the queries are {real[3]:.3f} nats from CLS on reals, where RAAL aligns them, and "
            f"{fake[3]:.3f} on fakes"
        )
    lines.append("the paper shows CLS spread over nearly all patches (Fig. 2a), and prints no number")
    return lines


def _verdict(points: Sequence[ClsEpoch], learnt: int, held_out: int, subject: Subject) -> tuple[str, ...]:
    last = points[-1].epoch
    by_epoch = {(point.arm, point.epoch): point for point in points}
    pre, rand = (by_epoch[arm, last] for arm in ARMS)
    apart = [
        float(divergence(by_epoch["RandCLS", epoch].attention, points[0].attention).mean())
        for epoch in (0, last)
    ]
    backbone = subject.card.network.get("backbone", {}).get("name", "")
    lines = [
        f"AUC of a linear head on CLS after {last} epochs: PreCLS {pre.auc:.3f}, RandCLS {rand.auc:.3f} "
        f"({learnt} crops to learn from, {held_out} others to judge by)",
        f"RandCLS looks {apart[0]:.3f} nats away from the model's CLS before it learns, {apart[1]:.3f} after",
        "the paper's AUC curves meet after several epochs (Fig. 2b, no numbers printed)",
        "only the token and the head learn here; the paper trains Effort's part of the backbone, too",
    ]
    if backbone == "compact":
        lines.append(
            "this backbone was not pre-trained on other data: PreCLS is the token that its training left"
        )
    return tuple(lines)
