"""The loop: it learns, repeats itself, resumes as if nothing had happened, and publishes what it trained."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from deepscan import cards
from deepscan.detectors import load_network
from deepscan.engines.golden import golden_crops
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.training.loop import learning_rate, predict, train
from deepscan.training.publish import publish


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _same(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_it_learns_what_tells_the_classes_apart(recipe, crops, tmp_path):
    longer = dataclasses.replace(recipe, epochs=6, augment="none")
    told = []
    network, progress = train(longer, crops, tmp_path, device="cpu", listener=told.append)
    assert max(row["auc"] for row in progress.history) > 0.9
    assert progress.history[-1]["loss"] < progress.history[0]["loss"]
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "cls", "flcl", "raal", "snr", "auc", "rate"} <= set(rows[0])
    assert len([step for step in told if step.row]) == 6
    assert told[-1].left == 0
    assert not network.training


def test_a_resumed_run_gives_what_an_uninterrupted_one_gives(recipe, crops, tmp_path):
    class Interruption(Exception):
        pass

    def interrupt(step):
        if step.epoch == 3 and step.step == 2:
            raise Interruption

    whole, steady = train(recipe, crops, tmp_path / "whole", device="cpu")
    with pytest.raises(Interruption):
        train(recipe, crops, tmp_path / "cut", device="cpu", listener=interrupt)
    resumed, progress = train(recipe, crops, tmp_path / "cut", resume=True, device="cpu")
    assert _same(whole, resumed)
    last = [(tmp_path / name / "last.safetensors") for name in ("whole", "cut")]
    from safetensors.torch import load_file

    one, other = (load_file(path) for path in last)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [row["auc"] for row in steady.history] == [row["auc"] for row in progress.history]


def test_an_interrupted_run_can_be_finished_as_it_is(recipe, crops, tmp_path):
    class Interruption(Exception):
        pass

    def interrupt(step):
        if step.epoch == 3:
            raise Interruption

    with pytest.raises(Interruption):
        train(recipe, crops, tmp_path, device="cpu", listener=interrupt)
    network, progress = train(recipe, crops, tmp_path, finish=True, device="cpu")
    assert len(progress.history) == 2
    kept = network.state_dict()
    from safetensors.torch import load_file

    assert all(
        torch.equal(kept[name], value) for name, value in load_file(tmp_path / "best.safetensors").items()
    )


def test_another_seed_gives_another_network(recipe, crops, tmp_path):
    short = dataclasses.replace(recipe, epochs=1)
    one, _ = train(short, crops, tmp_path / "1", device="cpu")
    other, _ = train(dataclasses.replace(short, seed=5), crops, tmp_path / "2", device="cpu")
    assert not _same(one, other)


def test_resuming_with_another_recipe_or_other_data_is_refused(recipe, crops, tmp_path):
    train(dataclasses.replace(recipe, epochs=1), crops, tmp_path, device="cpu")
    with pytest.raises(ContractError, match="lr was"):
        train(dataclasses.replace(recipe, epochs=1, lr=0.5), crops, tmp_path, resume=True, device="cpu")
    with pytest.raises(ContractError, match="crops was"):
        other = dataclasses.replace(crops, key="other")
        train(dataclasses.replace(recipe, epochs=1), other, tmp_path, resume=True, device="cpu")
    with pytest.raises(MissingError, match="to resume from"):
        train(recipe, crops, tmp_path / "none", resume=True, device="cpu")
    (tmp_path / "last.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ContractError, match="is not a checkpoint"):
        train(recipe, crops, tmp_path, resume=True, device="cpu")


def test_autocast_trains_as_well(recipe, crops, tmp_path):
    lower = dataclasses.replace(recipe, epochs=1, precision="bfloat16", ema=0.0, optimiser="adam")
    network, progress = train(lower, crops, tmp_path, device="cpu")
    assert np.isfinite(progress.history[0]["loss"])
    assert all(value.dtype == torch.float32 for value in network.parameters())


def test_too_few_crops_and_wrong_devices_are_told(recipe, crops, tmp_path):
    with pytest.raises(UsageError, match="do not fill a batch"):
        train(dataclasses.replace(recipe, batch=512), crops, tmp_path, device="cpu")
    with pytest.raises(UsageError, match="no device 'tpu'"):
        train(recipe, crops, tmp_path, device="tpu")


def test_a_loss_that_is_no_number_ends_the_run(recipe, crops, tmp_path):
    wild = dataclasses.replace(recipe, lr=1e30, clip=0.0, warmup=0)
    with pytest.raises(UsageError, match="the loss became"):
        train(wild, crops, tmp_path, device="cpu")


def test_the_rate_rises_and_falls(recipe):
    warm = dataclasses.replace(recipe, lr=1.0, warmup=10, schedule="cosine")
    rates = [learning_rate(warm, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert np.argmax(rates) == 9
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 0.001
    steady = dataclasses.replace(warm, schedule="constant")
    assert learning_rate(steady, 9, 100) == learning_rate(steady, 99, 100) == 1


def test_a_published_folder_gives_the_trained_scores(recipe, crops, tmp_path):
    network, _ = train(dataclasses.replace(recipe, epochs=1), crops, tmp_path / "run", device="cpu")
    made = publish(
        network, recipe, crops, tmp_path / "tiny", name="tiny", data="made up", trained={"seed": 1024}
    )
    card = cards.load(tmp_path / "tiny")
    assert card == made
    loaded = load_network(card)
    assert np.array_equal(predict(loaded, crops.crops, recipe), predict(network, crops.crops, recipe))
    golden = predict(loaded, golden_crops(32), recipe).mean()
    assert golden == pytest.approx(card.golden.score, abs=1e-6)
    assert card.crop == recipe.crop
    assert card.calibration.level == "frame"
    assert card.trained["dropped_without_a_face"] == 3
    figures = {result["metric"]: result for result in card.results}
    assert {"auc", "calibration_error", "equal_error_rate"} <= set(figures)
    held = len(crops.where("val")) - card.calibration.n
    assert figures["auc"]["n"] == held
    assert figures["auc"]["interval"][0] <= figures["auc"]["value"] <= figures["auc"]["interval"][1]


def test_a_published_folder_runs_in_every_engine(recipe, crops, tmp_path):
    from deepscan.scan.scorer import Scorer

    network, _ = train(dataclasses.replace(recipe, epochs=1), crops, tmp_path / "run", device="cpu")
    card = publish(network, recipe, crops, tmp_path / "tiny", name="tiny", data="made up", trained={})
    expected = predict(network, crops.crops, recipe)
    for engine in ("onnx", "torch"):
        scores = Scorer(card, engine=engine, device="cpu").score(np.asarray(crops.crops))
        # Two runtimes in float32; the export's gate allows 1e-3.
        np.testing.assert_allclose(scores, expected, atol=1e-4)
