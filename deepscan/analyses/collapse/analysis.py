"""Collapse of training with sharpness-aware minimisation (SAM), by kind of fake and by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, IndexArray, Subject, WorkProgress
from deepscan.analyses.collapse.figure import draw_collapse
from deepscan.analyses.collapse.gradients import Geometry, critical, geometry
from deepscan.analyses.crops import note_unreadable, open_network
from deepscan.analyses.features import (
    CropFeatures,
    ForgeryRows,
    distinct_crops,
    extract_features,
    forgeries,
)
from deepscan.analyses.heads import (
    HeadPlan,
    LinearProbe,
    auc_and_loss,
    probe_margins,
    train_head,
    train_probes,
)
from deepscan.detectors.detector import FAKE, REAL, FrozenNetwork, Network
from deepscan.errors import UsageError
from deepscan.evaluation.tables import paper_table

#: Number of training steps at which gradients are measured, including the first and the last.
MEASURED = 40
Split = tuple[IndexArray, IndexArray]
COLLAPSE_COLUMNS = (
    *("what", "data", "kind", "layer", "radius", "step", "auc", "spread", "loss"),
    *("cor", "reached", "cor_theory", "flatness", "misspecification", "fidelity", "gsnr", "bound"),
)


@ANALYSES.register("collapse")
@dataclass(frozen=True)
class CollapseAnalysis(Analysis):
    """Trains heads on precomputed features to find the radius of SAM at which they collapse.

    Three results are computed for each kind of fake. First, the AUC on held-out groups of the network's own
    head, retrained at each of `radii` (CoRIT, Fig. 1a and 2), or of a linear head on the current backbone if
    the backbone is trained too. Second, the critical optimisation radius (COR) at every layer (Fig. 1b, Table
    VII): measured, as the radius up to which a linear head's AUC stays above `collapsed`, and from theory
    (Eq. 11 and 13). Third, the gradients' signal-to-noise ratio over the steps of that training without SAM
    (Fig. 3).

    The loss of a linear head is convex. With full-batch gradients, SAM therefore descends at any radius, as
    Eq. 3 requires, and only the noise of batches can make a head collapse. The bound of Eq. 8 is sufficient
    but not necessary, and may be far below the measured radius.

    The paper does not describe the training of its heads; the defaults are those of the CoRIT recipe. It does
    not define the AUC of a collapsed head either, except as "approximately 0.5".

    Attributes:
        radii: Radii of SAM for the network's own head.
        scan: Radii at which the COR is searched, ascending.
        collapsed: A head with at most this AUC has collapsed.
        repeats: Number of trainings of each head, with different held-out groups and initial weights.
        steps: Number of steps of a training.
        batch: Number of crops in a step.
        lr: Learning rate.
        momentum: Momentum.
    """

    summary = "AUC against SAM's radius; critical radius by layer; signal-to-noise of the gradients"
    source = "CoRIT, Sec. III, Fig. 1 to 3, Table VII"

    radii: Sequence[float] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
    scan: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 3.0)
    collapsed: float = 0.6
    repeats: int = 3
    steps: int = 1000
    batch: int = 20
    lr: float = 1e-3
    momentum: float = 0.9

    def __post_init__(self) -> None:
        for name, radii, least in (("radii", self.radii, 0.0), ("scan", self.scan, 1e-9)):
            if not radii or min(radii) < least or sorted(set(radii)) != list(radii):
                raise UsageError(
                    f"{name} must be increasing radii, not {list(radii)}", f"for example: {name}=[0.1,0.2]"
                )
        if min(self.repeats, self.steps, self.batch) < 1 or self.lr <= 0 or not 0 <= self.momentum < 1:
            raise UsageError(
                "repeats, steps, batch, lr or momentum is out of range",
                "required: repeats, steps and batch >= 1, lr > 0, 0 <= momentum < 1",
            )

    @property
    def plan(self) -> HeadPlan:
        """Training settings of every head."""
        return HeadPlan(self.steps, self.batch, self.lr, self.momentum)

    def run(self, subject: Subject) -> Findings:
        """Return AUC by radius, COR by layer, and GSNR by step, for each kind of fake."""
        opened = open_network(subject.card)
        kinds = forgeries(subject)
        drawn = distinct_crops(kinds)
        layers = opened.network.backbone.depth
        heads = len(self.radii) * self.repeats + layers
        progress = WorkProgress(subject, len(drawn) + len(kinds) * heads)
        features = extract_features(opened, drawn, progress.reached)
        network = opened.network.cpu()
        rows: list[dict[str, Cell]] = []
        lines: list[str] = []
        split_error: UsageError | None = None
        for case in (features.case(forgery) for forgery in kinds):
            try:
                splits = [case.split(features.labels, subject.seed + turn) for turn in range(self.repeats)]
            except UsageError as error:
                split_error = error
                lines.append(f"skipped: {error.message}")
                progress.more(heads)
                continue
            head = self._by_radius(splits, features, network, subject.seed, progress)
            layer_rows = self._by_layer(splits, features, subject.seed, progress)
            rows += [_row(case, **cells) for cells in (*head, *layer_rows)]
            lines += self._lines(case, head, layer_rows)
        if split_error is not None and not rows:
            raise split_error
        return Findings(
            rows, draw_collapse(rows), (*lines, *_paper(), *note_unreadable(len(drawn), len(features.crops)))
        )

    def _by_radius(
        self,
        splits: Sequence[Split],
        features: CropFeatures,
        network: Network,
        seed: int,
        progress: WorkProgress,
    ) -> list[dict[str, Cell]]:
        """Return held-out AUC and loss of the network's own head after training at each radius."""
        labels = torch.from_numpy(features.labels)
        rows_of_head = []
        for radius in self.radii:
            results = []
            for turn, (trained, held_out) in enumerate(splits):
                if isinstance(network, FrozenNetwork):
                    train_head(
                        network, features.own[trained], labels[trained], radius, self.plan, seed + turn
                    )
                    with torch.inference_mode():
                        logits = network.classify(features.own[held_out])
                    margins = logits[:, FAKE] - logits[:, REAL]
                else:
                    probe = LinearProbe(trained, radius, seed + turn)
                    weights = train_probes(features.own, labels, [probe], self.plan)
                    margins = probe_margins(features.own[held_out], weights)[0]
                results.append(auc_and_loss(features.labels[held_out], margins))
                progress.more()
            rows_of_head.append({"what": "radius", "radius": radius, **_summarise(results)})
        return rows_of_head

    def _by_layer(
        self, splits: Sequence[Split], features: CropFeatures, seed: int, progress: WorkProgress
    ) -> list[dict[str, Cell]]:
        """Return the AUC at each radius, the geometry at some steps, and both CORs, for each layer."""
        radii = (0.0, *self.scan)
        # Heads that are trained in parallel need equal numbers of samples; folds may differ by one or two.
        size = min(len(trained) for trained, _ in splits)
        probes = [
            LinearProbe(trained[:size], radius, seed + turn)
            for turn, (trained, _) in enumerate(splits)
            for radius in radii
        ]
        rows_of_layers: list[dict[str, Cell]] = []
        for layer in range(features.layers.shape[1]):
            tokens = features.layers[:, layer]
            recorder = _GeometryRecorder(tokens, features.labels, probes[0].samples, self.steps)
            weights = train_probes(tokens, torch.from_numpy(features.labels), probes, self.plan, recorder)
            layer_column = {"layer": layer + 1}
            margins = probe_margins(tokens, weights)
            aucs = []
            for number, radius in enumerate(radii):
                results = [
                    auc_and_loss(features.labels[held_out], margins[turn * len(radii) + number, held_out])
                    for turn, (_, held_out) in enumerate(splits)
                ]
                aucs.append(float(np.mean([auc for auc, _ in results])))
                rows_of_layers.append(
                    {"what": "layer radius", **layer_column, "radius": radius, **_summarise(results)}
                )
            for step, geometry_at in recorder.measured.items():
                rows_of_layers.append(
                    {"what": "step", **layer_column, "step": step, **_cells_of(geometry_at)}
                )
            bottleneck = list(recorder.measured)[critical(list(recorder.measured.values()))]
            geometry_at = recorder.measured[bottleneck]
            rows_of_layers.append(
                {
                    "what": "layer",
                    **layer_column,
                    "step": bottleneck,
                    "auc": aucs[0],
                    **self._radius(aucs),
                    "cor_theory": geometry_at.bound,
                    **_cells_of(geometry_at),
                }
            )
            progress.more()
        return rows_of_layers

    def _radius(self, aucs: Sequence[float]) -> dict[str, Cell]:
        """Return the largest radius before the first collapse of the head (CoRIT, Sec. III-A).

        Args:
            aucs: AUC without SAM, and at each radius of the scan.
        """
        largest = 0.0
        for radius, auc in zip((0.0, *self.scan), aucs, strict=True):
            if auc <= self.collapsed:
                return {"cor": largest, "reached": "yes" if radius else "without SAM"}
            largest = radius
        return {"cor": largest, "reached": "no"}

    def _lines(
        self, case: ForgeryRows, head: Sequence[Mapping[str, Cell]], layer_rows: Sequence[Mapping[str, Cell]]
    ) -> list[str]:
        by_radius = ", ".join(f"{row['radius']:g}: {row['auc']:.3f}" for row in head)
        radii = []
        for row in layer_rows:
            if row["what"] == "layer":
                sign = {"no": ">= ", "without SAM": "none, "}.get(str(row["reached"]), "")
                radii.append(f"{row['layer']}: {sign}{row['cor']:g} ({row['cor_theory']:.2g})")
        return [
            f"{case.data}, {case.kind}: held-out AUC by radius {by_radius}",
            f"{case.data}, {case.kind}: COR by layer, measured (theory) {', '.join(radii)}",
        ]


class _GeometryRecorder:
    """Records the geometry of the first probe at geometrically spaced steps."""

    def __init__(self, features: Tensor, labels: IndexArray, samples: IndexArray, steps: int) -> None:
        self.features = features[samples].double().numpy()
        self.labels = labels[samples]
        self.steps = {0, *np.rint(np.geomspace(1, steps, MEASURED - 1)).astype(int).tolist()}
        self.measured: dict[int, Geometry] = {}

    def __call__(self, step: int, weights: Tensor) -> None:
        if step in self.steps:
            first = weights[0].double().numpy()
            margins = self.features @ first[:-1] + first[-1]
            self.measured[step] = geometry(self.features, self.labels, margins)


def _summarise(results: Sequence[tuple[float, float]]) -> dict[str, Cell]:
    """Return the means over repeats, and the standard deviation of the AUC."""
    aucs, losses = zip(*results, strict=True)
    return {"auc": float(np.mean(aucs)), "spread": float(np.std(aucs)), "loss": float(np.mean(losses))}


def _cells_of(geometry_at: Geometry) -> dict[str, Cell]:
    return {name: getattr(geometry_at, name) for name in COLLAPSE_COLUMNS[-5:]}


def _row(case: ForgeryRows, **cells: Cell) -> dict[str, Cell]:
    return {name: {"data": case.data, "kind": case.kind, **cells}.get(name, "") for name in COLLAPSE_COLUMNS}


def _paper() -> tuple[str, ...]:
    """Return the paper's printed radii for comparison; its Fig. 1 to 3 and 6 have no numbers."""
    printed = paper_table("corit-cor")
    radii = [f"{row.name} {' '.join(str(cell) for cell in row.cells)}" for row in printed.rows]
    layers = ", ".join(column.removeprefix("L") for column in printed.columns)
    return (
        f"the paper on NeuralTextures, CLIP ViT-L/14, layers {layers} ({printed.number}): {'; '.join(radii)}",
    )
