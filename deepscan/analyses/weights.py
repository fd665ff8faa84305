"""Effect of the weights of QTFP's two losses: AUC of trainings that differ in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Cell, Findings, Subject
from deepscan.analyses.trainings import REPEAT_KEYS, TrainingLog, read_trainings
from deepscan.errors import MissingError, UsageError
from deepscan.evaluation.plot_style import MARKERS, add_legend, line_of, new_figure, styled
from deepscan.training.recipe_files import leaves_of

#: Names of the weights in a recipe's loss -> the setting that is `none` if the loss is switched off.
SWITCHES = {"lambda_flcl": "contrast", "lambda_raal": "alignment"}
#: Columns of the held-out AUC.
HELD_OUT_COLUMNS = ("auc_held_out", "low", "high")
#: Minimum range of the AUC axis, since smaller differences are noise.
SPAN = 0.05
AXIS_LABELS = {"lambda_flcl": "λ1, weight of FLCL", "lambda_raal": "λ2, weight of RAAL"}


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """A training as a point of the sweeps.

    Attributes:
        run: The training.
        weights: Weights of the two losses, in the order of `SWITCHES`; 0 for a loss that is switched off.
        chosen: AUC on the validation videos that selected the epoch, at that epoch.
        held_out: AUC on the held-out videos of the card, or on crops if it has no videos, with the bounds of
            its interval; None without a card.
    """

    run: TrainingLog
    weights: tuple[float, float]
    chosen: float
    held_out: tuple[float, float, float] | None

    def auc(self, held_out: bool) -> float:
        """Return the held-out or the validation AUC."""
        return self.held_out[0] if held_out and self.held_out is not None else self.chosen


@ANALYSES.register("weights")
@dataclass(frozen=True)
class WeightsAnalysis(Analysis):
    """Compares trainings that differ in the weights of FLCL and RAAL.

    The paper varies each weight around its default and keeps the other (QTFP, supplement, Sec. 2.4). It plots
    the results (Fig. 2 and 3) without giving values; the values here are 0, 0.5, 1, 2 and 4 times the
    default.

    Attributes:
        flcl: Weights of FLCL in the hint for a sweep.
        raal: Weights of RAAL in the hint for a sweep.
    """

    summary = "AUC against the weights of QTFP's losses, λ1 and λ2"
    source = "QTFP, supplement, Sec. 2.4, Fig. 2 and 3"
    needs = frozenset({"runs"})

    flcl: Sequence[float] = (0.0, 0.07, 0.14, 0.28, 0.56)
    raal: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0)

    def run(self, subject: Subject) -> Findings:
        """Return the weights and the AUC of each training.

        Raises:
            MissingError: No training is given; the hint says how to make the trainings.
            UsageError: A training is not one of QTFP, or has no recipe.
        """
        if not subject.runs:
            raise MissingError(
                "no trainings are named, and this analysis needs one for each value of the weights",
                sweep_hint(self.flcl, self.raal),
            )
        points = [_point(run) for run in read_trainings(subject.runs)]
        points.sort(key=lambda point: (*point.weights, point.run.name))
        held_out = all(point.held_out is not None for point in points)
        rows: list[dict[str, Cell]] = [
            {
                "run": point.run.name,
                **dict(zip(SWITCHES, point.weights, strict=True)),
                "seed": "" if point.run.seed is None else point.run.seed,
                "epoch": point.run.best + 1,
                "auc_chosen": point.chosen,
                **dict(zip(HELD_OUT_COLUMNS, point.held_out or ("", "", ""), strict=True)),
            }
            for point in points
        ]
        data = "held-out validation data" if held_out else "the validation data that selected the epoch"
        lines = [f"AUC on {data}:"]
        lines += [
            f"λ1 {point.weights[0]:g}, λ2 {point.weights[1]:g}: {point.auc(held_out):.4f}{_interval(point)}  "
            f"{point.run.name}"
            for point in points
        ]
        if other_keys := _other_differences(points):
            lines.append(f"the trainings also differ in: {', '.join(other_keys)}")
        lines.append(
            "the paper only plots its sweeps over FaceShifter, WildDeepfake and DFDCP (supplement, Fig. 2 "
            "and 3), without numbers; its defaults are 0.14 and 1"
        )
        return Findings(rows, draw_weights(points, held_out), tuple(lines))


def sweep_hint(flcl: Sequence[float], raal: Sequence[float]) -> str:
    """Return the hint that says how to make the trainings of both sweeps, with an example.

    Args:
        flcl: Weights of FLCL, not empty; RAAL has its default.
        raal: Weights of RAAL; FLCL has its default.
    """
    values = " and with ".join(
        f"loss.{name}={{{','.join(f'{weight:g}' for weight in weights)}}}"
        for name, weights in zip(SWITCHES, (flcl, raal), strict=True)
    )
    folder = f"runs/weights/flcl-{flcl[0]:g}"
    return (
        f"train qtfp with {values}, for example: deepscan train --method qtfp --out {folder} "
        f"loss.lambda_flcl={flcl[0]:g}; then add --run {folder}/run, and so on for each"
    )


def _point(run: TrainingLog) -> SweepPoint:
    loss = run.recipe.get("loss")
    if run.recipe.get("method") != "qtfp" or not isinstance(loss, Mapping):
        method = run.recipe.get("method", "unknown")
        raise UsageError(
            f"{run.folder} is a training of method {method}, which has no λ1 and λ2",
            "give trainings of qtfp, with their last.safetensors or their model's card",
        )
    weights = [0.0 if loss.get(switch) == "none" else float(loss[name]) for name, switch in SWITCHES.items()]
    held_out = [run.figure("auc", level) for level in ("video", "frame")]
    return SweepPoint(
        run,
        (weights[0], weights[1]),
        run.curve("video_auc")[run.best],
        next((value for value in held_out if value is not None), None),
    )


def _other_differences(points: Sequence[SweepPoint]) -> list[str]:
    """Return the keys present in all recipes, other than weights and seed, whose values differ."""
    ignored = {f"loss.{name}" for pair in SWITCHES.items() for name in pair} | set(REPEAT_KEYS)
    recipes = [dict(leaves_of(point.run.recipe)) for point in points]
    keys = [key for key in recipes[0] if key not in ignored and all(key in recipe for recipe in recipes)]
    return [key for key in keys if len({repr(recipe[key]) for recipe in recipes}) > 1]


def _interval(point: SweepPoint) -> str:
    return "" if point.held_out is None else f" ({point.held_out[1]:.3f} to {point.held_out[2]:.3f})"


def draw_weights(points: Sequence[SweepPoint], held_out: bool) -> Figure:
    """Plot the AUC of the trainings against each weight, with a line for each value of the other.

    Args:
        points: The trainings.
        held_out: Whether to plot the held-out AUC.
    """
    with styled():
        figure = new_figure(3.4)
        panels = figure.subplots(1, 2, sharey=True)
        handles: list[Artist] = []
        labels: list[str] = []
        for axis, (axes, name) in enumerate(zip(panels, SWITCHES, strict=True)):
            drawn = _draw(axes, points, axis, held_out, len(handles))
            handles += drawn.values()
            labels += [f"λ{2 - axis} = {other:g}" for other in drawn]
            axes.set_xlabel(AXIS_LABELS[name])
        panels[0].set_ylabel("Held-out AUC" if held_out else "AUC of validation videos")
        low, high = panels[0].get_ylim()
        padding = max(0.0, SPAN - (high - low)) / 2
        panels[0].set_ylim(low - padding, high + padding)
        add_legend(figure, handles, labels)
    return figure


def _draw(
    axes: Axes, points: Sequence[SweepPoint], axis: int, held_out: bool, first: int
) -> dict[float, Artist]:
    """Draw a sweep with evenly spaced values, and return the line of each value of the other weight.

    If some lines have several points, those with a single point belong to the other sweep and are skipped.
    """
    values = sorted({point.weights[axis] for point in points})
    position = {value: index for index, value in enumerate(values)}
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set_xlim(-0.4, len(values) - 0.6)
    lines: dict[float, dict[float, list[SweepPoint]]] = {}
    for point in sorted(points, key=lambda point: point.weights):
        points_by_value = lines.setdefault(point.weights[1 - axis], {})
        points_by_value.setdefault(point.weights[axis], []).append(point)
    longest = max(map(len, lines.values()))
    drawn: dict[float, Artist] = {}
    for other, points_by_value in sorted(lines.items()):
        if len(points_by_value) < min(2, longest):
            continue
        index = first + len(drawn)
        style, mark = line_of(index), MARKERS[index % len(MARKERS)]
        for value, found in points_by_value.items():
            axes.plot(
                [position[value]] * len(found),
                [point.auc(held_out) for point in found],
                mark,
                color=style["color"],
                alpha=0.4,
            )
        means = [
            float(np.mean([point.auc(held_out) for point in found])) for found in points_by_value.values()
        ]
        (drawn[other],) = axes.plot(
            [position[value] for value in points_by_value], means, marker=mark, **style
        )
    return drawn
