"""A training from pictures to a model: early checks, resumption, and protection of existing files."""

import dataclasses
from functools import partial

import cv2
import numpy as np
import pytest

from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.training import autoencoders as autoencoders_module
from deepscan.training import session as session_module
from deepscan.training.autoencoders import PLANS, Autoencoder, autoencoders
from deepscan.training.recipe import load_recipe
from deepscan.training.session import Session, check_recipe, run_training
from tests.training.conftest import CPU, Interruption, write_index

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_publishing")]

CALLBACKS = dict.fromkeys(("on_crops", "on_autoencoders", "on_features"), lambda *args: None)


@pytest.fixture
def session(recipe, crops, tmp_path, monkeypatch):
    """A session whose pictures have already been cropped."""
    data = tmp_path / "data"
    data.mkdir()
    cv2.imwrite(str(data / "0.png"), np.zeros((8, 8, 3), np.uint8))
    write_index(data / "faces.csv", crops, ["0.png"] * 96)
    monkeypatch.setattr(session_module, "prepare_crops", lambda *args, **kwargs: crops)
    return Session(
        recipe=dataclasses.replace(recipe, epochs=1, sources=()),
        data=data,
        cache=tmp_path / "cache",
        folder=tmp_path / "made",
        command="deepscan train",
        workers=0,
        keep_features=True,
        resume=False,
        finish=False,
        overwrite=False,
    )


def _run(session):
    return run_training(session, CPU, on_step=lambda step: None, **CALLBACKS)


def _forbid_cutting(monkeypatch):
    def prepare_crops(*args, **kwargs):
        pytest.fail("crops were cut")

    monkeypatch.setattr(session_module, "prepare_crops", prepare_crops)


def test_an_existing_run_or_model_is_not_replaced_without_overwrite(session, monkeypatch):
    card = _run(session)
    _forbid_cutting(monkeypatch)
    with pytest.raises(UsageError, match="already has a run"):
        _run(session)
    (session.run / "last.safetensors").unlink()
    with pytest.raises(UsageError, match="already has a model") as raised:
        _run(session)
    assert "--overwrite" in raised.value.hint
    assert (session.folder / card.files["onnx"].path).exists()
    with pytest.raises(UsageError, match="--overwrite excludes"):
        dataclasses.replace(session, overwrite=True, resume=True)


def test_overwriting_removes_the_former_run(session):
    _run(session)
    before = (session.run / "best.safetensors").read_bytes()

    def stop(step):
        raise Interruption

    with pytest.raises(Interruption):
        run_training(dataclasses.replace(session, overwrite=True), CPU, on_step=stop, **CALLBACKS)
    assert before
    assert not (session.run / "best.safetensors").exists()
    assert not (session.run / "log.csv").exists()
    with pytest.raises(MissingError) as raised:
        _run(dataclasses.replace(session, finish=True))
    assert "--finish" in raised.value.hint or "--resume" in raised.value.hint


def test_resume_starts_a_run_or_continues_an_existing_one(session):
    resumed = dataclasses.replace(session, resume=True)
    first = _run(resumed)
    assert _run(resumed) == first


@pytest.mark.parametrize("part", ["lr", "seed"])
def test_another_recipe_is_refused_before_crops_are_cut(session, monkeypatch, part):
    _run(session)
    _forbid_cutting(monkeypatch)
    other = dataclasses.replace(session.recipe, **{part: 7 if part == "seed" else 0.5})
    with pytest.raises(ContractError, match=f"{part} was"):
        _run(dataclasses.replace(session, recipe=other, resume=True))


def test_a_run_can_be_published_again_with_other_terms(session):
    _run(session)
    recipe = dataclasses.replace(session.recipe, terms="for anything", license="MIT")
    card = _run(dataclasses.replace(session, recipe=recipe, finish=True))
    assert (card.license, card.trained["terms"]) == ("MIT", "for anything")


def test_one_class_is_refused_before_crops_are_cut(session, monkeypatch):
    index = session.data / "faces.csv"
    index.write_text(index.read_text().replace(",fake,", ",real,"))
    _forbid_cutting(monkeypatch)
    with pytest.raises(UsageError, match="no fake pictures"):
        _run(session)


@pytest.mark.parametrize("place", ["folder", "cache"])
def test_an_unusable_folder_is_refused_before_crops_are_cut(session, monkeypatch, place):
    (session.data / "taken").touch()
    _forbid_cutting(monkeypatch)
    with pytest.raises(UsageError, match="cannot write to folder") as raised:
        _run(dataclasses.replace(session, **{place: session.data / "taken" / "x"}))
    assert {"folder": "--out", "cache": "--cache"}[place] in raised.value.hint


def test_missing_weights_are_reported_before_crops_are_cut(session, monkeypatch):
    _forbid_cutting(monkeypatch)
    recipe = dataclasses.replace(session.recipe, weights="nowhere.safetensors")
    with pytest.raises(MissingError, match=r"nowhere\.safetensors"):
        _run(dataclasses.replace(session, recipe=recipe))


def test_a_missing_folder_of_pairs_is_reported_before_crops_are_cut(session, monkeypatch):
    _forbid_cutting(monkeypatch)
    recipe = dataclasses.replace(session.recipe, pairs_only=("web",))
    with pytest.raises(MissingError, match="web has no pictures"):
        _run(dataclasses.replace(session, recipe=recipe))


def test_pairs_only_faces_are_trained_on_and_counted_separately(session, crops, monkeypatch):
    (session.data / "web").mkdir()
    cv2.imwrite(str(session.data / "web" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    cropped = []

    def prepare_crops(pictures, *args, **kwargs):
        cropped.extend(pictures)
        return dataclasses.replace(crops, splits=("pairs", *crops.splits[1:]))

    monkeypatch.setattr(session_module, "prepare_crops", prepare_crops)
    card = _run(dataclasses.replace(session, recipe=dataclasses.replace(session.recipe, pairs_only=("web",))))
    assert [picture.path.name for picture in cropped if picture.split == "pairs"] == ["a.png"]
    assert (card.trained["crops"], card.trained["crops_in_pairs_only"]) == (55, 1)
    assert "web" in card.trained["data"]


@pytest.fixture
def redrawing(session, monkeypatch):
    plans = [dataclasses.replace(plan, steps=2) for plan in PLANS[:2]]
    monkeypatch.setattr(session_module, "autoencoders", partial(autoencoders, plans=plans))
    recipe = dataclasses.replace(session.recipe, blend=0.5, forgeries=("blend", "redraw"))
    return dataclasses.replace(session, recipe=recipe, resume=True)


def test_a_recipe_that_redraws_trains_autoencoders_once_on_real_training_crops(redrawing, crops, monkeypatch):
    progress, used = [], []
    sample = autoencoders_module._sample

    def spy(crop_set, rows, rng):
        used.append(rows)
        return sample(crop_set, rows, rng)

    monkeypatch.setattr(autoencoders_module, "_sample", spy)
    callbacks = {**CALLBACKS, "on_autoencoders": lambda *args: progress.append(args)}
    card = run_training(redrawing, CPU, on_step=lambda step: None, **callbacks)
    assert progress == [(16, 64), (32, 64), (48, 64), (64, 64)]
    assert {tuple(rows) for rows in used} == {tuple(range(0, 56, 2))}
    entry = card.trained["autoencoders"]
    assert {**entry, "l1_of_255": None} == {
        "number": 2,
        "seed": redrawing.recipe.seed,
        "trained_on": "28 real training crops",
        "l1_of_255": None,
    }
    cached = [Autoencoder(path) for path in redrawing.cache.glob("redraw-*.onnx")]
    real = crops.crops[:56:2]
    assert sorted(entry["l1_of_255"]) == sorted(round(redraw.error(real), 2) for redraw in cached)
    assert run_training(redrawing, CPU, on_step=lambda step: None, **callbacks) == card
    assert len(progress) == 4


def test_a_recipe_that_cannot_work_is_refused_before_anything_is_written():
    check_recipe(load_recipe("qtfp"))
    for overrides, hint in (
        (("network.backbone.name=siglip2-vit-l16",), "crop.resize=256"),
        (("network.queries=0",), "network"),
    ):
        with pytest.raises(UsageError) as raised:
            check_recipe(load_recipe("qtfp", overrides=overrides))
        assert hint in raised.value.hint
    with pytest.raises(UsageError, match="100") as raised:
        check_recipe(load_recipe("corit", "compact"))
    assert raised.value.hint == "set inputs.grid=10"
    for method in ("corit", "dfd-hr"):
        for backbone in ("siglip2-vit-l16", "pe-core-vit-l14", "beitv2-vit-l16"):
            with pytest.raises(UsageError, match=r"CLS token|relative position"):
                check_recipe(load_recipe(method, overrides=[f"network.backbone.name={backbone}"]))
