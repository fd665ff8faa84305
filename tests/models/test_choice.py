"""Which model a scan takes when none is named: by rank, by device, and never one that was not ranked."""

import dataclasses
import importlib.util
import json
import os

import cv2
import numpy as np
import pytest
import torch

from deepscan.cards import CARD, ModelFile, write_card
from deepscan.errors import ContractError
from deepscan.media.decoders import AUTO
from deepscan.models.choice import Choice, choose_model
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.models.store import remove_model
from deepscan.scanning import loading
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.run import ScanListener, run_scan
from tests import toy


def install(store, name, kind="onnx"):
    """Install a model whose one file is for that."""
    card = load_card(toy.model(store / name))
    file = next(iter(card.files.values()))
    write_card(dataclasses.replace(card, files={kind: ModelFile(file.path, file.sha256)}))


def taken(store, gpus=1, **asked):
    return choose_model(store=store, gpus=lambda: gpus, **asked)


def test_without_an_installed_one_it_is_the_embedded_one(store):
    choice = taken(store)
    assert choice.model == DEFAULT_MODEL and "no installed model" in choice.reason


def test_of_several_it_is_the_first_by_rank(store):
    for name in ("gend-dinov3", "gend", "gend-pe"):
        install(store, name)
    choice = taken(store)
    assert choice.model == "gend" and choice.reason.endswith("gend, gend-pe, gend-dinov3")


@pytest.mark.parametrize("asked", [{"gpus": 0}, {"device": "cpu"}])
def test_a_large_one_waits_for_a_gpu_or_for_being_named(asked, store):
    install(store, "gend")
    choice = taken(store, **asked)
    assert choice.model == DEFAULT_MODEL
    assert "second a face" in choice.reason and "--model gend" in choice.reason


@pytest.mark.parametrize("name", ["mine", "unifd", "effort-genimage", "effort-ff", "dfd-hr"])
def test_one_without_a_rank_is_only_ever_named(name, store):
    install(store, name)
    assert taken(store).model == DEFAULT_MODEL


def test_it_has_what_is_asked_for(store):
    install(store, "gend", "torch")
    install(store, "gend-pe")
    assert taken(store, engine="onnx").model == "gend-pe"
    choice = taken(store, precision="int8")
    assert choice.model == DEFAULT_MODEL and "precision int8" in choice.reason


def test_weights_of_torch_need_torch_and_its_gpu(store, monkeypatch):
    install(store, "gend", "torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert taken(store).model == "gend"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert taken(store).model == DEFAULT_MODEL
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "cannot run here" in taken(store).reason


def test_an_engine_that_is_named_reads_the_file_that_it_reads(store, monkeypatch):
    """Engines are called otherwise than the files that they read."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    install(store, "gend", "torch")
    assert taken(store, engine="torch-compile").model == "gend"
    assert taken(store, precision="bf16").model == "gend"
    choice = taken(store, engine="tensorrt")
    assert choice.model == DEFAULT_MODEL and "cannot run here with engine tensorrt" in choice.reason
    install(store, "gend-pe", "onnx")
    assert taken(store, engine="tensorrt").model == "gend-pe"
    assert taken(store, engine="tensorrt", precision="fp16").model == "gend-pe"
    assert taken(store, engine="torch-compile", gpus=0).model == DEFAULT_MODEL


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_no_engine_has_for_its_file_is_not_run(precision, store):
    install(store, "gend", "onnx")
    choice = taken(store, precision=precision)
    assert choice.model == DEFAULT_MODEL and f"precision {precision}" in choice.reason


def test_a_torn_card_of_a_ranked_one_is_no_reason_to_take_another(store):
    install(store, "gend-pe")
    install(store, "gend")
    (store / "gend" / CARD).write_text("name: [")
    with pytest.raises(ContractError, match="not a model card") as raised:
        taken(store)
    assert "deepscan models remove gend" in raised.value.hint
    remove_model("gend", store)
    assert taken(store).model == "gend-pe"


def test_a_torn_card_of_one_without_a_rank_is_in_nobodys_way(store):
    install(store, "mine")
    (store / "mine" / CARD).write_text("name: [")
    assert taken(store).model == DEFAULT_MODEL


def test_the_choice_is_recorded_told_and_kept_when_the_run_goes_on(tmp_path, monkeypatch):
    """What is installed between two sessions of a run does not change the run."""
    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 90, np.uint8))
    first, second = (str(toy.model(tmp_path / name)) for name in ("first", "second"))
    told = []

    class Told(ScanListener):
        def loaded(self, run):
            told.append(run)

    def scan(installed, resume):
        monkeypatch.setattr(
            loading, "choose_model", lambda **asked: Choice(installed, f"for {asked['device']}")
        )
        output = ScanOutput(tmp_path / "out.jsonl", resume=resume)
        run_scan([os.fsencode(picture)], ScanOptions(model=AUTO, device="cpu"), output, listener=Told())

    scan(first, resume=False)
    scan(second, resume=True)
    recorded = json.loads((tmp_path / "out.run.json").read_text())
    assert recorded["choice"] == told[0]["choice"] == {"model": first, "reason": "for cpu"}
    assert recorded["model"]["name"] == told[1]["model"]["name"] == "first"
    assert len(recorded["sessions"]) == 2
