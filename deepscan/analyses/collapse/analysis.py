"""Where training by sharpness-aware minimisation collapses: forgery by forgery, and layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, IndexArray, Subject, WorkProgress
from deepscan.analyses.collapse.figure import draw_collapse
from deepscan.analyses.collapse.gradients import Geometry, critical, geometry
from deepscan.analyses.crops import note_unread, open_network
from deepscan.analyses.features import (
    ForgeryRows,
    SeenFeatures,
    distinct_crops,
    forgeries,
    see_crops,
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

#: Steps of the training at which gradients are measured, the first and the last among them.
MEASURED = 40
Split = tuple[IndexArray, IndexArray]
COLLAPSE_COLUMNS = (
    *("what", "data", "kind", "layer", "radius", "step", "auc", "spread", "loss"),
    *("cor", "reached", "cor_theory", "flatness", "misspecification", "fidelity", "gsnr", "bound"),
)


@ANALYSES.register("collapse")
@dataclass(frozen=True)
class CollapseAnalysis(Analysis):
    """Trains heads on features that are computed once, and asks which radius of SAM they bear.

    Three things are looked at for each kind of fake. The AUC of the network's own head on held-out groups,
    trained anew at each of `radii` (CoRIT, Fig. 1a and 2); where the backbone trains too, that of a linear
    head on the backbone as it is now. The critical optimisation radius (COR) at every layer (Fig. 1b, Table
    VII): as measured, the radius up to which a linear head's AUC stays above `collapsed`, and by theory, Eq.
    11 and 13. And the gradients' signal-to-noise ratio over the steps of that training without SAM (Fig. 3).

    The loss of a linear head is convex. With the gradients of all samples SAM then descends at any radius, as
    Eq. 3 asks, and only the noise of batches can make a head collapse; the bound of Eq. 8 is sufficient, not
    necessary, and may lie far below the radius that is measured.

    The paper does not state how its heads were trained; the defaults are those of the CoRIT recipe. Nor does
    it state from which AUC on a head counts as collapsed: "approximately 0.5".

    Attributes:
        radii: Radii of SAM for the network's own head.
        scan: Radii among which the COR is looked for, rising.
        collapsed: A head whose AUC is not above this has collapsed.
        repeats: Trainings of each head; each holds out other groups and draws other first weights.
        steps: Of a training.
        batch: Crops a step.
        lr: Learning rate.
        momentum: Of the descent.
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
                raise UsageError(f"{name} are rising radii, not {list(radii)}", f"correct {name}")
        if min(self.repeats, self.steps, self.batch) < 1 or self.lr <= 0 or not 0 <= self.momentum < 1:
            raise UsageError(
                "repeats, steps, batch, lr or momentum is out of range",
                "the first three are at least 1, lr is above 0, and 0 <= momentum < 1",
            )

    @property
    def plan(self) -> HeadPlan:
        """How every head is trained."""
        return HeadPlan(self.steps, self.batch, self.lr, self.momentum)

    def look(self, subject: Subject) -> Findings:
        """Return AUC by radius, COR by layer, and GSNR by step, for each kind of fake."""
        opened = open_network(subject.card)
        found = forgeries(subject)
        drawn = distinct_crops(found)
        layers = opened.network.backbone.depth
        heads = len(self.radii) * self.repeats + layers
        pieces = WorkProgress(subject, len(drawn) + len(found) * heads)
        seen = see_crops(opened, drawn, pieces.reached)
        network = opened.network.cpu()
        rows: list[dict[str, Cell]] = []
        lines: list[str] = []
        refused: UsageError | None = None
        for case in (seen.case(forgery) for forgery in found):
            try:
                splits = [case.split(seen.labels, subject.seed + turn) for turn in range(self.repeats)]
            except UsageError as error:
                refused = error
                lines.append(f"left out: {error.message}")
                pieces.more(heads)
                continue
            head = self._by_radius(splits, seen, network, subject.seed, pieces)
            probed = self._by_layer(splits, seen, subject.seed, pieces)
            rows += [_row(case, **cells) for cells in (*head, *probed)]
            lines += self._lines(case, head, probed)
        if refused is not None and not rows:
            raise refused
        return Findings(
            rows, draw_collapse(rows), (*lines, *_paper(), *note_unread(len(drawn), len(seen.crops)))
        )

    def _by_radius(
        self, splits: Sequence[Split], seen: SeenFeatures, network: Network, seed: int, pieces: WorkProgress
    ) -> list[dict[str, Cell]]:
        """Return held-out AUC and loss of the network's own head, trained at each radius."""
        labels = torch.from_numpy(seen.labels)
        found = []
        for radius in self.radii:
            results = []
            for turn, (trained, held_out) in enumerate(splits):
                if isinstance(network, FrozenNetwork):
                    train_head(network, seen.own[trained], labels[trained], radius, self.plan, seed + turn)
                    with torch.inference_mode():
                        logits = network.classify(seen.own[held_out])
                    margins = logits[:, FAKE] - logits[:, REAL]
                else:
                    probe = LinearProbe(trained, radius, seed + turn)
                    weights = train_probes(seen.own, labels, [probe], self.plan)
                    margins = probe_margins(seen.own[held_out], weights)[0]
                results.append(auc_and_loss(seen.labels[held_out], margins))
                pieces.more()
            found.append({"what": "radius", "radius": radius, **_over(results)})
        return found

    def _by_layer(
        self, splits: Sequence[Split], seen: SeenFeatures, seed: int, pieces: WorkProgress
    ) -> list[dict[str, Cell]]:
        """Return, layer by layer, the AUC at each radius, the geometry at some steps, and both radii."""
        radii = (0.0, *self.scan)
        # Folds may differ by a sample or two, and heads are trained side by side.
        size = min(len(trained) for trained, _ in splits)
        probes = [
            LinearProbe(trained[:size], radius, seed + turn)
            for turn, (trained, _) in enumerate(splits)
            for radius in radii
        ]
        found: list[dict[str, Cell]] = []
        for layer in range(seen.layers.shape[1]):
            features = seen.layers[:, layer]
            path = _Path(features, seen.labels, probes[0].samples, self.steps)
            weights = train_probes(features, torch.from_numpy(seen.labels), probes, self.plan, path)
            numbered = {"layer": layer + 1}
            margins = probe_margins(features, weights)
            aucs = []
            for number, radius in enumerate(radii):
                results = [
                    auc_and_loss(seen.labels[held_out], margins[turn * len(radii) + number, held_out])
                    for turn, (_, held_out) in enumerate(splits)
                ]
                aucs.append(float(np.mean([auc for auc, _ in results])))
                found.append({"what": "layer radius", **numbered, "radius": radius, **_over(results)})
            for step, there in path.measured.items():
                found.append({"what": "step", **numbered, "step": step, **_cells_of(there)})
            bottleneck = list(path.measured)[critical(list(path.measured.values()))]
            there = path.measured[bottleneck]
            found.append(
                {
                    "what": "layer",
                    **numbered,
                    "step": bottleneck,
                    "auc": aucs[0],
                    **self._radius(aucs),
                    "cor_theory": there.bound,
                    **_cells_of(there),
                }
            )
            pieces.more()
        return found

    def _radius(self, aucs: Sequence[float]) -> dict[str, Cell]:
        """Return the greatest radius before the first at which the head has collapsed (CoRIT, Sec. III-A).

        Args:
            aucs: Without SAM, and at each radius of the scan.
        """
        borne = 0.0
        for radius, auc in zip((0.0, *self.scan), aucs, strict=True):
            if auc <= self.collapsed:
                return {"cor": borne, "reached": "yes" if radius else "without SAM"}
            borne = radius
        return {"cor": borne, "reached": "no"}

    def _lines(
        self, case: ForgeryRows, head: Sequence[Mapping[str, Cell]], probed: Sequence[Mapping[str, Cell]]
    ) -> list[str]:
        by_radius = ", ".join(f"{row['radius']:g}: {row['auc']:.3f}" for row in head)
        radii = []
        for row in probed:
            if row["what"] == "layer":
                sign = {"no": ">= ", "without SAM": "none, "}.get(str(row["reached"]), "")
                radii.append(f"{row['layer']}: {sign}{row['cor']:g} ({row['cor_theory']:.2g})")
        return [
            f"{case.data}, {case.kind}: held-out AUC by radius {by_radius}",
            f"{case.data}, {case.kind}: COR by layer, measured (by theory) {', '.join(radii)}",
        ]


class _Path:
    """Measures the geometry of the first of the probes at some steps, ever further apart."""

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


def _over(results: Sequence[tuple[float, float]]) -> dict[str, Cell]:
    """Return the means over repeats, and how far the AUC is spread."""
    aucs, losses = zip(*results, strict=True)
    return {"auc": float(np.mean(aucs)), "spread": float(np.std(aucs)), "loss": float(np.mean(losses))}


def _cells_of(there: Geometry) -> dict[str, Cell]:
    return {name: getattr(there, name) for name in COLLAPSE_COLUMNS[-5:]}


def _row(case: ForgeryRows, **cells: Cell) -> dict[str, Cell]:
    return {name: {"data": case.data, "kind": case.kind, **cells}.get(name, "") for name in COLLAPSE_COLUMNS}


def _paper() -> tuple[str, ...]:
    """Return what the paper prints to hold this against; its Fig. 1 to 3 and 6 are only drawn."""
    printed = paper_table("corit-cor")
    radii = [f"{row.name} {' '.join(str(cell) for cell in row.cells)}" for row in printed.rows]
    layers = ", ".join(column.removeprefix("L") for column in printed.columns)
    return (
        f"the paper on NeuralTextures, CLIP ViT-L/14, layers {layers} ({printed.number}): {'; '.join(radii)}",
    )
