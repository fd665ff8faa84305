"""The stability analysis on synthetic logs."""

import pytest
import torch

from deepscan.analyses.stability import StabilityAnalysis, summarise_curve
from deepscan.analyses.trainings import read_training, read_trainings
from deepscan.detectors import DETECTORS
from deepscan.errors import MissingError, UsageError
from deepscan.training.run_files import TrainingProgress, save_checkpoint
from tests.analyses.datasets import subject
from tests.analyses.logs import training
from tests.detectors.tiny import TINY
from tests.evaluation.pictures import check_layout


def inputs(*runs):
    return subject([], runs=runs)


def test_best_last_and_spread_of_a_curve():
    summary = summarise_curve([0.5, 0.8, 0.7, 0.75, 0.8, 0.6, 0.72, 0.7])
    assert summary == {
        "epochs": 8,
        "best_epoch": 2,
        "best": 0.8,
        "last": 0.7,
        "below": pytest.approx(0.1),
        "spread": pytest.approx(0.02),
    }


def test_the_spread_covers_at_least_two_epochs():
    assert summarise_curve([0.5, 0.9, 0.8])["spread"] == pytest.approx(0.1)
    assert summarise_curve([0.5])["spread"] == 0


def test_trainings_with_the_same_recipe_form_a_band(tmp_path):
    first = training(tmp_path / "a", [0.6, 0.8, 0.7], method="qtfp", seed=1)
    second = training(tmp_path / "b", [0.8, 0.6], method="qtfp", seed=2)
    other = training(tmp_path / "c", [0.5, 0.55], method="qtfp", seed=1, lr=0.1)
    found = StabilityAnalysis().run(inputs(first, other, second))
    assert [(row["run"], row["seed"]) for row in found.rows] == [
        ("a", 1),
        ("b", 2),
        ("a and 1 more", "mean"),
        ("c", 1),
    ]
    mean = found.rows[2]
    # Means over the common epochs: 0.7 and 0.7.
    assert (mean["epochs"], mean["best_epoch"]) == (2, 1)
    assert (mean["best"], mean["last"]) == (pytest.approx(0.7), pytest.approx(0.7))
    (axes,) = found.figure.axes
    assert len(axes.lines) == 2
    # One band, for the recipe with two seeds, between 0.6 and 0.8 at both epochs.
    assert len(axes.collections) == 1
    corners = axes.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.6, 0.8)
    # A quarter of three epochs is one, but the spread needs two.
    assert found.lines[0] == "a: best 0.8000 after epoch 2 of 3, last 0.7000, spread 0.1000 over the last 2"
    # Trainings and means have the same columns.
    assert len({tuple(row) for row in found.rows}) == 1


def test_a_repeated_seed_is_not_a_repeat(tmp_path):
    runs = [training(tmp_path / name, [0.6, 0.8], method="qtfp", seed=1) for name in "ab"]
    assert [row["seed"] for row in StabilityAnalysis().run(inputs(*runs)).rows] == [1, 1]


def test_the_video_auc_can_be_selected(tmp_path):
    run = training(tmp_path / "a", [0.6, 0.8], method="qtfp", seed=1)
    assert StabilityAnalysis(metric="video_auc").run(inputs(run)).rows[0]["best"] == pytest.approx(0.7)
    with pytest.raises(UsageError, match="metric must be one of auc, video_auc"):
        StabilityAnalysis(metric="loss")


def test_a_run_is_found_by_its_folder_and_by_its_models(tmp_path):
    run = training(tmp_path / "mine", [0.6, 0.8], method="qtfp", seed=1)
    assert read_training(run) == read_training(tmp_path / "mine")
    assert read_training(run).name == "mine"
    assert [found.name for found in read_trainings((), tmp_path / "mine")] == ["mine"]
    with pytest.raises(UsageError, match="given twice"):
        read_trainings((run, tmp_path / "mine"))


def test_the_recipe_of_the_checkpoint_takes_precedence(tmp_path):
    run = training(tmp_path / "a", [0.6, 0.8], method="unifd", seed=1)
    network = DETECTORS.get("unifd")().build(TINY["unifd"])
    optimiser = torch.optim.SGD(network.head.parameters(), lr=1)
    identity = {"method": "unifd", "seed": 5, "select": "video_auc", "crops": "key", "backbone": "hash"}
    save_checkpoint(
        run / "last.safetensors", network, None, optimiser, TrainingProgress(2, 0, 0.8, ()), identity
    )
    found = read_training(run)
    assert found.recipe == {"method": "unifd", "seed": 5, "select": "video_auc"}
    assert (found.seed, found.select, found.best) == (5, "video_auc", 1)
    (run / "last.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match="is not a checkpoint"):
        read_training(run)


def test_a_run_without_a_recipe_is_its_own_group(tmp_path):
    runs = [training(tmp_path / name, [0.6, 0.8]) for name in "ab"]
    assert [row["run"] for row in StabilityAnalysis().run(inputs(*runs)).rows] == ["a", "b"]


def test_folders_without_a_training_are_rejected(tmp_path):
    with pytest.raises(MissingError, match="no trainings are named") as caught:
        StabilityAnalysis().run(inputs())
    assert "--run" in caught.value.hint
    with pytest.raises(MissingError, match=r"no log\.csv"):
        StabilityAnalysis().run(inputs(tmp_path))
    (tmp_path / "log.csv").write_text("epoch,auc\n")
    with pytest.raises(UsageError, match="has no epochs"):
        StabilityAnalysis().run(inputs(tmp_path))
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(UsageError, match="no numeric column auc"):
        StabilityAnalysis().run(inputs(tmp_path))


def test_every_recipe_has_a_line_in_the_legend(tmp_path):
    runs = [
        training(tmp_path / f"m{number}", [0.6, 0.8], method="qtfp", seed=1, lr=number) for number in range(9)
    ]
    figure = StabilityAnalysis().run(inputs(*runs)).figure
    assert len(figure.legends[0].get_texts()) == 9
    check_layout(figure)
