"""Training on two machines: two torchruns with one process each, connected on 127.0.0.1."""

import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch
from safetensors.torch import load_file

from deepscan.training.run_files import read_metadata
from tests.training.conftest import TINY, synthetic_crops, write_index

TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
#: Seconds for a training, which ends itself before.
LIMIT = 180


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of pictures, which `on_node` does not read."""
    folder = tmp_path_factory.mktemp("data")
    crops = synthetic_crops()
    files = [f"{row}.png" for row in range(len(crops.crops))]
    for name in files:
        (folder / name).touch()
    write_index(folder / "faces.csv", crops, files, source="DFDC")
    return folder


def _command(data, out, cache, *more, end_at=0):
    options = ["--recipe", "qtfp-compact", "--data", data, "--out", out, "--cache", cache]
    options += ["--threads", 1, "--device", "cpu", "--progress", "none", *TINY, "epochs=2", *more]
    return ["-m", "tests.training.on_node", str(end_at), *map(str, options)]


def _free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _on_two_nodes(*commands):
    """Run a command on each of two machines; return exit code and stderr of each torchrun."""
    first = ["--master-addr=127.0.0.1", f"--master-port={_free_port()}"]
    with ExitStack() as stack:
        nodes = []
        for rank, command in enumerate(commands):
            node = subprocess.Popen(
                [*TORCHRUN, "--nnodes=2", f"--node-rank={rank}", *first, *command],
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(node)
            # The process that it has started ends itself.
            stack.callback(node.kill)
            nodes.append(node)
        errors = [node.communicate(timeout=LIMIT)[1] for node in nodes]
        return [(node.returncode, error) for node, error in zip(nodes, errors, strict=True)]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a training on two machines that share it."""
    folder = tmp_path_factory.mktemp("shared")
    command = _command(data, folder / "made", folder / "cache")
    for code, error in _on_two_nodes(command, command):
        assert code == 0, error
    return folder


def _weights(folder):
    return load_file(folder / "run" / "best.safetensors") | load_file(folder / "run" / "last.safetensors")


def _assert_same_weights(folder, expected):
    actual, wanted = _weights(folder), _weights(expected)
    assert set(actual) == set(wanted)
    assert all(torch.equal(actual[name], value) for name, value in wanted.items())


@pytest.mark.exhaustive
def test_two_machines_with_one_folder_train_as_two_processes_on_one(trained, data, tmp_path):
    command = _command(data, tmp_path / "made", tmp_path / "cache")
    start = [*TORCHRUN, "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*start, *command], check=False, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    _assert_same_weights(trained / "made", tmp_path / "made")
    assert (trained / "made" / "card.yaml").is_file()
    # What the machines have asked each other is removed.
    assert not [*trained.rglob(".shared-*")]


def _assert_refused(ended, message):
    for code, error in ended:
        assert code == 1, error
        assert "exitcode  : 2 " in error, error
        assert message in error
        assert "hint: all machines need the same folder" in error
        # torchrun adds its own traceback.
        assert "Traceback" not in error.split("torch/distributed")[0]


def test_another_cache_on_the_other_machine_is_refused_before_training(data, tmp_path):
    out = tmp_path / "made"
    commands = [_command(data, out, tmp_path / name) for name in ("here", "there")]
    _assert_refused(_on_two_nodes(*commands), "error: --cache")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.exhaustive
@pytest.mark.parametrize("owner", [0, 1])
def test_resuming_a_run_that_only_one_machine_has_is_refused(trained, data, tmp_path, owner):
    outs = [tmp_path / name for name in ("here", "there")]
    shutil.copytree(trained / "made", outs[owner])
    before = (outs[owner] / "run" / "last.safetensors").read_bytes()
    commands = [_command(data, out, tmp_path / "cache", "--resume") for out in outs]
    _assert_refused(_on_two_nodes(*commands), "error: --out")
    assert (outs[owner] / "run" / "last.safetensors").read_bytes() == before
    assert not [*outs[1 - owner].rglob("*.safetensors")]


@pytest.mark.exhaustive
def test_a_signal_on_one_machine_ends_both_after_the_same_step(trained, data, tmp_path):
    command = _command(data, tmp_path / "made", tmp_path / "cache", end_at=3)
    for code, error in _on_two_nodes(command, command):
        assert code == 1, error
        assert "error: terminated" in error, error
    last = tmp_path / "made" / "run" / "last.safetensors"
    progress = read_metadata(last, "")
    assert progress["epoch"] * 7 + progress["step"] in range(3, 14)
    command = _command(data, tmp_path / "made", tmp_path / "cache", "--resume")
    for code, error in _on_two_nodes(command, command):
        assert code == 0, error
    _assert_same_weights(tmp_path / "made", trained / "made")
