"""Figure of the attention analysis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepscan.analyses.attention.measures import EDGES, AttentionSums, effective
from deepscan.analyses.attention.rand_cls import ARMS, ClsEpoch
from deepscan.evaluation.plot_style import (
    COLOURS,
    GREY,
    MARKERS,
    add_legend,
    add_maps,
    new_figure,
    percent,
    plain_log,
    styled,
)
from deepscan.evaluation.scores import LABEL_NAMES


def draw_attention(sums: AttentionSums, points: Sequence[ClsEpoch], grid: int) -> Figure:
    """Plot the distribution of weights, the effective number of patches, mean maps, and the two CLS tokens.

    Args:
        sums: The attention of all crops.
        points: Results of RandCLS and PreCLS by epoch; empty to omit their panels.
        grid: Number of patches along a side.
    """
    kinds = sorted(sums.maps, key=lambda kind: (kind[0] != "CLS", kind[1]))
    tokens = list(dict.fromkeys(token for token, _ in kinds))
    panels: list[Any] = [["weights"] * 2 + [effective] * 2, [f"map {index}" for index in range(4)]]
    heights = [2.5, 2.1]
    if len(kinds) == 2:
        panels[1] = ["map 0", "map 0", "map 1", "map 1"]
    if points:
        panels.append(["auc"] * 2 + ["spread"] * 2)
        heights.append(2.4)
    with styled():
        figure = new_figure(sum(heights))
        axes = figure.subplot_mosaic(panels, height_ratios=heights)
        _draw_weights(axes["weights"], sums, tokens)
        _draw_effective(axes[effective], sums, tokens, grid**2)
        _draw_maps(figure, [axes[f"map {index}"] for index in range(len(kinds))], sums, kinds, grid)
        if points:
            _draw_course(axes["auc"], axes["spread"], points, grid**2)
        handles = [
            Line2D([], [], color=COLOURS[label], linestyle="-" if token == "CLS" else "--")
            for token in tokens
            for label in (0, 1)
        ]
        labels = [f"{token}, {label}" for token in tokens for label in LABEL_NAMES]
        add_legend(figure, handles, labels, side="outside upper center")
    return figure


def _draw_weights(axes: Axes, sums: AttentionSums, tokens: Sequence[str]) -> None:
    centres = np.sqrt(EDGES[1:] * EDGES[:-1])
    reached = np.zeros(len(centres), dtype=bool)
    for token in tokens:
        for label in (0, 1):
            counts = sums.counts[token, label]
            share = counts[1:-1] / counts.sum()
            reached |= share > 1e-4
            axes.plot(centres, share, color=COLOURS[label], linestyle="-" if token == "CLS" else "--")
    axes.axvline(1, color=GREY, linewidth=0.8, zorder=1)
    axes.set_xscale("log")
    if reached.any():
        axes.set_xlim(centres[reached][0] / 1.3, centres[reached][-1] * 1.3)
    axes.set_ylim(bottom=0)
    plain_log(axes.xaxis)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_xlabel("Weight of a patch (1: uniform)")
    axes.set_ylabel("Share of the patches")


def _draw_effective(axes: Axes, sums: AttentionSums, tokens: Sequence[str], patches: int) -> None:
    kinds = [(token, label) for token in tokens for label in (0, 1)]
    drawn = axes.boxplot(
        [sums.of(label, token)[:, 1] for token, label in kinds],
        widths=0.6,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        medianprops={"color": "black"},
    )
    for box, (_, label) in zip(drawn["boxes"], kinds, strict=True):
        box.set(facecolor=f"{COLOURS[label]}55", edgecolor=COLOURS[label])
    _mark_uniform(axes, patches)
    axes.set_xticks(range(1, len(kinds) + 1), [f"{token}\n{LABEL_NAMES[label]}" for token, label in kinds])
    axes.grid(axis="x", visible=False)


def _draw_maps(
    figure: Figure, panels: Sequence[Axes], sums: AttentionSums, kinds: Sequence[tuple[str, int]], grid: int
) -> None:
    maps = {
        f"{token}, {LABEL_NAMES[label]}": weights.reshape(grid, grid) / weights.mean()
        for token, label in kinds
        for weights in [sums.maps[token, label]]
    }
    bar = add_maps(figure, panels, maps, 0, max(float(shares.max()) for shares in maps.values()))
    bar.set_label("Mean weight\n(1: uniform)")


def _draw_course(left: Axes, right: Axes, points: Sequence[ClsEpoch], patches: int) -> None:
    for index, arm in enumerate(ARMS):
        of_arm = [point for point in points if point.arm == arm]
        epochs = [point.epoch for point in of_arm]
        style: dict[str, Any] = {"color": COLOURS[2 + index], "marker": MARKERS[index], "label": arm}
        style |= {"linestyle": ("-", "--")[index], "markerfacecolor": (COLOURS[2], "none")[index]}
        left.plot(epochs, [point.auc for point in of_arm], **style)
        spread = [float(effective(point.attention).mean()) for point in of_arm]
        right.plot(epochs, spread, **style)
    left.axhline(0.5, color=GREY, linewidth=0.8, zorder=1)
    left.set_ylabel("AUC on held-out crops")
    _mark_uniform(right, patches)
    for axes in (left, right):
        axes.set_xlabel("Training epochs of the token")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best")


def _mark_uniform(axes: Axes, patches: int) -> None:
    axes.axhline(patches, color=GREY, linewidth=0.8, zorder=1)
    axes.annotate(
        "uniform", (0.98, patches), (0, -3), ("axes fraction", "data"), "offset points",
        ha="right", va="top", fontsize=8, color="#555555",
    )  # fmt: skip
    axes.set_ylim(0, patches * 1.05)
    axes.set_ylabel(f"Effective patches of {patches}")
