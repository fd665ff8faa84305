"""Training on cached features of a frozen backbone: same results, cached once, never for other weights."""

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


def test_cached_features_train_the_same_network(frozen, crops, tmp_path):
    live, live_progress = train(frozen, crops, tmp_path / "live", processes=CPU)
    cached, progress = train(frozen, crops, tmp_path / "run", processes=CPU, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    assert np.load(file, mmap_mode="r").dtype == np.float16
    for name, value in live.named_parameters():
        # Features of about 1 are cached in float16, with a relative error of 5e-4 each.
        torch.testing.assert_close(dict(cached.named_parameters())[name], value, atol=2e-3, rtol=2e-3)
    for row, other in zip(live_progress.history, progress.history, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=2e-3)


def test_features_are_computed_once_for_the_same_backbone(frozen, crops, tmp_path, monkeypatch):
    train(frozen, crops, tmp_path / "first", processes=CPU, cache=tmp_path / "cache")
    fill = features._fill
    calls = []
    monkeypatch.setattr(features, "_fill", lambda *args: (calls.append(1), fill(*args)))
    longer = dataclasses.replace(frozen, epochs=3, lr=0.01)
    train(longer, crops, tmp_path / "second", processes=CPU, cache=tmp_path / "cache")
    assert not calls
    # Another seed gives another backbone, for which these features would be wrong.
    train(
        dataclasses.replace(frozen, seed=5),
        crops,
        tmp_path / "third",
        processes=CPU,
        cache=tmp_path / "cache",
    )
    assert calls


def test_a_run_with_cached_features_can_resume_without_them(frozen, crops, tmp_path):
    train(dataclasses.replace(frozen, epochs=1), crops, tmp_path, processes=CPU, cache=tmp_path / "cache")
    _, progress = resume_with_more_epochs(frozen, crops, tmp_path)
    with (tmp_path / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert progress.epoch == 2


def resume_with_more_epochs(recipe, crops, folder):
    # The run's identity contains its number of epochs, so it is changed in the checkpoint.
    path = folder / "last.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["deepscan"])
    tensors = load_file(path)
    metadata["identity"]["epochs"] = recipe.epochs
    save_file(tensors, path, {"deepscan": json.dumps(metadata)})
    return train(recipe, crops, folder, processes=CPU, resume=True)


def test_a_full_disk_is_an_error_and_leaves_no_cache(frozen, crops, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(features.np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(OSError, match="No space left"):
        train(frozen, crops, tmp_path, processes=CPU, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_resuming_with_another_frozen_backbone_is_refused(frozen, crops, tmp_path):
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


def test_features_of_augmented_crops_are_not_cached(frozen, crops, tmp_path):
    augmented = dataclasses.replace(frozen, augment="bench", epochs=1)
    train(augmented, crops, tmp_path / "run", processes=CPU, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_checkpoint_with_a_frozen_backbone_has_only_the_head_and_resumes(frozen, crops, tmp_path):
    expected, _ = train(frozen, crops, tmp_path / "full", processes=CPU)
    folder = tmp_path / "interrupted"
    with pytest.raises(Interruption):
        train(frozen, crops, folder, processes=CPU, on_step=interrupt_at(2))
    assert not [name for name in load_file(folder / "last.safetensors") if ".backbone." in name]
    resumed, _ = train(frozen, crops, folder, processes=CPU, resume=True)
    values = resumed.state_dict()
    assert all(torch.equal(value, values[name]) for name, value in expected.state_dict().items())
