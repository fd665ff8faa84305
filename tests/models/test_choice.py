"""The default model of a scan: by rank and device, and never one without a rank."""

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
    """Install a model whose only file is of that kind."""
    card = load_card(toy.model(store / name))
    file = next(iter(card.files.values()))
    write_card(dataclasses.replace(card, files={kind: ModelFile(file.path, file.sha256)}))


def chosen(store, gpus=1, **options):
    return choose_model(store=store, gpus=lambda: gpus, **options)


def test_without_installed_models_it_is_the_embedded_one(store):
    choice = chosen(store)
    assert choice.model == DEFAULT_MODEL and "no installed model" in choice.reason


def test_the_first_installed_model_by_rank_is_chosen(store):
    for name in ("gend-dinov3", "gend", "gend-pe"):
        install(store, name)
    choice = chosen(store)
    assert choice.model == "gend" and choice.reason.endswith("gend, gend-pe, gend-dinov3")


@pytest.mark.parametrize("options", [{"gpus": 0}, {"device": "cpu"}])
def test_a_large_model_is_only_chosen_with_a_gpu(options, store):
    install(store, "gend")
    choice = chosen(store, **options)
    assert choice.model == DEFAULT_MODEL
    assert "second per face" in choice.reason and "--model gend" in choice.reason


@pytest.mark.parametrize("name", ["mine", "unifd", "effort-genimage", "effort-ff", "dfd-hr"])
def test_a_model_without_a_rank_is_never_chosen(name, store):
    install(store, name)
    assert chosen(store).model == DEFAULT_MODEL


def test_it_supports_the_requested_engine_and_precision(store):
    install(store, "gend", "torch")
    install(store, "gend-pe")
    assert chosen(store, engine="onnx").model == "gend-pe"
    choice = chosen(store, precision="int8")
    assert choice.model == DEFAULT_MODEL and "precision int8" in choice.reason


def test_torch_weights_need_torch_with_the_gpu(store, monkeypatch):
    install(store, "gend", "torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen(store).model == "gend"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen(store).model == DEFAULT_MODEL
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "cannot run here" in chosen(store).reason


def test_a_named_engine_is_matched_with_the_kind_of_file_that_it_reads(store, monkeypatch):
    """Names of engines differ from kinds of files."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    install(store, "gend", "torch")
    assert chosen(store, engine="torch-compile").model == "gend"
    assert chosen(store, precision="bf16").model == "gend"
    choice = chosen(store, engine="tensorrt")
    assert choice.model == DEFAULT_MODEL and "cannot run here with engine tensorrt" in choice.reason
    install(store, "gend-pe", "onnx")
    assert chosen(store, engine="tensorrt").model == "gend-pe"
    assert chosen(store, engine="tensorrt", precision="fp16").model == "gend-pe"
    assert chosen(store, engine="torch-compile", gpus=0).model == DEFAULT_MODEL


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_model_is_not_chosen_if_no_engine_has_the_precision_for_its_file(precision, store):
    install(store, "gend", "onnx")
    choice = chosen(store, precision=precision)
    assert choice.model == DEFAULT_MODEL and f"precision {precision}" in choice.reason


def test_an_unreadable_card_of_a_ranked_model_is_an_error(store):
    install(store, "gend-pe")
    install(store, "gend")
    (store / "gend" / CARD).write_text("name: [")
    with pytest.raises(ContractError, match="not a model card") as raised:
        chosen(store)
    assert "deepscan models remove gend" in raised.value.hint
    remove_model("gend", store)
    assert chosen(store).model == "gend-pe"


def test_an_unreadable_card_of_a_model_without_a_rank_is_ignored(store):
    install(store, "mine")
    (store / "mine" / CARD).write_text("name: [")
    assert chosen(store).model == DEFAULT_MODEL


def test_the_choice_is_recorded_and_kept_when_the_run_resumes(tmp_path, monkeypatch):
    """A model installed between two sessions of a run does not change the run."""
    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 90, np.uint8))
    first, second = (str(toy.model(tmp_path / name)) for name in ("first", "second"))
    runs = []

    class Recorder(ScanListener):
        def loaded(self, run):
            runs.append(run)

    def scan(installed, resume):
        monkeypatch.setattr(
            loading, "choose_model", lambda **options: Choice(installed, f"for {options['device']}")
        )
        output = ScanOutput(tmp_path / "out.jsonl", resume=resume)
        run_scan([os.fsencode(picture)], ScanOptions(model=AUTO, device="cpu"), output, listener=Recorder())

    scan(first, resume=False)
    scan(second, resume=True)
    recorded = json.loads((tmp_path / "out.run.json").read_text())
    assert recorded["choice"] == runs[0]["choice"] == {"model": first, "reason": "for cpu"}
    assert recorded["model"]["name"] == runs[1]["model"]["name"] == "first"
    assert len(recorded["sessions"]) == 2
