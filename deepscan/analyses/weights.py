"""What the weights of QTFP's two losses do: AUC of trainings that differ in them."""

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

#: The weights by their names in a recipe's loss -> the switch that is `none` where there is no such loss.
SWITCHES = {"lambda_flcl": "contrast", "lambda_raal": "alignment"}
#: Columns of the held-out AUC.
HELD_OUT_COLUMNS = ("auc_held_out", "low", "high")
#: Least height of the picture's axis: smaller differences are noise.
SPAN = 0.05
AXIS_LABELS = {"lambda_flcl": "λ1, weight of FLCL", "lambda_raal": "λ2, weight of RAAL"}


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """A training as a point of the sweeps.

    Attributes:
        run: The training.
        weights: Of the two losses, in the order of `SWITCHES`; 0 for one that is switched off.
        chosen: AUC of the validation videos that chose the epoch, after that epoch.
        held_out: AUC on the card's held-out videos, or crops where it knows no videos, and the bounds of its
            interval; None without a card.
    """

    run: TrainingLog
    weights: tuple[float, float]
    chosen: float
    held_out: tuple[float, float, float] | None

    def auc(self, held_out: bool) -> float:
        """Return the one or the other."""
        return self.held_out[0] if held_out and self.held_out is not None else self.chosen


@ANALYSES.register("weights")
@dataclass(frozen=True)
class WeightsAnalysis(Analysis):
    """Holds trainings against each other that differ in the weights of FLCL and RAAL.

    The paper varies one around its default and keeps the other (QTFP, supplement, Sec. 2.4). It states
    neither the values nor the figures, it draws them (Fig. 2 and 3); the values here are zero, half, once,
    twice and four times the default.

    Attributes:
        flcl: Weights of FLCL that the commands for a sweep name.
        raal: Weights of RAAL.
    """

    summary = "AUC against the weights of QTFP's losses, λ1 and λ2"
    source = "QTFP, supplement, Sec. 2.4, Fig. 2 and 3"
    needs = frozenset({"runs"})

    flcl: Sequence[float] = (0.0, 0.07, 0.14, 0.28, 0.56)
    raal: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0)

    def look(self, subject: Subject) -> Findings:
        """Return the AUC of each training beside its weights.

        Raises:
            MissingError: No training is named; the hint is how to make them.
            UsageError: One is not of QTFP, or does not state its recipe.
        """
        if not subject.runs:
            raise MissingError(
                "a sweep of weights needs a training for each", "; ".join(sweep(self.flcl, self.raal))
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
        where = "held-out validation data" if held_out else "the validation data that chose the epoch"
        lines = [f"AUC on {where}:"]
        lines += [
            f"λ1 {point.weights[0]:g}, λ2 {point.weights[1]:g}: {point.auc(held_out):.4f}{_interval(point)}  "
            f"{point.run.name}"
            for point in points
        ]
        if beside := _beside(points):
            lines.append(f"the trainings differ in other things too: {', '.join(beside)}")
        lines.append(
            "the paper draws its sweeps over FaceShifter, WildDeepfake and DFDCP (supplement, Fig. 2 and 3) "
            "and prints no figure of them; its defaults are 0.14 and 1"
        )
        return Findings(rows, draw_weights(points, held_out), tuple(lines))


def sweep(
    flcl: Sequence[float], raal: Sequence[float], default: tuple[float, float] = (0.14, 1.0)
) -> list[str]:
    """Return the commands that make the trainings of both sweeps, and the one that then reads them.

    Args:
        flcl: Weights of FLCL, RAAL having its default.
        raal: Weights of RAAL, FLCL having its default.
        default: What each has while the other is varied.
    """
    pairs = dict.fromkeys(
        [*((value, default[1]) for value in flcl), *((default[0], value) for value in raal)]
    )
    names = {pair: f"runs/weights/flcl-{pair[0]:g}-raal-{pair[1]:g}" for pair in pairs}
    made = [
        f"deepscan train --method qtfp --out {name} loss.lambda_flcl={first:g} loss.lambda_raal={second:g}"
        for (first, second), name in names.items()
    ]
    runs = " ".join(f"--run {name}/run" for name in names.values())
    return [*made, f"deepscan analyse weights {runs}"]


def _point(run: TrainingLog) -> SweepPoint:
    loss = run.recipe.get("loss")
    if run.recipe.get("method") != "qtfp" or not isinstance(loss, Mapping):
        method = run.recipe.get("method", "unknown")
        raise UsageError(
            f"{run.folder} is a training of method {method}, which has no λ1 and λ2",
            "name trainings of qtfp, with their last.safetensors or their model's card",
        )
    weights = [0.0 if loss.get(switch) == "none" else float(loss[name]) for name, switch in SWITCHES.items()]
    held_out = [run.figure("auc", level) for level in ("video", "frame")]
    return SweepPoint(
        run,
        (weights[0], weights[1]),
        run.curve("video_auc")[run.best],
        next((value for value in held_out if value is not None), None),
    )


def _beside(points: Sequence[SweepPoint]) -> list[str]:
    """Return the keys that all recipes state, other than weights and seed, in which the trainings differ."""
    ours = {f"loss.{name}" for pair in SWITCHES.items() for name in pair} | set(REPEAT_KEYS)
    stated = [dict(leaves_of(point.run.recipe)) for point in points]
    keys = [key for key in stated[0] if key not in ours and all(key in recipe for recipe in stated)]
    return [key for key in keys if len({repr(recipe[key]) for recipe in stated}) > 1]


def _interval(point: SweepPoint) -> str:
    return "" if point.held_out is None else f" ({point.held_out[1]:.3f} to {point.held_out[2]:.3f})"


def draw_weights(points: Sequence[SweepPoint], held_out: bool) -> Figure:
    """Return AUC against each weight, a line for each value of the other; a point is a training.

    Args:
        points: The trainings.
        held_out: Whether the AUC is the held-out one.
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
        panels[0].set_ylabel("Held-out AUC" if held_out else "AUC of the choosing validation videos")
        low, high = panels[0].get_ylim()
        lacking = max(0.0, SPAN - (high - low)) / 2
        panels[0].set_ylim(low - lacking, high + lacking)
        add_legend(figure, handles, labels)
    return figure


def _draw(
    axes: Axes, points: Sequence[SweepPoint], axis: int, held_out: bool, first: int
) -> dict[float, Artist]:
    """Draw a sweep, its values evenly apart, and return the line of each value of the other weight.

    Where some of these have several points, the others, which are of the other sweep, are left out.
    """
    values = sorted({point.weights[axis] for point in points})
    place = {value: index for index, value in enumerate(values)}
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set_xlim(-0.4, len(values) - 0.6)
    lines: dict[float, dict[float, list[SweepPoint]]] = {}
    for point in sorted(points, key=lambda point: point.weights):
        along = lines.setdefault(point.weights[1 - axis], {})
        along.setdefault(point.weights[axis], []).append(point)
    longest = max(map(len, lines.values()))
    drawn: dict[float, Artist] = {}
    for other, along in sorted(lines.items()):
        if len(along) < min(2, longest):
            continue
        index = first + len(drawn)
        look, mark = line_of(index), MARKERS[index % len(MARKERS)]
        for value, found in along.items():
            axes.plot(
                [place[value]] * len(found),
                [point.auc(held_out) for point in found],
                mark,
                color=look["color"],
                alpha=0.4,
            )
        means = [float(np.mean([point.auc(held_out) for point in found])) for found in along.values()]
        (drawn[other],) = axes.plot([place[value] for value in along], means, marker=mark, **look)
    return drawn
