"""The training loop: learning, determinism, resumption, interruption and errors."""

import csv
import dataclasses
import errno
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch
from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError
from deepscan.training.loop import train
from deepscan.training.optimiser import TrainStep, learning_rate, make_optimiser
from deepscan.training.processes import join
from tests.training.conftest import CPU, WITHOUT_BATCH_NORM, Interruption, interrupt_at


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _same(network, other):
    states = network.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
def test_it_learns_to_separate_the_classes(recipe, crops, tmp_path):
    longer = dataclasses.replace(recipe, epochs=6, augment="none")
    steps = []
    network, progress = train(longer, crops, tmp_path, processes=CPU, on_step=steps.append)
    assert max(row["auc"] for row in progress.history) > 0.9
    assert progress.history[-1]["loss"] < progress.history[0]["loss"]
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "cls", "flcl", "raal", "snr", "auc", "rate"} <= set(rows[0])
    assert len([step for step in steps if step.row]) == 6
    assert steps[-1].left == 0
    assert not network.training


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(recipe, crops, tmp_path):
    full, full_progress = train(recipe, crops, tmp_path / "full", processes=CPU)
    with pytest.raises(Interruption):
        train(recipe, crops, tmp_path / "interrupted", processes=CPU, on_step=interrupt_at(3, 2))
    resumed, progress = train(recipe, crops, tmp_path / "interrupted", resume=True, processes=CPU)
    assert _same(full, resumed)
    expected, actual = (load_file(tmp_path / name / "last.safetensors") for name in ("full", "interrupted"))
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert [row["auc"] for row in full_progress.history] == [row["auc"] for row in progress.history]


def test_an_interrupted_run_can_be_finished(recipe, crops, tmp_path):
    with pytest.raises(Interruption):
        train(recipe, crops, tmp_path, processes=CPU, on_step=interrupt_at(3))
    network, progress = train(recipe, crops, tmp_path, finish=True, processes=CPU)
    assert len(progress.history) == 2
    weights, best = network.state_dict(), load_file(tmp_path / "best.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in best.items())


@pytest.fixture
def default_sigint():
    """Python's default SIGINT handler, because shells ignore the signal for background jobs."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.slow
@pytest.mark.usefixtures("default_sigint")
@pytest.mark.parametrize("last", [3, 7])
def test_a_run_resumes_within_an_epoch_or_at_its_end(recipe, crops, tmp_path, last):
    def interrupt(report):
        if report.epoch == 2 and report.step == last and report.row is None:
            assert report.steps == 7
            os.kill(os.getpid(), signal.SIGINT)

    full, full_progress = train(recipe, crops, tmp_path / "full", processes=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, crops, tmp_path / "interrupted", processes=CPU, on_step=interrupt)
    steps = []
    resumed, progress = train(
        recipe, crops, tmp_path / "interrupted", resume=True, processes=CPU, on_step=steps.append
    )
    assert (steps[0].epoch, steps[0].step) == (2, min(last + 1, 7))
    assert _same(full, resumed)
    for row, same in zip(full_progress.history, progress.history, strict=True):
        assert {name: row[name] for name in ("loss", "auc", "lr")} == pytest.approx(
            {name: same[name] for name in ("loss", "auc", "lr")}, rel=1e-12
        )


def test_accumulating_parts_gives_the_same_step_if_samples_are_independent(recipe, crops, tmp_path):
    # Without contrast and batch norm, samples do not affect each other.
    plain = dataclasses.replace(
        recipe,
        epochs=1,
        ema=0.0,
        optimiser="sgd",
        lr=0.1,
        loss={**recipe.loss, "lambda_flcl": 0.0, "lambda_raal": 0.0},
        network={**recipe.network, "backbone": WITHOUT_BATCH_NORM},
    )
    at_once, _ = train(plain, crops, tmp_path / "1", processes=CPU)
    in_parts, _ = train(dataclasses.replace(plain, accumulate=4), crops, tmp_path / "4", processes=CPU)
    for name, value in at_once.state_dict().items():
        # Gradients of four parts are summed in a different order: float32 rounding over seven steps.
        torch.testing.assert_close(in_parts.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_sharpness_aware_steps_differ_unless_the_radius_is_tiny(recipe, crops, tmp_path):
    plain = dataclasses.replace(recipe, epochs=1, optimiser="sgd", lr=0.05, ema=0.0)
    base, _ = train(plain, crops, tmp_path / "base", processes=CPU)
    tiny, _ = train(dataclasses.replace(plain, sam_rho=1e-30), crops, tmp_path / "tiny", processes=CPU)
    sharp, _ = train(dataclasses.replace(plain, sam_rho=0.5), crops, tmp_path / "sharp", processes=CPU)
    names = [name for name, value in base.named_parameters() if value.requires_grad]
    states = [network.state_dict() for network in (base, tiny, sharp)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in names)
    assert not all(torch.equal(states[0][name], states[2][name]) for name in names)


@pytest.mark.slow
def test_pretraining_does_not_use_labels(recipe, crops, tmp_path):
    unlabelled = dataclasses.replace(recipe, labels="none", blend=1.0, epochs=1)
    network, _ = train(unlabelled, crops, tmp_path / "1", processes=CPU)
    swapped = dataclasses.replace(crops, labels=1 - crops.labels)
    other, _ = train(unlabelled, swapped, tmp_path / "2", processes=CPU)
    assert _same(network, other)


def test_a_full_disk_keeps_the_last_checkpoint(recipe, crops, tmp_path, monkeypatch):
    train(dataclasses.replace(recipe, epochs=1), crops, tmp_path, processes=CPU)
    before = (tmp_path / "last.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("deepscan.detectors.weights.save_file", full)
    with pytest.raises(DeepscanError, match=r"cannot be written.*No space left") as raised:
        train(dataclasses.replace(recipe, epochs=1), crops, tmp_path, processes=CPU)
    assert "--resume" in raised.value.hint
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_curves_are_written_for_tensorboard(recipe, crops, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, progress = train(recipe, crops, tmp_path, processes=CPU)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [point.value for point in events.Scalars("epoch/auc")] == pytest.approx(
        [row["auc"] for row in progress.history]
    )
    assert events.Scalars("step/loss")[0].step == 20


def test_another_seed_gives_another_network(recipe, crops, tmp_path):
    short = dataclasses.replace(recipe, epochs=1)
    network, _ = train(short, crops, tmp_path / "1", processes=CPU)
    other, _ = train(dataclasses.replace(short, seed=5), crops, tmp_path / "2", processes=CPU)
    assert not _same(network, other)


def test_resuming_with_another_recipe_or_other_data_is_refused(recipe, crops, tmp_path):
    train(dataclasses.replace(recipe, epochs=1), crops, tmp_path, processes=CPU)
    with pytest.raises(ContractError, match="lr was"):
        train(dataclasses.replace(recipe, epochs=1, lr=0.5), crops, tmp_path, resume=True, processes=CPU)
    with pytest.raises(ContractError, match="crops was"):
        other = dataclasses.replace(crops, key="other")
        train(dataclasses.replace(recipe, epochs=1), other, tmp_path, resume=True, processes=CPU)
    relabelled = dataclasses.replace(crops, labels=1 - crops.labels)
    with pytest.raises(ContractError, match="index was"):
        train(dataclasses.replace(recipe, epochs=1), relabelled, tmp_path, resume=True, processes=CPU)
    with pytest.raises(MissingError, match="to resume from"):
        train(recipe, crops, tmp_path / "none", resume=True, processes=CPU)
    (tmp_path / "last.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ContractError, match="is not a checkpoint"):
        train(recipe, crops, tmp_path, resume=True, processes=CPU)


def test_training_in_bfloat16_works(recipe, crops, tmp_path):
    lower = dataclasses.replace(recipe, epochs=1, precision="bfloat16", ema=0.0, optimiser="adam")
    network, progress = train(lower, crops, tmp_path, processes=CPU)
    assert np.isfinite(progress.history[0]["loss"])
    assert all(value.dtype == torch.float32 for value in network.parameters())


def test_too_few_crops_and_unknown_devices_are_refused(recipe, crops, tmp_path):
    with pytest.raises(UsageError, match="do not fill a batch"):
        train(dataclasses.replace(recipe, batch=512), crops, tmp_path, processes=CPU)
    with pytest.raises(UsageError, match="unknown device 'tpu'"), join("tpu"):
        pass


def test_a_nan_gradient_does_not_change_the_weights(recipe):
    detector = DETECTORS.get("qtfp")(**recipe.loss)
    for rho in (0.0, 0.1):
        sharp = dataclasses.replace(recipe, sam_rho=rho)
        network = detector.build(recipe.network)
        calls = []

        def loss(output, batch, calls=calls, rho=rho):
            total, parts = detector.loss(output, batch)
            calls.append(1)
            # The derivative of the square root at 0 is infinite, and infinity times 0 is NaN; with SAM it is
            # only in the second of two passes.
            bad = torch.sqrt((output.logits * 0).sum()) if len(calls) > bool(rho) else 0
            return total + bad, parts

        train_step = TrainStep(sharp, network, loss, make_optimiser(sharp, network), CPU)
        batch = Batch({"crops": torch.randn(4, 3, 32, 32)}, torch.tensor([0, 1] * 2))
        before = {name: value.clone() for name, value in network.named_parameters()}
        with pytest.raises(UsageError, match="gradient's norm became nan"):
            train_step.step([batch], [0], 1.0)
        assert all(torch.equal(before[name], value) for name, value in network.named_parameters())


def test_learning_rate_schedules(recipe):
    warm = dataclasses.replace(recipe, warmup=10, schedule="cosine")
    rates = [learning_rate(warm, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert np.argmax(rates) == 9
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 0.001
    constant = dataclasses.replace(warm, schedule="constant")
    assert learning_rate(constant, 9, 100) == learning_rate(constant, 99, 100) == 1
    stable = dataclasses.replace(warm, schedule="wsd", warmup=0)
    assert learning_rate(stable, 0, 100) == learning_rate(stable, 75, 100) == 1
    assert learning_rate(stable, 90, 100) == pytest.approx(0.4)
