"""How crops are routed: exits, tokens and experts of DFD-HR; what CoRIT's masks keep, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, Subject
from deepscan.analyses.crops import LABELS, Crop, Opened, batches, draw, open_network, unread
from deepscan.detectors.corit import CoritNetwork
from deepscan.detectors.dfd_hr import DfdHrNetwork
from deepscan.detectors.routing import Branch
from deepscan.errors import UsageError
from deepscan.evaluation.tables import load_tables, table
from deepscan.faces.regions import REGIONS

Floats = NDArray[np.float64]
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
                    yield name, LABELS[label], rows


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The routes of N crops through a tower of L blocks, m of them routed.

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
    depth: Floats
    kept: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    experts: Floats
    routed: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """What the masks of L layers keep of N crops' K regions.

    Attributes:
        crops: Which crops.
        rates: Share of each region's patches that is kept, shape (N, L, K); of the whole crop's, where the
            region is empty and the crop stands for it.
        held: Share of the layers in which a patch is in a mask, shape (N, P).
        regions: Names of the regions.
    """

    crops: CropSets
    rates: Floats
    held: Floats
    regions: tuple[str, ...]


@ANALYSES.register("routing")
@dataclass(frozen=True)
class Routing(Analysis):
    """What a network does for one crop and not for another."""

    summary = (
        "DFD-HR's exits, kept tokens and expert weights, or CoRIT's masks layer by layer, real against fake"
    )
    source = "DFD-HR, Fig. 5; supplement, Fig. A and Table D; CoRIT, Sec. IV-B; supplement, Sec. VIII"

    def look(self, subject: Subject) -> Findings:
        """Return what was routed where, by data set and label.

        Raises:
            UsageError: The model routes nothing, or the crops lack a class.
            MissingError: Crops, the model's `torch` file or a package are not there.
            ContractError: That file does not fit.
        """
        from deepscan.analyses.routing_figure import draw_masks, draw_routes

        drawn, opened = draw(subject), open_network(subject.card)
        network = opened.network
        if isinstance(network, DfdHrNetwork):
            routes = follow(network, opened, drawn, subject.progress)
            told = (*unread(len(drawn), len(routes.depth)), *_told_routes(routes, network))
            return Findings(_rows_routes(routes), draw_routes(routes, network.backbone.grid), told)
        if isinstance(network, CoritNetwork):
            masks = keep_rates(network, opened, drawn, subject.progress)
            told = (*unread(len(drawn), len(masks.rates)), *_told_masks(masks, network))
            return Findings(_rows_masks(masks), draw_masks(masks, network.backbone.grid), told)
        raise UsageError(
            f"model {subject.card.name!r} of method {subject.card.method} sends every crop the same way",
            "name a model of dfd-hr or corit; or see --analysis attention",
        )


@contextmanager
def noting_weights(branch: Branch) -> Iterator[dict[tuple[int, int], Tensor]]:
    """Note what the mixtures of a branch weigh: (block, mixture) -> weights of its last call, (B, N, E)."""
    noted: dict[tuple[int, int], Tensor] = {}

    def note(at: tuple[int, int]) -> Callable[..., None]:
        def hook(mixture: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
            # Nothing is noisy in evaluation: these are the weights that the mixture then works with.
            noted[at] = mixture.weigh(given[0])  # type: ignore[operator]

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
    opened: Opened,
    drawn: Sequence[Crop],
    progress: Callable[[int, int], None] | None = None,
) -> Routes:
    """Return the routes of whole crops, which are those that the paper's figures are of."""
    seen: list[Crop] = []
    depth, kept, alive, experts = [], [], [], []
    blocks, routed = len(network.backbone.blocks), network.branch.routed
    with noting_weights(network.branch) as noted:
        for crops, pixels in batches(drawn, progress=progress):
            noted.clear()
            passage = network.global_passage(opened.given(pixels)["crops"])
            seen += crops
            depth.append(passage.depth.double().cpu().numpy())
            kept.append(passage.kept.cpu().numpy() > 0)
            alive.append(_alive(depth[-1], blocks, routed))
            experts.append(_experts(noted, alive[-1], network.settings.experts))
    if not seen:
        unread(len(drawn), 0)
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
    opened: Opened,
    drawn: Sequence[Crop],
    progress: Callable[[int, int], None] | None = None,
) -> Masks:
    """Return what the masks keep.

    Raises:
        UsageError: The network has no masks.
    """
    seen: list[Crop] = []
    rates, held = [], []
    for crops, pixels in batches(drawn, progress=progress):
        regions, masks = network.layer_masks(**opened.given(pixels))
        seen += crops
        rates.append((masks.sum(dim=3) / regions.sum(dim=2)).transpose(0, 1).double().cpu().numpy())
        held.append(masks.amax(dim=2).mean(dim=0).double().cpu().numpy())
    if not seen:
        unread(len(drawn), 0)
    names = tuple(NAMES[REGIONS[at]] for at in network.chosen)
    return Masks(_sets_of(seen), np.concatenate(rates), np.concatenate(held), names)


def _sets_of(crops: Sequence[Crop]) -> CropSets:
    return CropSets(np.array([crop.material for crop in crops]), np.array([crop.label for crop in crops]))


def _alive(depth: Floats, blocks: int, routed: Sequence[int]) -> NDArray[np.bool_]:
    """Return which crops went through which block: who has left a routed block enters no later one."""
    alive = np.ones((len(depth), blocks), dtype=bool)
    for order, block in enumerate(routed):
        alive[:, block] = depth - (blocks - len(routed)) > order
    return alive


def _experts(noted: dict[tuple[int, int], Tensor], alive: NDArray[np.bool_], count: int) -> Floats:
    """Return the experts' mean weights by crop, block and mixture, of what crops that had not left gave."""
    found = np.full((*alive.shape, len(MIXTURES), count), np.nan)
    for (block, which), weights in noted.items():
        found[alive[:, block], block, which] = weights.double().mean(dim=1).cpu().numpy()
    return found


def _row(
    measure: str, part: tuple[str, str], crops: int, layer: Cell, of: Cell, value: float
) -> dict[str, Cell]:
    return {
        "measure": measure,
        "dataset": part[0],
        "label": part[1],
        "crops": crops,
        "layer": layer,
        "of": of,
        "value": round(value, 6),
        "paper": "",
    }


def _rows_routes(routes: Routes) -> list[dict[str, Cell]]:
    rows = []
    blocks, count = routes.alive.shape[1], routes.experts.shape[3]
    depths = range(blocks - len(routes.routed), blocks + 1)
    for name, label, chosen in routes.crops.parts():
        part, crops = (name, label), int(chosen.sum())
        rows.append(_row("depth", part, crops, "", "mean", float(routes.depth[chosen].mean())))
        for depth in depths:
            share = float((routes.depth[chosen] == depth).mean())
            rows.append(_row("exit", part, crops, depth, "share of crops", share))
        for order, block in enumerate(routes.routed):
            there = chosen & routes.alive[:, block]
            if there.any():
                share = float(routes.kept[there, order].mean())
                rows.append(_row("kept", part, int(there.sum()), block + 1, "share of patches", share))
        for block in range(blocks if count else 0):
            there = chosen & routes.alive[:, block]
            if there.any():
                means = routes.experts[there, block].mean(axis=0)
                for which, values in (*zip(MIXTURES, means, strict=True), ("mean", means.mean(axis=0))):
                    for expert, value in enumerate(values.tolist(), 1):
                        row = _row("expert", part, int(there.sum()), block + 1, f"{which} {expert}", value)
                        if which == "mean" and block == routes.routed[0]:
                            row["paper"] = printed(name, label, expert)
                        rows.append(row)
    return rows


def _rows_masks(masks: Masks) -> list[dict[str, Cell]]:
    return [
        _row("kept", (name, label), int(chosen.sum()), layer + 1, region, float(rates[layer, at]))
        for name, label, chosen in masks.crops.parts()
        for rates in [masks.rates[chosen].mean(axis=0)]
        for layer in range(masks.rates.shape[1])
        for at, region in enumerate(masks.regions)
    ]


def printed(dataset: str, label: str, expert: int) -> Cell:
    """Return the weight that the paper prints for an expert on a data set, "" where it prints none."""
    given = table(PAPER)
    names = {
        column: name
        for other in load_tables().values()
        if other.paper == given.paper
        for column, name in other.datasets.items()
    }
    for row in given.rows:
        column, _, kind = row.name.rpartition(" ")
        if (names.get(column), kind) == (dataset, label) and expert <= len(row.cells):
            value = row.cells[expert - 1].number
            assert value is not None and given.scale is not None
            return float(value / given.scale)
    return ""


def _told_routes(routes: Routes, network: DfdHrNetwork) -> list[str]:
    blocks, lines = routes.alive.shape[1], []
    by_label = [routes.crops.labels == label for label in (0, 1)]
    if network.settings.routed == "split":
        lines.append("only tiles are routed in this model; what is looked at is the way of whole crops")
    if network.settings.pruning:
        real, fake = (float(routes.depth[rows].mean()) for rows in by_label)
        lines.append(
            f"mean depth {real:.2f} of {blocks} blocks on reals, {fake:.2f} on fakes; in the paper reals "
            "leave earlier (supplement, Fig. A, no numbers printed)"
        )
    else:
        lines.append("this model lets nobody leave early: layer pruning is off")
    first = routes.routed[0]
    there = [rows & routes.alive[:, first] for rows in by_label]
    if network.settings.selection == "none":
        lines.append("this model keeps all tokens: token selection is off")
    elif all(rows.any() for rows in there):
        real, fake = (float(routes.kept[rows, 0].mean()) for rows in there)
        lines.append(f"layer {first + 1} works on {real:.1%} of the patches of reals, {fake:.1%} of fakes")
    if routes.experts.shape[3] and all(rows.any() for rows in there):
        lines.append(
            f"expert weights at layer {first + 1}, the first that is routed, in percent: "
            + "; ".join(
                f"{label} {_percents(routes.experts[rows, first].mean(axis=(0, 1)))}"
                for label, rows in zip(LABELS, there, strict=True)
            )
        )
        shown = "; ".join(
            f"{label} {_percents(np.array([float(printed('Celeb-DF-v2', label, at)) for at in range(1, 5)]))}"
            for label in LABELS
        )
        lines.append(f"the paper, layer 21 of 24 on Celeb-DF-v2 (Table D): {shown}")
    return lines


def _told_masks(masks: Masks, network: CoritNetwork) -> list[str]:
    if not network.rrm:
        return ["this model keeps whole regions: the refinement of masks is off"]
    lines = []
    for at, region in enumerate(masks.regions):
        ends = [
            f"{masks.rates[masks.crops.labels == label, 0, at].mean():.1%} after layer 1 and "
            f"{masks.rates[masks.crops.labels == label, -1, at].mean():.1%} after layer "
            f"{masks.rates.shape[1]} on {LABELS[label]}s"
            for label in (0, 1)
        ]
        lines.append(f"kept of the {region}: {', '.join(ends)}")
    return [
        *lines,
        "the paper prints no keep rate; of its 24 layers the first and the last four drop most (supplement, "
        "Sec. VIII)",
    ]


def _percents(values: Floats) -> str:
    return " ".join(f"{100 * value:.2f}" for value in values)
