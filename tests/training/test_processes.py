"""Two processes under torchrun train the same network as one process with two parts."""

import csv
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

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
