"""Routing of crops: exits, tokens and experts of DFD-HR; patches that CoRIT's masks keep in each layer."""

from dataclasses import dataclass

import numpy as np

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, FloatArray, Subject
from deepscan.analyses.crops import draw_crops, note_unreadable, open_network
from deepscan.analyses.routing.figure import draw_masks, draw_routes
from deepscan.analyses.routing.routes import MIXTURES, Masks, Routes, keep_rates, printed, trace_routes
from deepscan.detectors.corit import CoritNetwork
from deepscan.detectors.dfd_hr import DfdHrNetwork
from deepscan.errors import UsageError
from deepscan.evaluation.scores import LABEL_NAMES


@ANALYSES.register("routing")
@dataclass(frozen=True)
class RoutingAnalysis(Analysis):
    """Routing that depends on the crop."""

    summary = (
        "exits, kept tokens and expert weights of DFD-HR, or masks of CoRIT by layer, for reals and fakes"
    )
    source = "DFD-HR, Fig. 5; supplement, Fig. A and Table D; CoRIT, Sec. IV-B; supplement, Sec. VIII"

    def run(self, subject: Subject) -> Findings:
        """Return routing statistics by data set and label.

        Raises:
            UsageError: The model has no routing, or the crops lack a class.
            MissingError: Crops, the model's `torch` file or a package are missing.
            ContractError: The `torch` file does not match the network.
        """
        drawn, opened = draw_crops(subject), open_network(subject.card)
        network = opened.network
        if isinstance(network, DfdHrNetwork):
            routes = trace_routes(network, opened, drawn, subject.on_progress)
            lines = (*note_unreadable(len(drawn), len(routes.depth)), *_lines_routes(routes, network))
            return Findings(_rows_routes(routes), draw_routes(routes, network.backbone.grid), lines)
        if isinstance(network, CoritNetwork):
            masks = keep_rates(network, opened, drawn, subject.on_progress)
            lines = (*note_unreadable(len(drawn), len(masks.rates)), *_lines_masks(masks, network))
            return Findings(_rows_masks(masks), draw_masks(masks, network.backbone.grid), lines)
        raise UsageError(
            f"model {subject.card.name!r} of method {subject.card.method} has no routing",
            "choose a model of dfd-hr or corit, or analyse attention",
        )


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
            reached = chosen & routes.alive[:, block]
            if reached.any():
                share = float(routes.kept[reached, order].mean())
                rows.append(_row("kept", part, int(reached.sum()), block + 1, "share of patches", share))
        for block in range(blocks if count else 0):
            reached = chosen & routes.alive[:, block]
            if reached.any():
                means = routes.experts[reached, block].mean(axis=0)
                for mixture, values in (*zip(MIXTURES, means, strict=True), ("mean", means.mean(axis=0))):
                    for expert, value in enumerate(values.tolist(), 1):
                        row = _row(
                            "expert", part, int(reached.sum()), block + 1, f"{mixture} {expert}", value
                        )
                        if mixture == "mean" and block == routes.routed[0]:
                            row["paper"] = printed(name, label, expert)
                        rows.append(row)
    return rows


def _rows_masks(masks: Masks) -> list[dict[str, Cell]]:
    return [
        _row("kept", (name, label), int(chosen.sum()), layer + 1, region, float(rates[layer, index]))
        for name, label, chosen in masks.crops.parts()
        for rates in [masks.rates[chosen].mean(axis=0)]
        for layer in range(masks.rates.shape[1])
        for index, region in enumerate(masks.regions)
    ]


def _lines_routes(routes: Routes, network: DfdHrNetwork) -> list[str]:
    blocks, lines = routes.alive.shape[1], []
    by_label = [routes.crops.labels == label for label in (0, 1)]
    if network.settings.routed == "split":
        lines.append("this model routes tiles only; the results are for whole crops")
    if network.settings.pruning:
        real, fake = (float(routes.depth[rows].mean()) for rows in by_label)
        lines.append(
            f"mean depth {real:.2f} of {blocks} blocks on reals, {fake:.2f} on fakes; in the paper, reals "
            "exit earlier (supplement, Fig. A, without numbers)"
        )
    else:
        lines.append("no crop exits early: layer pruning is off in this model")
    first = routes.routed[0]
    reached = [rows & routes.alive[:, first] for rows in by_label]
    if network.settings.selection == "none":
        lines.append("all tokens are kept: token selection is off in this model")
    elif all(rows.any() for rows in reached):
        real, fake = (float(routes.kept[rows, 0].mean()) for rows in reached)
        lines.append(f"layer {first + 1} keeps {real:.1%} of the patches of reals, {fake:.1%} of fakes")
    if routes.experts.shape[3] and all(rows.any() for rows in reached):
        lines.append(
            f"expert weights at layer {first + 1}, the first routed one, in percent: "
            + "; ".join(
                f"{label} {_percents(routes.experts[rows, first].mean(axis=(0, 1)))}"
                for label, rows in zip(LABEL_NAMES, reached, strict=True)
            )
        )
        printed_weights = {
            label: np.array([float(printed("Celeb-DF-v2", label, expert)) for expert in range(1, 5)])
            for label in LABEL_NAMES
        }
        shown = "; ".join(f"{label} {_percents(weights)}" for label, weights in printed_weights.items())
        lines.append(f"the paper, layer 21 of 24 on Celeb-DF-v2 (Table D): {shown}")
    return lines


def _lines_masks(masks: Masks, network: CoritNetwork) -> list[str]:
    if not network.rrm:
        return ["whole regions are kept: mask refinement is off in this model"]
    lines = []
    for index, region in enumerate(masks.regions):
        ends = [
            f"{masks.rates[masks.crops.labels == label, 0, index].mean():.1%} after layer 1 and "
            f"{masks.rates[masks.crops.labels == label, -1, index].mean():.1%} after layer "
            f"{masks.rates.shape[1]} on {LABEL_NAMES[label]}s"
            for label in (0, 1)
        ]
        lines.append(f"kept of the {region}: {', '.join(ends)}")
    return [
        *lines,
        "the paper prints no keep rates; of its 24 layers, the first and the last four drop most patches "
        "(supplement, Sec. VIII)",
    ]


def _percents(values: FloatArray) -> str:
    return " ".join(f"{100 * value:.2f}" for value in values)
