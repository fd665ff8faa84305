"""Model cards: reading, writing, checking of hashes, and errors."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deepscan.cards import Calibration, Golden, write_card
from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError
from deepscan.models import lookup
from deepscan.models.lookup import DEFAULT_MODEL, find_model, installed_models, is_embedded, load_card
from tests import toy


@pytest.fixture
def folder(tmp_path):
    return toy.model(tmp_path / "toy", golden=Golden(0.5, 0.01))


def edited(folder, **changes):
    content = yaml.safe_load((folder / "card.yaml").read_text())
    (folder / "card.yaml").write_text(yaml.safe_dump(content | changes))
    return folder


def test_a_card_is_loaded_and_written_unchanged(folder):
    card = load_card(folder)
    assert (card.name, card.method, card.license) == ("toy", "qtfp", "Apache-2.0")
    assert card.calibration == toy.CALIBRATION
    assert card.golden == Golden(0.5, 0.01)
    assert card.crop.side == 64
    assert yaml.safe_load(card.to_yaml()) == yaml.safe_load((folder / "card.yaml").read_text())


def test_the_embedded_models_are_found_by_name_and_match_their_cards():
    names = [folder.name for folder in installed_models()]
    assert "mtcnn" in names
    assert DEFAULT_MODEL in names
    for name in names:
        card = load_card(name)
        card.verify()
        assert card.name == name
        assert card.license
        assert card.not_for, "a card must name uses to avoid"


def test_embedded_weights_stay_within_their_budget():
    total = sum(
        (folder / file.path).stat().st_size
        for folder in installed_models()
        for file in load_card(folder).files.values()
    )
    assert total <= 30e6


def test_a_misspelt_name_is_answered_with_the_closest():
    with pytest.raises(UsageError) as caught:
        find_model("mtccn")
    assert "'mtcnn'" in caught.value.hint


def test_a_changed_or_missing_file_is_refused(folder):
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ContractError, match="SHA-256"):
        load_card(folder).path("onnx")
    (folder / "model.onnx").unlink()
    with pytest.raises(MissingError, match="is missing"):
        load_card(folder).verify()


def test_a_missing_default_model_is_a_missing_error(monkeypatch, tmp_path):
    monkeypatch.setattr(lookup, "embedded_folder", lambda: tmp_path)
    with pytest.raises(MissingError, match=DEFAULT_MODEL):
        load_card(DEFAULT_MODEL)


def test_an_embedded_model_is_in_the_embedded_folder_and_has_a_card(monkeypatch, tmp_path):
    embedded, mine = toy.model(tmp_path / "embedded" / "toy"), toy.model(tmp_path / "mine" / "toy")
    (tmp_path / "embedded" / "empty").mkdir()
    monkeypatch.setattr(lookup, "embedded_folder", lambda: tmp_path / "embedded")
    monkeypatch.chdir(tmp_path / "embedded")
    assert is_embedded(embedded) and is_embedded(Path("toy"))
    assert not is_embedded(mine) and not is_embedded(Path("empty"))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"files": {"onnx": {"path": "model.onnx"}}},
        {"crop": {"side": 3}},
        {"crop": {"sides": 64}},
        {"calibration": {"level": "frame"}},
        {"golden": {"points": 1}},
        {"files": ["model.onnx"]},
    ],
    ids=str,
)
def test_a_wrong_card_is_refused(folder, changes):
    with pytest.raises(ContractError):
        load_card(edited(folder, **changes))


def test_a_card_that_is_not_yaml_is_refused(folder):
    (folder / "card.yaml").write_text("name: [unclosed")
    with pytest.raises(ContractError, match="not a model card"):
        load_card(folder)


@pytest.mark.parametrize(
    "changes",
    [{"level": "pixel"}, {"temperature": 0.0}, {"no_evidence": 0.8}, {"fake": 1.2}, {"no_evidence": -0.1}],
    ids=str,
)
def test_a_calibration_checks_its_values(changes):
    valid = {name: getattr(toy.CALIBRATION, name) for name in Calibration.__slots__}
    with pytest.raises(ValueError, match=r"level|temperature|thresholds"):
        Calibration(**(valid | changes))


def test_a_kind_of_file_that_the_model_lacks_is_answered_with_those_it_has(folder):
    with pytest.raises(MissingError) as caught:
        load_card(folder).path("tensorrt")
    assert "onnx" in caught.value.hint


def test_a_card_that_cannot_be_written_is_kept(tmp_path):
    card = load_card(toy.model(tmp_path / "toy"))
    before = (card.folder / "card.yaml").read_bytes()
    (card.folder / "card.yaml.part").symlink_to("/dev/full")
    with pytest.raises(DeepscanError, match="No space left"):
        write_card(replace(card, summary="another"))
    assert (card.folder / "card.yaml").read_bytes() == before
