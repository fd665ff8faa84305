"""Two processes train the same network as one process with two parts, and agree on errors and waits."""

import csv
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from deepscan.detectors.detector import Batch
from deepscan.errors import DeepscanError, Terminated, UsageError
from deepscan.training import processes as processes_module
from deepscan.training.machines import require_same_settings
from deepscan.training.optimiser import TrainStep
from deepscan.training.processes import join
from deepscan.training.recipe import load_recipe
from tests.training.conftest import TINY
from tests.training.together import OPTIMISERS, together

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def _results(folder):
    with (folder / "log.csv").open() as file:
        return load_file(folder / "last.safetensors"), list(csv.DictReader(file))


def test_two_processes_train_the_same_network_as_one_with_two_parts(tmp_path):
    command = [*TORCHRUN, "-m", "tests.training.together", str(tmp_path / "two"), "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    threads = torch.get_num_threads()
    together(tmp_path / "one", 2)
    torch.set_num_threads(threads)
    for optimiser in OPTIMISERS:
        (actual, rows), (expected, expected_rows) = (
            _results(tmp_path / name / optimiser) for name in ("two", "one")
        )
        # FLCL draws its anchors at random, so this also checks that each part has the same seed in both.
        for name, value in expected.items():
            # Gradients are summed across processes rather than in place: float32 rounding over fourteen
            # steps.
            torch.testing.assert_close(actual[name], value, atol=2e-5, rtol=1e-4)
        for row, other in zip(rows, expected_rows, strict=True):
            assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=1e-4)
            assert float(row["auc"]) == pytest.approx(float(other["auc"]), abs=0.01)


def _error(check, processes):
    """Return class and message of the error that a check raises, None for none."""
    try:
        check(processes)
    except (DeepscanError, Terminated, KeyError) as error:
        return [type(error).__name__, str(error)]
    return None


def _wait_longer_than_a_step_may_take(processes):
    with processes.together():
        if processes.first:
            time.sleep(1.5 * processes_module.STEP_LIMIT.total_seconds())


def _fail_in_the_second(processes):
    with processes.together():
        if not processes.first:
            raise UsageError("no pictures", "give pictures")


def _break_in_the_second(processes):
    with processes.together():
        if not processes.first:
            raise KeyError("face")


def _terminate_the_first(processes):
    with processes.together():
        if processes.first:
            raise Terminated


def _differ_in_a_setting(processes):
    require_same_settings(processes, {"epochs": 2, "lr": 0.1 * (1 + processes.rank)}, "repeat the command")


def _lose_the_second(processes):
    if not processes.first:
        os._exit(0)
    processes.largest(1)


def _share_weights(processes):
    torch.manual_seed(processes.rank)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    processes.share_weights(network)
    first, second = processes.gather([value.tolist() for value in network.state_dict().values()])
    assert first == second


def _nan_loss_in_the_second(processes):
    network = nn.Bilinear(2, 2, 1)
    inputs = {"input1": torch.ones(3, 2), "input2": torch.ones(3, 2)}
    optimiser = torch.optim.SGD([{"params": [*network.parameters()], "lr": 0.1, "base_lr": 0.1}])
    before = network.weight.detach().clone()

    def loss(output, batch):
        return output.sum() * (1 if processes.first else float("nan")), {}

    train_step = TrainStep(load_recipe("qtfp", "qtfp-compact", TINY), network, loss, optimiser, processes)
    try:
        train_step.step([Batch(inputs, torch.zeros(3, dtype=torch.int64))], [0], 1.0)
    finally:
        assert torch.equal(network.weight, before)


CHECKS = (
    _wait_longer_than_a_step_may_take,
    _share_weights,
    _fail_in_the_second,
    _break_in_the_second,
    _terminate_the_first,
    _differ_in_a_setting,
    _nan_loss_in_the_second,
    _lose_the_second,
)


def _run_checks(rank, port, folder):
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "test",
    }
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes_module.STEP_LIMIT = timedelta(seconds=5)
    with join("cpu") as processes:
        for check in CHECKS:
            error = _error(check, processes)
            (folder / f"{check.__name__}-{rank}").write_text(json.dumps(error))


def test_processes_agree_on_errors_and_wait_for_each_other(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded", "tests.forked"])
    both = [context.Process(target=_run_checks, args=(rank, port, tmp_path)) for rank in range(2)]
    for process in both:
        process.start()
    try:
        for process in both:
            process.join(120)
            assert process.exitcode == 0
    finally:
        for process in both:
            process.kill()
    results = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    host = socket.gethostname()
    for rank, prefix in enumerate((f"process 1 on {host}: ", "")):
        assert results[f"_wait_longer_than_a_step_may_take-{rank}"] is None
        assert results[f"_share_weights-{rank}"] is None
        assert results[f"_fail_in_the_second-{rank}"] == ["UsageError", f"{prefix}no pictures"]
        assert results[f"_terminate_the_first-{rank}"] == ["Terminated", ""]
        kind, message = results[f"_differ_in_a_setting-{rank}"]
        assert kind == "UsageError"
        assert message == f"lr is 0.1 in process 0 on {host}, but 0.2 in process 1 on {host}"
    assert results["_nan_loss_in_the_second-0"] == ["UsageError", "the gradient's norm became nan"]
    assert results["_nan_loss_in_the_second-1"] == ["UsageError", "the loss became nan"]
    assert results["_break_in_the_second-0"] == ["DeepscanError", f"process 1 on {host}: KeyError: 'face'"]
    kind, message = results["_lose_the_second-0"]
    assert kind == "DeepscanError"
    assert "another process of this training has ended" in message
