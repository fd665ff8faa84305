"""Routes of crops through a network's routed blocks and masks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscan.analyses.analysis import Cell, FloatArray
from deepscan.analyses.crops import DrawnCrop, OpenNetwork, note_unreadable, read_batches
from deepscan.detectors.corit import CoritNetwork
from deepscan.detectors.dfd_hr import DfdHrNetwork
from deepscan.detectors.dfd_hr_routing import Branch
from deepscan.evaluation.scores import LABEL_NAMES
from deepscan.evaluation.tables import load_tables, paper_table
from deepscan.faces.regions import REGIONS
from deepscan.progress import OnProgress

#: The two mixtures of adapters of a block, in order.
MIXTURES = ("attention", "mlp")
#: Regions -> common names.
NAMES = dict(zip(REGIONS, ("foreground", "boundary", "background"), strict=True))
PAPER = "dfd-hr-gate-weights"


@dataclass(frozen=True, slots=True, eq=False)
class CropSets:
    """Data set and label of the analysed crops.

    Attributes:
        sets: Name of the data set of each crop, shape (N,).
        labels: 0 for real, 1 for fake, shape (N,).
    """

    sets: NDArray[np.str_]
    labels: NDArray[np.int64]

    def parts(self) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
        """Yield name, label and row mask of each data set and label, then of all data sets together."""
        names = list(dict.fromkeys(self.sets.tolist()))
        for name in [*names, *["all"] * (len(names) > 1)]:
            of_set = self.sets == name if name != "all" else np.ones(len(self.sets), dtype=bool)
            for label in (0, 1):
                rows = of_set & (self.labels == label)
                if rows.any():
                    yield name, LABEL_NAMES[label], rows


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The routes of N crops through a backbone of L blocks, of which m are routed.

    Attributes:
        crops: The crops.
        depth: Number of blocks that each crop passed, shape (N,).
        kept: Whether a routed block processed a patch, shape (N, m, P); False after the exit of a crop.
        alive: Whether a crop passed a block, shape (N, L).
        experts: Weight of each of E experts, mean over the tokens of a mixture, shape (N, L, 2, E); NaN after
            the exit of a crop; E is 0 without experts.
        routed: Indices of the routed blocks.
    """

    crops: CropSets
    depth: FloatArray
    kept: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    experts: FloatArray
    routed: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """The patches that the masks of L layers keep in the K regions of N crops.

    Attributes:
        crops: The crops.
        rates: Kept share of each region's patches, shape (N, L, K); an empty region is replaced by the whole
            crop.
        kept_share: Share of the layers whose masks have a patch, shape (N, P).
        regions: Names of the regions.
    """

    crops: CropSets
    rates: FloatArray
    kept_share: FloatArray
    regions: tuple[str, ...]


@contextmanager
def record_weights(branch: Branch) -> Iterator[dict[tuple[int, int], Tensor]]:
    """Record the weights of a branch's mixtures: (block, mixture) -> weights of the last call, (B, N, E)."""
    recorded: dict[tuple[int, int], Tensor] = {}

    def make_hook(key: tuple[int, int]) -> Callable[..., None]:
        def hook(mixture: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            # Gating has no noise in evaluation mode, so these are the weights that the mixture uses.
            recorded[key] = mixture.gate_weights(inputs[0])  # type: ignore[operator]

        return hook

    handles = [
        mixture.register_forward_pre_hook(make_hook((block, mixture_index)))
        for block, pair in enumerate(branch.adapters)
        for mixture_index, mixture in enumerate(pair.children())
    ]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def trace_routes(
    network: DfdHrNetwork,
    opened: OpenNetwork,
    drawn: Sequence[DrawnCrop],
    on_progress: OnProgress | None = None,
) -> Routes:
    """Return the routes of whole crops, as in the paper's figures."""
    seen: list[DrawnCrop] = []
    depth, kept, alive, experts = [], [], [], []
    blocks, routed = network.backbone.depth, network.branch.routed
    with record_weights(network.branch) as recorded:
        for crops, pixels in read_batches(drawn, on_progress=on_progress):
            recorded.clear()
            passage = network.run_global(opened.prepare(pixels)["crops"])
            seen += crops
            depth.append(passage.depth.double().cpu().numpy())
            kept.append(passage.kept.cpu().numpy() > 0)
            alive.append(_alive(depth[-1], blocks, routed))
            experts.append(_experts(recorded, alive[-1], network.settings.experts))
    if not seen:
        note_unreadable(len(drawn), 0)
    return Routes(
        _sets_of(seen),
        np.concatenate(depth),
        np.concatenate(kept),
        np.concatenate(alive),
        np.concatenate(experts),
        routed,
    )


@torch.no_grad()
def keep_rates(
    network: CoritNetwork,
    opened: OpenNetwork,
    drawn: Sequence[DrawnCrop],
    on_progress: OnProgress | None = None,
) -> Masks:
    """Return the patches that the masks keep.

    Raises:
        UsageError: The network has no masks.
    """
    seen: list[DrawnCrop] = []
    rates, kept_share = [], []
    for crops, pixels in read_batches(drawn, on_progress=on_progress):
        regions, masks = network.layer_masks(**opened.prepare(pixels))
        seen += crops
        rates.append((masks.sum(dim=3) / regions.sum(dim=2)).transpose(0, 1).double().cpu().numpy())
        kept_share.append(masks.amax(dim=2).mean(dim=0).double().cpu().numpy())
    if not seen:
        note_unreadable(len(drawn), 0)
    names = tuple(NAMES[REGIONS[index]] for index in network.chosen)
    return Masks(_sets_of(seen), np.concatenate(rates), np.concatenate(kept_share), names)


def _sets_of(crops: Sequence[DrawnCrop]) -> CropSets:
    return CropSets(np.array([crop.dataset for crop in crops]), np.array([crop.label for crop in crops]))


def _alive(depth: FloatArray, blocks: int, routed: Sequence[int]) -> NDArray[np.bool_]:
    """Return which crops passed which block: after its exit, a crop passes no later block."""
    alive = np.ones((len(depth), blocks), dtype=bool)
    for order, block in enumerate(routed):
        alive[:, block] = depth - (blocks - len(routed)) > order
    return alive


def _experts(recorded: dict[tuple[int, int], Tensor], alive: NDArray[np.bool_], count: int) -> FloatArray:
    """Return the mean expert weights by crop, block and mixture, NaN after the exit of a crop."""
    weights_by_crop = np.full((*alive.shape, len(MIXTURES), count), np.nan)
    for (block, mixture_index), weights in recorded.items():
        weights_by_crop[alive[:, block], block, mixture_index] = weights.double().mean(dim=1).cpu().numpy()
    return weights_by_crop


def printed(dataset: str, label: str, expert: int) -> Cell:
    """Return the weight that the paper prints for an expert on a data set, or ""."""
    table = paper_table(PAPER)
    names = {
        column: name
        for other in load_tables().values()
        if other.paper == table.paper
        for column, name in other.datasets.items()
    }
    for row in table.rows:
        column, _, kind = row.name.rpartition(" ")
        if (names.get(column), kind) == (dataset, label) and expert <= len(row.cells):
            value = row.cells[expert - 1].number
            assert value is not None and table.scale is not None
            return float(value / table.scale)
    return ""
