"""Sweeps of loss weights on synthetic trainings."""

import shlex

import pytest

from deepscan.analyses.weights import SPAN, WeightsAnalysis
from deepscan.errors import MissingError, UsageError
from deepscan.training.recipe import load_recipe
from tests.analyses.datasets import subject
from tests.analyses.logs import training
from tests.evaluation.pictures import check_layout


def inputs(*runs):
    return subject([], runs=runs)


def qtfp(folder, aucs, flcl, raal, *, held_out=None, **recipe):
    """Write a training of QTFP with these weights."""
    loss = {"contrast": "flcl", "alignment": "attention", "lambda_flcl": flcl, "lambda_raal": raal}
    loss |= recipe.pop("loss", {})
    results = (
        [{"metric": "auc", "level": "frame", "value": held_out, "interval": [0.1, 0.9]}] if held_out else []
    )
    return training(folder, aucs, results, method="qtfp", loss=loss, **{"seed": 1, **recipe})


def test_the_table_has_the_weights_and_auc_of_each_training(tmp_path):
    runs = [
        qtfp(tmp_path / "c", [0.8, 0.7], 0.28, 1.0),
        qtfp(tmp_path / "a", [0.5, 0.6], 0.14, 1.0),
        qtfp(tmp_path / "b", [0.5, 0.55], 0.14, 1.0, loss={"contrast": "none"}),
        qtfp(tmp_path / "d", [0.5, 0.65], 0.14, 1.0, loss={"alignment": "none"}),
    ]
    found = WeightsAnalysis().run(inputs(*runs))
    cells = [
        (row["run"], row["lambda_flcl"], row["lambda_raal"], row["epoch"], row["auc_chosen"])
        for row in found.rows
    ]
    # Video AUC at the epoch selected by the crop AUC; a loss that is off has a weight of 0.
    assert cells == [
        ("b", 0.0, 1.0, 2, 0.45),
        ("d", 0.14, 0.0, 2, 0.55),
        ("a", 0.14, 1.0, 2, 0.5),
        ("c", 0.28, 1.0, 1, 0.7),
    ]
    assert all(row["auc_held_out"] == "" for row in found.rows)
    assert "selected the epoch" in found.lines[0]
    assert "without numbers" in found.lines[-1]


def test_each_panel_varies_one_weight(tmp_path):
    runs = [
        qtfp(
            tmp_path / f"{flcl}-{raal}-{seed}", [0.6 + flcl + raal / 100 + seed / 1000], flcl, raal, seed=seed
        )
        for flcl, raal in ((0.0, 1.0), (0.14, 1.0), (0.14, 2.0))
        for seed in (1, 3)
    ]
    found = WeightsAnalysis().run(inputs(*runs))
    check_layout(found.figure)
    first, second = found.figure.axes
    lines = [line for axes in (first, second) for line in axes.lines if line.get_linestyle() == "-"]
    # Only lines along a through the means over seeds; video AUCs are 0.1 lower.
    assert [list(line.get_ydata()) for line in lines] == [
        [pytest.approx(0.512), pytest.approx(0.652)],
        [pytest.approx(0.652), pytest.approx(0.662)],
    ]
    assert [text.get_text() for text in found.figure.legends[0].get_texts()] == ["λ2 = 1", "λ1 = 0.14"]
    assert [label.get_text() for label in second.get_xticklabels()] == ["1", "2"]


def test_held_out_aucs_are_used_if_every_card_has_one(tmp_path):
    first = qtfp(tmp_path / "a", [0.6], 0.14, 1.0, held_out=0.71)
    second = qtfp(tmp_path / "b", [0.6], 0.28, 1.0, held_out=0.715)
    found = WeightsAnalysis().run(inputs(first, second))
    assert [row["auc_held_out"] for row in found.rows] == [0.71, 0.715]
    assert [(row["low"], row["high"]) for row in found.rows] == [(0.1, 0.9)] * 2
    assert "held-out" in found.lines[0]
    assert "0.7100 (0.100 to 0.900)  a" in found.lines[1]
    low, high = found.figure.axes[0].get_ylim()
    assert high - low == pytest.approx(SPAN)
    third = qtfp(tmp_path / "c", [0.6], 0.56, 1.0)
    assert "selected the epoch" in WeightsAnalysis().run(inputs(first, second, third)).lines[0]


def test_other_differences_are_noted(tmp_path):
    first = qtfp(tmp_path / "a", [0.6], 0.14, 1.0, lr=0.1, network={"queries": 4})
    second = qtfp(tmp_path / "b", [0.6], 0.28, 1.0, lr=0.2, network={"queries": 4}, seed=2)
    third = qtfp(tmp_path / "c", [0.6], 0.28, 1.0, lr=0.2, network={"queries": 4}, new="key")
    assert "the trainings also differ in: lr" in WeightsAnalysis().run(inputs(first, second, third)).lines


def test_without_trainings_the_hint_has_the_values_and_a_valid_command():
    with pytest.raises(MissingError) as caught:
        WeightsAnalysis().run(inputs())
    hint = caught.value.hint
    assert "loss.lambda_flcl={0,0.07,0.14,0.28,0.56} and with loss.lambda_raal={0,0.5,1,2,4}" in hint
    assert "\n" not in hint and len(hint) < 300
    command, then = hint.partition("for example: ")[2].split("; then add ")
    words = shlex.split(command)
    assert words[:5] == ["deepscan", "train", "--method", "qtfp", "--out"]
    assert load_recipe("qtfp", None, words[6:]).loss["lambda_flcl"] == 0
    assert then.startswith(f"--run {words[5]}/run")


def test_the_sweeps_include_the_defaults_of_the_recipe():
    loss = load_recipe("qtfp").loss
    assert loss["lambda_flcl"] in WeightsAnalysis().flcl
    assert loss["lambda_raal"] in WeightsAnalysis().raal


@pytest.mark.parametrize("recipe", [{"method": "corit", "loss": {}}, {}])
def test_a_training_of_another_method_is_rejected(tmp_path, recipe):
    run = training(tmp_path / "a", [0.6], **recipe)
    with pytest.raises(UsageError, match="which has no λ1 and λ2"):
        WeightsAnalysis().run(inputs(run))
