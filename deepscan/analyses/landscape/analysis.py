"""The loss around a model's weights: over a plane of random directions, and on the steepest ways up."""

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
    note_unread,
    open_network,
    read_batches,
)
from deepscan.analyses.features import gather
from deepscan.analyses.heads import trained_of
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
    """Draws the cross-entropy around a model's weights, and tells how much it rises within SAM's radius.

    What is moved is what training moved: the head of a network whose backbone is frozen; of others all that
    training changed, as the run's best checkpoint has it, or where that is not there all weights. Everything
    is computed in float32 on the same crops.

    The planes of two models are in lengths of the weights of each; what that is as a distance, in which SAM's
    radius is stated, stands beside every point.

    Attributes:
        reach: How far the plane goes either way, in lengths of the weights.
        points: Along each of its sides, an odd number: the middle one is the model itself.
        norm: Whether a direction's proportions are those of every `filter` or of every `tensor`.
        radii: Distances from the weights at which the highest loss is looked for, as SAM's radius is one.
        ascents: From how many places: the gradient, and random directions.
        steps: Of an ascent.
        crops: Crops of each label at most, for a network whose backbone is moved.
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
                f"points {self.points}, reach {self.reach}", "points is odd and at least 3, reach is above 0"
            )
        if self.norm not in get_args(DirectionNorm):
            raise UsageError(
                f"norm must be one of {', '.join(get_args(DirectionNorm))}, not {self.norm!r}", "correct norm"
            )
        if not self.radii or min(self.radii) <= 0 or min(self.ascents, self.steps, self.crops) < 1:
            raise UsageError(
                "radii, ascents, steps or crops is out of range", "radii are above 0, the others at least 1"
            )

    def look(self, subject: Subject) -> Findings:
        """Return the loss over the plane and at each radius."""
        opened = open_network(subject.card)
        frozen = isinstance(opened.network, FrozenNetwork)
        drawn = draw_crops(
            subject if frozen else replace(subject, most=min(subject.most or self.crops, self.crops))
        )
        ascents = len(self.radii) * self.ascents * self.steps
        pieces = WorkProgress(subject, len(drawn) + self.points**2 + ascents)
        loss, moved, notes = self._loss(opened, subject.card, drawn, pieces)
        starts = [None, *(_anywhere(loss, subject.seed, turn) for turn in range(1, self.ascents))]
        here = loss.value()
        steps = np.linspace(-self.reach, self.reach, self.points)
        # The middle is the model itself, not nearly.
        steps[self.points // 2] = 0.0
        first, second = (direction(loss.values, (subject.seed, turn), self.norm) for turn in range(2))
        plane = surface(loss, first, second, steps.tolist(), pieces.more)
        away = _distances(first, second, steps)
        rows = [
            _row(
                what="surface",
                a=a,
                b=b,
                radius=away[row, column],
                loss=plane[row, column],
                rise=plane[row, column] - here,
            )
            for row, a in enumerate(steps.tolist())
            for column, b in enumerate(steps.tolist())
        ]
        risen: dict[float, float] = {}
        for radius in self.radii:
            for turn, start in enumerate(starts):
                there = climb(loss, radius, start, self.steps, pieces.more)
                name = f"random {turn}" if turn else "gradient"
                rows.append(_row(what="ascent", radius=radius, start=name, loss=there, rise=there - here))
                risen[radius] = max(risen.get(radius, -np.inf), there - here)
        pieces.end()
        by_radius = ", ".join(f"{radius:g}: {rise:.4f}" for radius, rise in risen.items())
        return Findings(
            rows,
            draw_landscape(rows, subject.card.name),
            (
                f"cross-entropy {here:.4f} {moved}",
                f"it rises within a radius by at least {by_radius}",
                f"over the plane it rises by {plane.mean() - here:.4f} in the mean, "
                f"{plane.max() - here:.4f} at most, {plane.min() - here:.4f} at least; a step of 1 is a "
                f"distance of {dot(first, first) ** 0.5:.3g}",
                "the paper draws its surfaces (Fig. 7) and prints no figure of them",
                *notes,
            ),
        )

    def _loss(
        self, opened: OpenNetwork, card: ModelCard, drawn: Sequence[DrawnCrop], pieces: WorkProgress
    ) -> tuple[WeightLoss, str, tuple[str, ...]]:
        """Return the loss, what is moved in words, and what is to be told of crops."""
        network = opened.network
        if isinstance(network, FrozenNetwork):
            extract = network.extract
            crops, (features,) = gather(opened, drawn, lambda inputs: extract(**inputs)[:1], pieces.reached)
            head = network.cpu().classify
            labels = torch.tensor([crop.label for crop in crops])

            def whole() -> Iterator[Tensor]:
                yield F.cross_entropy(head(features).float(), labels)

            values = tuple(value for _, value in trained_of(network))
            return (
                WeightLoss(values, whole),
                _moved(values, "the head", len(crops)),
                note_unread(len(drawn), len(crops)),
            )
        tuned, trained = _as_trained(card, network, opened.device)
        values = tuple(value for value in tuned.parameters() if value.requires_grad)
        read = [
            (opened.prepare(pixels), torch.tensor([crop.label for crop in part], device=opened.device))
            for part, pixels in read_batches(drawn, BATCH, pieces.reached)
        ]
        count = sum(len(labels) for _, labels in read)

        def parts() -> Iterator[Tensor]:
            for inputs, labels in read:
                logits = tuned(**inputs).logits.float()
                yield F.cross_entropy(logits, labels, reduction="sum") / count

        what = (
            "what training changed" if trained else "all weights, as the training's checkpoint is not there"
        )
        return WeightLoss(values, parts), _moved(values, what, count), note_unread(len(drawn), count)


def _distances(first: Sequence[Tensor], second: Sequence[Tensor], steps: FloatArray) -> FloatArray:
    """Return how far from the weights the points of a plane are, shape (S, S): (first, second)."""
    a, b = steps[:, None], steps[None]
    squares = a**2 * dot(first, first) + b**2 * dot(second, second) + 2 * a * b * dot(first, second)
    # Rounding may leave less than nothing.
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _as_trained(card: ModelCard, network: Network, device: str) -> tuple[Network, bool]:
    """Return a network as it was trained, its tuning not yet folded into its weights, and whether it is that.

    Where the training's folder is not there, the published one is returned, with all weights to be moved.
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
            f"{path} is of another network: {str(error).splitlines()[-1].strip()}",
            "restore the training's folder, or take it away to move all of the model's weights",
        )


def _anywhere(loss: WeightLoss, seed: int, turn: int) -> list[Tensor]:
    rng = np.random.default_rng((seed, 1, turn))
    return [torch.from_numpy(rng.standard_normal(tuple(value.shape))).to(value) for value in loss.values]


def _moved(values: Sequence[Tensor], what: str, crops: int) -> str:
    numbers = sum(value.numel() for value in values)
    return f"of {crops:,} crops; moved: {what}, {numbers:,} numbers"


def _row(**cells: Any) -> dict[str, Cell]:
    return {name: cells.get(name, "") for name in LANDSCAPE_COLUMNS}
