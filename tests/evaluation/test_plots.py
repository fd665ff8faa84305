"""Plots draw the given data, have a clean layout, and are saved without metadata."""

import struct
from functools import partial

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from deepscan.errors import UsageError
from deepscan.evaluation.plot_style import COLOURS, DPI, WIDTH, line_of, save_figure, shortened
from deepscan.evaluation.plots import (
    PaperBar,
    ScoredSet,
    bars_figure,
    distributions_figure,
    robustness_figure,
    roc_figure,
)
from deepscan.evaluation.robustness import DISTORTIONS, Robustness
from deepscan.metrics.binary import Interval, auc
from tests.evaluation.pictures import check_layout, render

#: The longest name of a published set, and a name that a user might choose.
NAMES = ("DeeperForensics-1.0", "_my set_ of videos from $5 and $6 cameras, second try of March")


def scored(name="Celeb-DF-v2", count=200, separation=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3 > 0
    return ScoredSet(
        name, labels.astype(int), 1 / (1 + np.exp(-rng.normal(np.where(labels, separation, -separation), 1)))
    )


def many(count):
    names = [*NAMES, *(f"generator-{index:02}" for index in range(count))]
    return [scored(names[index], 60 + 11 * index, 0.1 * index, index) for index in range(count)]


def results():
    return [
        Robustness(name, {level: 0.96 - 0.01 * index * level for level in range(6)})
        for index, name in enumerate(DISTORTIONS.names)
    ]


def rows(count):
    return [
        PaperBar(scored_set.name, 0.9 - 0.02 * index, 0.92, Interval(0.9, 0.86, 0.95, 0.95))
        for index, scored_set in enumerate(many(count))
    ]


FIGURES = {
    "roc of one": lambda: roc_figure([scored()]),
    "roc of 19": lambda: roc_figure(many(19)),
    "robustness": lambda: robustness_figure(results()),
    "distributions of one": lambda: distributions_figure([scored()]),
    "distributions of 5": lambda: distributions_figure(many(5)),
    "distributions of 19": lambda: distributions_figure(many(19)),
    "bars of one": lambda: bars_figure(rows(1), "Video AUC"),
    "bars of 19": lambda: bars_figure(rows(19), "Video AUC"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_layouts_are_clean(name):
    check_layout(FIGURES[name]())


@pytest.mark.parametrize("name", ["roc of one", "robustness", "distributions of one", "bars of one"])
def test_files_are_png_without_metadata(name, tmp_path):
    path = tmp_path / "plot.png"
    save_figure(FIGURES[name](), path)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, offset = [], 8
    while offset < len(data):
        (length,) = struct.unpack(">I", data[offset : offset + 4])
        chunks.append(data[offset + 4 : offset + 8])
        offset += 12 + length
    # Size, resolution, pixels, end; neither text nor time.
    assert set(chunks) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    width, height = struct.unpack(">II", data[16:24])
    assert width == DPI * WIDTH == 1050 and height < 900
    again = tmp_path / "again.png"
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "savefig.bbox": "tight"}):
        save_figure(FIGURES[name](), again)
    assert again.read_bytes() == data


def test_plots_do_not_change_matplotlib_settings(tmp_path):
    before = dict(matplotlib.rcParams)
    save_figure(roc_figure([scored()]), tmp_path / "plot.png")
    assert dict(matplotlib.rcParams) == before


def test_roc_draws_each_set_with_its_auc():
    sets = [scored(separation=0.5), scored("FFIW", separation=1.5, seed=1)]
    figure = roc_figure(sets)
    whole, low = figure.axes
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    for index, drawn_set in enumerate(sets):
        x, y = whole.lines[index].get_data()
        assert np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(
            auc(drawn_set.labels, drawn_set.scores)
        )
        assert texts[index] == f"{auc(drawn_set.labels, drawn_set.scores):.3f}  {drawn_set.name}"
        assert whole.lines[index].get_color() == low.lines[index].get_color() == COLOURS[index]
    assert texts[2:] == ["0.500  chance"]
    assert low.get_xscale() == "log"


def test_log_axis_curves_start_at_one_false_positive():
    # 10 reals, the highest of which scores above one of 4 fakes.
    labels = [0] * 10 + [1] * 4
    scores = [*np.linspace(0.01, 0.1, 9), 0.6, 0.5, 0.7, 0.8, 0.9]
    low = roc_figure([ScoredSet("few", labels, scores)]).axes[1]
    x, y = low.lines[0].get_data()
    # Without false positives, three of four fakes are found; with one of ten, all.
    assert (x[0], y[0]) == (pytest.approx(0.1), 0.75)
    assert y[x > 0.1 + 1e-9].min() == 1 and x[-1] == 1
    assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert low.get_xlim() == (0.1, 1)


def test_straight_segments_are_curved_on_the_log_axis():
    figure = roc_figure([ScoredSet("constant", [0] * 50 + [1] * 7, [0.3] * 57)])
    x, y = figure.axes[1].lines[0].get_data()
    # A straight ROC curve: both rates are equal everywhere, also between its two points.
    assert np.allclose(x, y) and len(x) >= 100 and x[0] == pytest.approx(1 / 50)
    assert figure.legends[0].get_texts()[0].get_text() == "0.500  constant"


def test_28_lines_look_different():
    styles = [tuple(line_of(index).values()) for index in range(28)]
    assert len(set(styles)) == 28
    lines = roc_figure(many(19)).axes[0].lines[:19]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 19


def test_robustness_draws_auc_against_level():
    measured = [Robustness("blur", {0: 0.9, 1: 0.81, 5: 0.72}), Robustness("jpeg", {0: 0.9, 1: 0.9})]
    figure = robustness_figure(measured)
    lines = figure.axes[0].lines
    assert [line.get_xydata().tolist() for line in lines] == [
        [[0, 0.9], [1, 0.81], [5, 0.72]],
        [[0, 0.9], [1, 0.9]],
    ]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["−15.0 %  blur", "+0.0 %  jpeg"]


def test_robustness_shows_chance_if_aucs_are_near_it():
    figure = robustness_figure([Robustness("blur", {0: 0.7, 1: 0.55})])
    assert figure.legends[0].get_texts()[-1].get_text() == "chance"
    low, high = figure.axes[0].get_ylim()
    assert low < 0.5 < high


def test_equal_aucs_are_a_flat_line_inside_the_axes():
    axes = robustness_figure([Robustness("blur", dict.fromkeys(range(6), 1.0))]).axes[0]
    low, high = axes.get_ylim()
    assert low < 0.99 and high > 1.01


def test_distributions_draw_each_class_as_shares():
    labels = [0] * 4 + [1] * 2
    figure = distributions_figure([ScoredSet("few", labels, [0.05, 0.1, 0.15, 0.9, 0.95, 1.0])], 5)
    axes = figure.axes[0]
    shares = [patch.get_data().values for patch in axes.patches]
    reals, fakes = [0.75, 0, 0, 0, 0.25], [0, 0, 0, 0, 1]
    assert np.allclose(shares, [reals, reals, fakes, fakes])
    assert axes.get_title() == "few\n4 real, 2 fake"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["real", "fake"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 10, 19])
def test_every_set_has_a_panel_and_every_column_a_scale(count):
    figure = distributions_figure(many(count))
    assert len(figure.axes) == count
    render(figure)
    columns = {}
    for axes in figure.axes:
        columns[axes.get_subplotspec().colspan.start] = axes
    for axes in columns.values():
        assert any(tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks())


def test_bars_draw_measured_paper_interval_and_difference():
    bars = [
        PaperBar("Celeb-DF-v2", 0.9312, 0.96, Interval(0.9312, 0.9, 0.95, 0.95)),
        PaperBar("FFIW", 0.4, None),
        PaperBar("DFDC", None, 0.869),
    ]
    figure = bars_figure(bars, "Video AUC")
    axes, numbers = figure.axes
    ends = [[bar.get_x() + bar.get_width() for bar in group] for group in axes.containers]
    assert np.allclose(ends, [[0.9312, 0.4, np.nan], [0.96, np.nan, 0.869]], equal_nan=True)
    assert {bar.get_x() for group in axes.containers for bar in group} == {0.5}
    (intervals,) = (found for found in axes.collections if isinstance(found, LineCollection))
    assert intervals.get_segments()[0][:, 0].tolist() == [0.9, 0.95]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Celeb-DF-v2", "FFIW", "DFDC"]
    cell_texts = {text.get_position(): text.get_text() for text in numbers.texts}
    assert [[cell_texts[column, row] for column in range(3)] for row in range(3)] == [
        ["0.931", "0.960", "−0.029"],
        ["0.400", "–", "–"],
        ["–", "0.869", "–"],
    ]
    low, high = axes.get_xlim()
    assert low < 0.4 and high > 0.96
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_bars_without_intervals_have_no_legend_entry_for_them():
    figure = bars_figure([PaperBar("a", 91.0, 91.02)], "Average precision in percent", chance=50, decimals=1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["measured", "paper"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["91.0", "91.0", "+0.0"]


@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class_is_rejected_with_the_name_of_the_set(label):
    only = "fake" if label else "real"
    with pytest.raises(UsageError, match=f"^FFIW: all 2 samples are {only}"):
        roc_figure([scored(), ScoredSet("FFIW", [label, label], [0.2, 0.4])])


def test_nan_scores_are_rejected_with_the_name_of_the_set():
    with pytest.raises(UsageError, match=r"^FFIW: 1 of 2 scores are NaN"):
        ScoredSet("FFIW", [0, 1], [0.2, float("nan")])


@pytest.mark.parametrize(
    "draw", [roc_figure, robustness_figure, distributions_figure, partial(bars_figure, figure="Video AUC")]
)
def test_empty_input_is_rejected(draw):
    with pytest.raises(UsageError, match="no results to plot"):
        draw([])


def test_names_are_not_parsed_as_math():
    # Parsed as math, this would raise an error.
    render(roc_figure([ScoredSet(r"$\frac$", [0, 1], [0.1, 0.9])]))
    render(distributions_figure([ScoredSet(r"$\frac$", [0, 1], [0.1, 0.9])]))
    render(bars_figure([PaperBar(r"$\frac$", 0.9, 0.9)], "Video AUC"))


@pytest.mark.parametrize("draw", [distributions_figure, roc_figure])
def test_constant_scores_are_drawn(draw):
    assert (render(draw([ScoredSet("constant", [0, 0, 1], [0.3, 0.3, 0.3])]))[0] == 255).all()


def test_long_names_are_shortened_in_the_middle():
    assert shortened("0123456789", 10) == "0123456789"
    assert shortened("0123456789", 9) == "0123…6789"
    assert shortened("0123456789", 8) == "012…6789"
    assert len(shortened(NAMES[1], 26)) == 26
