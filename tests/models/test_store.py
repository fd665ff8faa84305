"""The user's installed models: listed, found by name, verified and removed."""

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


def test_embedded_installed_and_published_models_are_listed(store):
    toy.model(store / "gend")
    toy.model(store / "mine")
    toy.model(store / ".half.part")
    states = {model.name: model.state for model in list_models(store)}
    assert all(states[name] == "embedded" for name in (DEFAULT_MODEL, "facefilter", "looks", "mtcnn"))
    assert states["gend"] == states["mine"] == "installed"
    assert states["unifd"] == "known" and states["forensics-adapter"] == "refused"
    assert set(states) == {DEFAULT_MODEL, "convnet", "facefilter", "looks", "mtcnn", "mine", *catalogue()}
    assert [model.name for model in list_models(store) if model.folder] == [
        "convnet",
        "facefilter",
        DEFAULT_MODEL,
        "looks",
        "mtcnn",
        "gend",
        "mine",
    ]


def test_a_description_has_the_card_the_catalogue_entry_and_how_to_get_it(store):
    toy.model(store / "gend")
    installed = find_listed("gend", list_models(store)).describe()
    assert installed["folder"] == str(store / "gend") and installed["card"]["method"] == "qtfp"
    assert installed["published"]["source"]["sha256"] == catalogue()["gend"].source.sha256
    assert "get" not in installed
    ways = {model.name: model.describe().get("get", "") for model in list_models(store)}
    assert ways["unifd"] == "deepscan models pull unifd --accept-license"
    assert "by hand" in ways["dfd-hr"] and "not supported: its scores" in ways["forensics-adapter"]


def test_an_unreadable_card_does_not_hide_other_models(store):
    (store / "broken").mkdir(parents=True)
    (store / "broken" / CARD).write_text("name: [")
    toy.model(store / "sound")
    models = {model.name: model for model in list_models(store)}
    assert "not a model card" in models["broken"].to_json()["summary"] and models["sound"].card
    with pytest.raises(ContractError, match="not a model card"):
        models["broken"].verify()
    assert models["sound"].verify() == 1


def test_an_unreadable_card_does_not_break_the_error_for_an_unknown_name(store, monkeypatch):
    monkeypatch.setattr(lookup, "user_folder", lambda: store)
    toy.model(store / "broken")
    (store / "broken" / CARD).write_text("name: [")
    toy.model(store / "sound")
    with pytest.raises(UsageError, match="unknown model 'zzzzz'") as raised:
        find_model("zzzzz")
    assert raised.value.hint == f"name one of convnet, {DEFAULT_MODEL}, sound, or a folder with a card.yaml"


def test_looking_up_several_models_reads_each_card_once(store, monkeypatch):
    toy.model(store / "mine")
    models = list(list_models(store))
    files = len(load_card(DEFAULT_MODEL).files)
    monkeypatch.setattr("deepscan.models.store.load_card", lambda folder: pytest.fail("read again"))
    assert [find_listed(name, models).verify() for name in (DEFAULT_MODEL, "mine", "mine")] == [files, 1, 1]


def test_an_embedded_model_comes_before_an_installed_one_of_the_same_name(store):
    toy.model(store / DEFAULT_MODEL)
    assert find_listed(DEFAULT_MODEL, list_models(store)).state == "embedded"


@pytest.mark.parametrize("name", ["none", "auto", HASHES])
def test_a_reserved_name_is_refused(name, store):
    with pytest.raises(UsageError, match="reserved name"):
        check_free(name, store)
    check_free(f"{name}-1", store)


def test_a_folder_without_a_card_can_be_removed(store):
    (store / "mine").mkdir(parents=True)
    with pytest.raises(UsageError) as raised:
        check_free("mine", store)
    assert raised.value.hint == "to replace it, first run: deepscan models remove mine"
    remove_model("mine", store)
    check_free("mine", store)


def test_an_installed_model_is_found_by_name(store, monkeypatch):
    monkeypatch.setattr(lookup, "user_folder", lambda: store)
    toy.model(store / "mine")
    toy.model(store / DEFAULT_MODEL)
    assert load_card("mine").folder == store / "mine"
    # An installed model never replaces an embedded one.
    assert find_model(DEFAULT_MODEL) == embedded_folder() / DEFAULT_MODEL
    with pytest.raises(UsageError) as raised:
        find_model("min")
    assert "'mine'" in raised.value.hint


def test_a_published_model_that_is_not_installed_is_missing(store, monkeypatch):
    monkeypatch.setattr(lookup, "user_folder", lambda: store)
    with pytest.raises(MissingError) as raised:
        find_model("gend")
    assert "deepscan models info gend" in raised.value.hint
    with pytest.raises(MissingError, match="not installed"):
        find_listed("gend", list_models(store)).verify()


def test_the_folder_of_installed_models_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "deepscan" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_folder() == tmp_path / "home" / ".cache" / "deepscan" / "models"


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "none", "..", ""])
def test_only_installed_models_can_be_removed(name, store):
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


def test_unreadable_hashes_are_an_error(store):
    store.mkdir()
    (store / HASHES).write_text("[")
    with pytest.raises(ContractError, match=HASHES):
        hashes(store)
