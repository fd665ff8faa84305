"""Loss landscape around a model's weights: over a plane of random directions, and along steepest ascents."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, FloatArray, Subject, WorkProgress
from deepscan.analyses.crops import (
    BATCH,
    DrawnCrop,
    OpenNetwork,
    draw_crops,
    note_unreadable,
    open_network,
    read_batches,
)
from deepscan.analyses.features import gather
from deepscan.analyses.heads import head_parameters
from deepscan.analyses.landscape.figure import draw_landscape
from deepscan.analyses.landscape.loss import DirectionNorm, WeightLoss, climb, direction, dot, surface
from deepscan.cards import ModelCard
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import FrozenNetwork, Network
from deepscan.errors import ContractError, UsageError
from deepscan.training.run_files import BEST

LANDSCAPE_COLUMNS = ("what", "a", "b", "radius", "start", "loss", "rise")


@ANALYSES.register("landscape")
@dataclass(frozen=True)
class LandscapeAnalysis(Analysis):
    """Plots the cross-entropy around a model's weights, and measures its rise within SAM's radius.

    Only trained weights are moved: the head if the backbone is frozen, otherwise all weights that training
    changed, from the run's best checkpoint, or all weights without a checkpoint. Everything is computed in
    float32 on the same crops.

    The plane of a model is scaled by the norm of its weights. The table also has the distance of every point,
    in the units of SAM's radius.

    Attributes:
        reach: Half side of the plane, in norms of the weights.
        points: Number of points along each side, odd, so that the centre is the model itself.
        norm: Whether directions are scaled by `filter` or by `tensor`.
        radii: Distances from the weights, like SAM's radius, at which the highest loss is searched.
        ascents: Number of ascents: one along the gradient, the others in random directions.
        steps: Number of steps of an ascent.
        crops: Maximum number of crops of each label, for a network whose backbone is moved.
    """

    summary = "loss surface around the weights, and its rise within SAM's radius"
    source = "CoRIT, Fig. 7; Li et al., NeurIPS 2018"

    reach: float = 1.0
    points: int = 21
    norm: DirectionNorm = "filter"
    radii: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2)
    ascents: int = 3
    steps: int = 5
    crops: int = 32

    def __post_init__(self) -> None:
        if self.points < 3 or not self.points % 2 or self.reach <= 0:
            raise UsageError(
                "points must be odd and at least 3, and reach above 0, "
                f"not points={self.points} and reach={self.reach}",
                "for example: points=21 reach=1",
            )
        if self.norm not in get_args(DirectionNorm):
            raise UsageError(
                f"norm must be one of {', '.join(get_args(DirectionNorm))}, not {self.norm!r}",
                f"for example: norm={get_args(DirectionNorm)[0]}",
            )
        if not self.radii or min(self.radii) <= 0 or min(self.ascents, self.steps, self.crops) < 1:
            raise UsageError(
                "radii, ascents, steps or crops is out of range", "required: radii > 0, the others >= 1"
            )

    def run(self, subject: Subject) -> Findings:
        """Return the loss over the plane and at each radius."""
        opened = open_network(subject.card)
        frozen = isinstance(opened.network, FrozenNetwork)
        drawn = draw_crops(
            subject
            if frozen
            else replace(subject, max_crops=min(subject.max_crops or self.crops, self.crops))
        )
        ascents = len(self.radii) * self.ascents * self.steps
        progress = WorkProgress(subject, len(drawn) + self.points**2 + ascents)
        loss, description, notes = self._loss(opened, subject.card, drawn, progress)
        starts = [None, *(_random_direction(loss, subject.seed, turn) for turn in range(1, self.ascents))]
        base_loss = loss.value()
        steps = np.linspace(-self.reach, self.reach, self.points)
        # Make the centre exact.
        steps[self.points // 2] = 0.0
        first, second = (direction(loss.values, (subject.seed, turn), self.norm) for turn in range(2))
        plane = surface(loss, first, second, steps.tolist(), progress.more)
        distances = _distances(first, second, steps)
        rows = [
            _row(
                what="surface",
                a=a,
                b=b,
                radius=distances[row, column],
                loss=plane[row, column],
                rise=plane[row, column] - base_loss,
            )
            for row, a in enumerate(steps.tolist())
            for column, b in enumerate(steps.tolist())
        ]
        highest_rise: dict[float, float] = {}
        for radius in self.radii:
            for turn, start in enumerate(starts):
                highest_loss = climb(loss, radius, start, self.steps, progress.more)
                name = f"random {turn}" if turn else "gradient"
                rows.append(
                    _row(
                        what="ascent",
                        radius=radius,
                        start=name,
                        loss=highest_loss,
                        rise=highest_loss - base_loss,
                    )
                )
                highest_rise[radius] = max(highest_rise.get(radius, -np.inf), highest_loss - base_loss)
        progress.end()
        by_radius = ", ".join(f"{radius:g}: {rise:.4f}" for radius, rise in highest_rise.items())
        return Findings(
            rows,
            draw_landscape(rows, subject.card.name),
            (
                f"cross-entropy {base_loss:.4f} {description}",
                f"rise within a radius, at least: {by_radius}",
                f"rise over the plane: mean {plane.mean() - base_loss:.4f}, maximum "
                f"{plane.max() - base_loss:.4f}, minimum {plane.min() - base_loss:.4f}; a step of 1 is a "
                f"distance of {dot(first, first) ** 0.5:.3g}",
                "the paper only plots its surfaces (Fig. 7), without numbers",
                *notes,
            ),
        )

    def _loss(
        self, opened: OpenNetwork, card: ModelCard, drawn: Sequence[DrawnCrop], progress: WorkProgress
    ) -> tuple[WeightLoss, str, tuple[str, ...]]:
        """Return the loss, a description of the moved weights, and notes about crops."""
        network = opened.network
        if isinstance(network, FrozenNetwork):
            extract = network.extract
            crops, (features,) = gather(opened, drawn, lambda inputs: extract(**inputs)[:1], progress.reached)
            head = network.cpu().classify
            labels = torch.tensor([crop.label for crop in crops])

            def full_loss() -> Iterator[Tensor]:
                yield F.cross_entropy(head(features).float(), labels)

            values = tuple(value for _, value in head_parameters(network))
            return (
                WeightLoss(values, full_loss),
                _describe(values, "the head", len(crops)),
                note_unreadable(len(drawn), len(crops)),
            )
        trained_network, trained = _as_trained(card, network, opened.device)
        values = tuple(value for value in trained_network.parameters() if value.requires_grad)
        read = [
            (opened.prepare(pixels), torch.tensor([crop.label for crop in part], device=opened.device))
            for part, pixels in read_batches(drawn, BATCH, progress.reached)
        ]
        count = sum(len(labels) for _, labels in read)

        def parts() -> Iterator[Tensor]:
            for inputs, labels in read:
                logits = trained_network(**inputs).logits.float()
                yield F.cross_entropy(logits, labels, reduction="sum") / count

        moved_weights = (
            "the trained weights" if trained else "all weights, as there is no training checkpoint"
        )
        return (
            WeightLoss(values, parts),
            _describe(values, moved_weights, count),
            note_unreadable(len(drawn), count),
        )


def _distances(first: Sequence[Tensor], second: Sequence[Tensor], steps: FloatArray) -> FloatArray:
    """Return the distances of the points of a plane from the weights, shape (S, S): (first, second)."""
    a, b = steps[:, None], steps[None]
    squares = a**2 * dot(first, first) + b**2 * dot(second, second) + 2 * a * b * dot(first, second)
    # Rounding may give tiny negative values.
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _as_trained(card: ModelCard, network: Network, device: str) -> tuple[Network, bool]:
    """Return the network of the training checkpoint, before its tuning was merged, and True.

    Without a checkpoint, return the published network with all weights trainable, and False.
    """
    path, recipe = card.folder / "run" / BEST, card.trained.get("recipe")
    if not path.is_file() or not isinstance(recipe, Mapping):
        return network.requires_grad_(True), False
    with torch.device("meta"):
        trained = DETECTORS.get(card.method)().build(recipe["network"])
    _fill(trained, path)
    return trained.to(device).eval(), True


def _fill(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict(load_file(path), assign=True)
    except RuntimeError as error:
        raise ContractError(
            f"{path} belongs to a different network: {str(error).splitlines()[-1].strip()}",
            "restore the training's folder, or move it away to analyse all weights",
        )


def _random_direction(loss: WeightLoss, seed: int, turn: int) -> list[Tensor]:
    rng = np.random.default_rng((seed, 1, turn))
    return [torch.from_numpy(rng.standard_normal(tuple(value.shape))).to(value) for value in loss.values]


def _describe(values: Sequence[Tensor], moved_weights: str, crops: int) -> str:
    count = sum(value.numel() for value in values)
    return f"of {crops:,} crops; moved: {moved_weights}, {count:,} numbers"


def _row(**cells: Any) -> dict[str, Cell]:
    return {name: cells.get(name, "") for name in LANDSCAPE_COLUMNS}
