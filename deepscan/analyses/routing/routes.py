"""The ways that crops take through a network's routed blocks and masks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscan.analyses.analysis import Cell, FloatArray
from deepscan.analyses.crops import DrawnCrop, OpenNetwork, note_unread, read_batches
from deepscan.detectors.corit import CoritNetwork
from deepscan.detectors.dfd_hr import DfdHrNetwork
from deepscan.detectors.dfd_hr_routing import Branch
from deepscan.evaluation.scores import LABEL_NAMES
from deepscan.evaluation.tables import load_tables, paper_table
from deepscan.faces.regions import REGIONS
from deepscan.progress import OnProgress

#: A block's two mixtures of adapters, in their order.
MIXTURES = ("attention", "mlp")
#: Regions as people call them.
NAMES = dict(zip(REGIONS, ("foreground", "boundary", "background"), strict=True))
PAPER = "dfd-hr-gate-weights"


@dataclass(frozen=True, slots=True, eq=False)
class CropSets:
    """Which crops were looked at.

    Attributes:
        sets: Name of each one's data set, shape (N,).
        labels: 0 for real, 1 for fake, shape (N,).
    """

    sets: NDArray[np.str_]
    labels: NDArray[np.int64]

    def parts(self) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
        """Yield name, label and rows of each data set and label, then of all data sets if there are more."""
        names = list(dict.fromkeys(self.sets.tolist()))
        for name in [*names, *["all"] * (len(names) > 1)]:
            own = self.sets == name if name != "all" else np.ones(len(self.sets), dtype=bool)
            for label in (0, 1):
                rows = own & (self.labels == label)
                if rows.any():
                    yield name, LABEL_NAMES[label], rows


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The routes of N crops through a backbone of L blocks, m of them routed.

    Attributes:
        crops: Which crops.
        depth: Blocks that each went through, shape (N,).
        kept: Whether a routed block worked on a patch, shape (N, m, P); nowhere for a crop that had left.
        alive: Whether a crop went through a block, shape (N, L).
        experts: Weight of each of E experts, mean over the tokens that a mixture saw, shape (N, L, 2, E); NaN
            for a crop that had left; E is 0 without experts.
        routed: Numbers of the routed blocks, from 0.
    """

    crops: CropSets
    depth: FloatArray
    kept: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    experts: FloatArray
    routed: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """What the masks of L layers keep of N crops' K regions.

    Attributes:
        crops: Which crops.
        rates: Share of each region's patches that is kept, shape (N, L, K); of the whole crop's, where the
            region is empty and the crop stands for it.
        kept_share: Share of the layers in which a patch is in a mask, shape (N, P).
        regions: Names of the regions.
    """

    crops: CropSets
    rates: FloatArray
    kept_share: FloatArray
    regions: tuple[str, ...]


@contextmanager
def noting_weights(branch: Branch) -> Iterator[dict[tuple[int, int], Tensor]]:
    """Note what the mixtures of a branch weigh: (block, mixture) -> weights of its last call, (B, N, E)."""
    noted: dict[tuple[int, int], Tensor] = {}

    def note(place: tuple[int, int]) -> Callable[..., None]:
        def hook(mixture: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            # Nothing is noisy in evaluation: these are the weights that the mixture then works with.
            noted[place] = mixture.gate_weights(inputs[0])  # type: ignore[operator]

        return hook

    handles = [
        mixture.register_forward_pre_hook(note((block, which)))
        for block, pair in enumerate(branch.adapters)
        for which, mixture in enumerate(pair.children())
    ]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def follow(
    network: DfdHrNetwork,
    opened: OpenNetwork,
    drawn: Sequence[DrawnCrop],
    on_progress: OnProgress | None = None,
) -> Routes:
    """Return the routes of whole crops, which are those that the paper's figures are of."""
    seen: list[DrawnCrop] = []
    depth, kept, alive, experts = [], [], [], []
    blocks, routed = network.backbone.depth, network.branch.routed
    with noting_weights(network.branch) as noted:
        for crops, pixels in read_batches(drawn, on_progress=on_progress):
            noted.clear()
            passage = network.run_global(opened.prepare(pixels)["crops"])
            seen += crops
            depth.append(passage.depth.double().cpu().numpy())
            kept.append(passage.kept.cpu().numpy() > 0)
            alive.append(_alive(depth[-1], blocks, routed))
            experts.append(_experts(noted, alive[-1], network.settings.experts))
    if not seen:
        note_unread(len(drawn), 0)
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
    """Return what the masks keep.

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
        note_unread(len(drawn), 0)
    names = tuple(NAMES[REGIONS[index]] for index in network.chosen)
    return Masks(_sets_of(seen), np.concatenate(rates), np.concatenate(kept_share), names)


def _sets_of(crops: Sequence[DrawnCrop]) -> CropSets:
    return CropSets(np.array([crop.dataset for crop in crops]), np.array([crop.label for crop in crops]))


def _alive(depth: FloatArray, blocks: int, routed: Sequence[int]) -> NDArray[np.bool_]:
    """Return which crops went through which block: who has left a routed block enters no later one."""
    alive = np.ones((len(depth), blocks), dtype=bool)
    for order, block in enumerate(routed):
        alive[:, block] = depth - (blocks - len(routed)) > order
    return alive


def _experts(noted: dict[tuple[int, int], Tensor], alive: NDArray[np.bool_], count: int) -> FloatArray:
    """Return the experts' mean weights by crop, block and mixture, of what crops that had not left gave."""
    found = np.full((*alive.shape, len(MIXTURES), count), np.nan)
    for (block, which), weights in noted.items():
        found[alive[:, block], block, which] = weights.double().mean(dim=1).cpu().numpy()
    return found


def printed(dataset: str, label: str, expert: int) -> Cell:
    """Return the weight that the paper prints for an expert on a data set, "" where it prints none."""
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
