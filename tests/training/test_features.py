"""Training on a frozen backbone's kept features: the same as live, made once, and never for other weights."""

import csv
import dataclasses
import errno
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deepscan.detectors import DETECTORS
from deepscan.detectors.weights import save_weights
from deepscan.errors import ContractError
from deepscan.training import features
from deepscan.training.loop import train
from deepscan.training.recipe import load_recipe
from tests.detectors.tiny import BACKBONE
from tests.training.conftest import CPU, Interruption, interrupt_at

SMALL = (
    "weights=random",
    *(f"network.backbone.{key}={value}" for key, value in BACKBONE.items()),
    "crop.side=32",
    "crop.resize=null",
    "frames={train: 0, val: 0}",
    "batch=8",
    "epochs=2",
    "precision=float32",
)


@pytest.fixture(params=["corit", "unifd"])
def frozen(request):
    own = ("inputs.grid=2",) if request.param == "corit" else ("network.feature=cls",)
    return load_recipe(request.param, overrides=[*SMALL, *own])


def test_kept_features_train_what_live_ones_train(frozen, crops, tmp_path):
    live, without = train(frozen, crops, tmp_path / "live", processes=CPU)
    kept, within = train(frozen, crops, tmp_path / "kept", processes=CPU, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    assert np.load(file, mmap_mode="r").dtype == np.float16
    for name, value in live.named_parameters():
        # Features of about 1 are kept in float16: a relative error of 5e-4 in each.
        torch.testing.assert_close(dict(kept.named_parameters())[name], value, atol=2e-3, rtol=2e-3)
    for one, other in zip(without.history, within.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=2e-3)


def test_features_are_made_once_for_the_same_backbone(frozen, crops, tmp_path, monkeypatch):
    train(frozen, crops, tmp_path / "first", processes=CPU, cache=tmp_path / "cache")
    made = features._fill
    counted = []
    monkeypatch.setattr(features, "_fill", lambda *given: (counted.append(1), made(*given)))
    longer = dataclasses.replace(frozen, epochs=3, lr=0.01)
    train(longer, crops, tmp_path / "second", processes=CPU, cache=tmp_path / "cache")
    assert not counted
    # Another seed draws another backbone, and features of the former one would be wrong.
    train(
        dataclasses.replace(frozen, seed=5),
        crops,
        tmp_path / "third",
        processes=CPU,
        cache=tmp_path / "cache",
    )
    assert counted


def test_a_run_is_gone_on_with_live_where_it_began_with_kept_features(frozen, crops, tmp_path):
    train(dataclasses.replace(frozen, epochs=1), crops, tmp_path, processes=CPU, cache=tmp_path / "cache")
    _, progress = checkpoint_of(frozen, crops, tmp_path)
    with (tmp_path / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert progress.epoch == 2


def checkpoint_of(recipe, crops, folder):
    # The identity of a run holds its epochs: the checkpoint is taken for one of more of them.
    path = folder / "last.safetensors"
    with safe_open(path, framework="pt") as file:
        stated = json.loads(file.metadata()["deepscan"])
    tensors = load_file(path)
    stated["identity"]["epochs"] = recipe.epochs
    save_file(tensors, path, {"deepscan": json.dumps(stated)})
    return train(recipe, crops, folder, processes=CPU, resume=True)


def test_a_full_disk_is_told_while_features_are_kept(frozen, crops, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(features.np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(OSError, match="No space left"):
        train(frozen, crops, tmp_path, processes=CPU, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_another_backbone_is_refused_by_a_run_that_keeps_none(frozen, crops, tmp_path):
    backbone = frozen.to_json()["network"]["backbone"]
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = DETECTORS.get("fft")().build({"backbone": backbone})
        save_weights(tmp_path / f"{seed}.safetensors", network)
    recipe = dataclasses.replace(frozen, weights=str(tmp_path / "0.safetensors"))
    train(recipe, crops, tmp_path / "run", processes=CPU)
    (tmp_path / "1.safetensors").replace(tmp_path / "0.safetensors")
    with pytest.raises(ContractError, match="backbone was"):
        train(recipe, crops, tmp_path / "run", processes=CPU, resume=True)


def test_varied_crops_are_never_kept(frozen, crops, tmp_path):
    varied = dataclasses.replace(frozen, augment="bench", epochs=1)
    train(varied, crops, tmp_path / "run", processes=CPU, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_checkpoint_of_a_frozen_backbone_holds_its_head_alone_and_resumes(frozen, crops, tmp_path):
    whole, _ = train(frozen, crops, tmp_path / "whole", processes=CPU)
    with pytest.raises(Interruption):
        train(frozen, crops, tmp_path / "cut", processes=CPU, on_step=interrupt_at(2))
    assert not [name for name in load_file(tmp_path / "cut" / "last.safetensors") if ".backbone." in name]
    resumed, _ = train(frozen, crops, tmp_path / "cut", processes=CPU, resume=True)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
