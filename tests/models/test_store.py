"""The user's models: listed beside the embedded ones, found by name, verified, removed."""

import json

import pytest

from deepscan.cards import CARD, embedded_folder
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.models import lookup
from deepscan.models.catalogue import catalogue
from deepscan.models.lookup import DEFAULT_MODEL, find_model, load_card, user_folder
from deepscan.models.store import (
    HASHES,
    check_free,
    find_listed,
    hashes,
    list_models,
    record_hash,
    remove_model,
)
from tests import toy


def test_embedded_installed_and_known_models_are_listed(store):
    toy.model(store / "gend")
    toy.model(store / "mine")
    toy.model(store / ".half.part")
    states = {each.name: each.state for each in list_models(store)}
    assert all(states[name] == "embedded" for name in (DEFAULT_MODEL, "facefilter", "looks", "mtcnn"))
    assert states["gend"] == states["mine"] == "installed"
    assert states["unifd"] == "known" and states["forensics-adapter"] == "refused"
    assert set(states) == {DEFAULT_MODEL, "convnet", "facefilter", "looks", "mtcnn", "mine", *catalogue()}
    assert [each.name for each in list_models(store) if each.place] == [
        "convnet",
        "facefilter",
        DEFAULT_MODEL,
        "looks",
        "mtcnn",
        "gend",
        "mine",
    ]


def test_all_that_is_known_is_told(store):
    toy.model(store / "gend")
    installed = find_listed("gend", list_models(store)).describe()
    assert installed["folder"] == str(store / "gend") and installed["card"]["method"] == "qtfp"
    assert installed["published"]["source"]["sha256"] == catalogue()["gend"].source.sha256
    assert "get" not in installed
    ways = {each.name: each.describe().get("get", "") for each in list_models(store)}
    assert ways["unifd"] == "deepscan models pull unifd --accept-license"
    assert "by hand" in ways["dfd-hr"] and "not at all: its scores" in ways["forensics-adapter"]


def test_a_card_that_cannot_be_read_hides_no_other(store):
    (store / "torn").mkdir(parents=True)
    (store / "torn" / CARD).write_text("name: [")
    toy.model(store / "whole")
    there = {each.name: each for each in list_models(store)}
    assert "not a model card" in there["torn"].to_json()["summary"] and there["whole"].card
    with pytest.raises(ContractError, match="not a model card"):
        there["torn"].verify()
    assert there["whole"].verify() == 1


def test_a_card_that_cannot_be_read_does_not_break_what_is_said_of_an_unknown_name(store, monkeypatch):
    monkeypatch.setattr(lookup, "user_folder", lambda: store)
    toy.model(store / "torn")
    (store / "torn" / CARD).write_text("name: [")
    toy.model(store / "whole")
    with pytest.raises(UsageError, match="no model 'zzzzz'") as raised:
        find_model("zzzzz")
    assert raised.value.hint == f"name one of convnet, {DEFAULT_MODEL}, whole, or a folder with a card.yaml"


def test_each_card_is_read_once_however_many_are_looked_up(store, monkeypatch):
    toy.model(store / "mine")
    among = list(list_models(store))
    files = len(load_card(DEFAULT_MODEL).files)
    monkeypatch.setattr("deepscan.models.store.load_card", lambda folder: pytest.fail("read again"))
    assert [find_listed(name, among).verify() for name in (DEFAULT_MODEL, "mine", "mine")] == [files, 1, 1]


def test_of_two_models_of_one_name_the_embedded_one_is_found(store):
    toy.model(store / DEFAULT_MODEL)
    assert find_listed(DEFAULT_MODEL, list_models(store)).state == "embedded"


@pytest.mark.parametrize("name", ["none", "auto", HASHES])
def test_a_name_that_means_something_else_is_no_models(name, store):
    with pytest.raises(UsageError, match="means something else"):
        check_free(name, store)
    check_free(f"{name}-1", store)


def test_a_folder_without_a_card_can_be_removed_and_its_name_taken(store):
    (store / "mine").mkdir(parents=True)
    with pytest.raises(UsageError) as raised:
        check_free("mine", store)
    assert raised.value.hint == "deepscan models remove mine"
    remove_model("mine", store)
    check_free("mine", store)


def test_an_installed_model_is_found_by_its_name(store, monkeypatch):
    monkeypatch.setattr(lookup, "user_folder", lambda: store)
    toy.model(store / "mine")
    toy.model(store / DEFAULT_MODEL)
    assert load_card("mine").folder == store / "mine"
    # Nothing takes the place of an embedded one.
    assert find_model(DEFAULT_MODEL) == embedded_folder() / DEFAULT_MODEL
    with pytest.raises(UsageError) as raised:
        find_model("min")
    assert "'mine'" in raised.value.hint


def test_a_known_model_that_is_not_installed_is_missing(store, monkeypatch):
    monkeypatch.setattr(lookup, "user_folder", lambda: store)
    with pytest.raises(MissingError) as raised:
        find_model("gend")
    assert "deepscan models info gend" in raised.value.hint
    with pytest.raises(MissingError, match="not installed"):
        find_listed("gend", list_models(store)).verify()


def test_the_users_folder_is_in_their_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "deepscan" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_folder() == tmp_path / "home" / ".cache" / "deepscan" / "models"


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "none", "..", ""])
def test_only_an_installed_model_is_removed(name, store):
    toy.model(store / "mine")
    with pytest.raises(UsageError):
        remove_model(name, store)
    assert (store / "mine" / CARD).is_file()
    remove_model("mine", store)
    assert not (store / "mine").exists()


def test_a_hash_outlives_its_model_until_it_is_forgotten(store):
    toy.model(store / "mine")
    record_hash("mine", "aa", store)
    record_hash("mine", "bb", store)
    remove_model("mine", store)
    assert hashes(store) == {"mine": "aa"} == json.loads((store / HASHES).read_text())
    remove_model("mine", store, forget=True)
    assert hashes(store) == {}


def test_hashes_that_cannot_be_read_are_no_empty_ones(store):
    store.mkdir()
    (store / HASHES).write_text("[")
    with pytest.raises(ContractError, match=HASHES):
        hashes(store)
