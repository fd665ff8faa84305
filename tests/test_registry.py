"""Registries import entries on demand, and accept only listed entries, once."""

import importlib.machinery
import sys

import pytest

from deepscan.errors import UsageError
from deepscan.registry import Registry


@pytest.fixture
def registry(monkeypatch):
    registry = Registry("flavour", {"sweet": "toy_sweet", "sour": "toy_sour"})
    loaded = []

    class Importer:
        def find_spec(self, name, path=None, target=None):
            return importlib.machinery.ModuleSpec(name, self) if name.startswith("toy_") else None

        def create_module(self, spec):
            return None

        def exec_module(self, module):
            loaded.append(module.__name__)
            registry.register(module.__name__.removeprefix("toy_"))(object())

    importer = Importer()
    monkeypatch.setattr(sys, "meta_path", [importer, *sys.meta_path])
    yield registry, loaded
    for name in ("toy_sweet", "toy_sour"):
        sys.modules.pop(name, None)


def test_only_the_requested_entry_is_imported(registry):
    flavours, loaded = registry
    assert flavours.names == ("sweet", "sour")
    assert loaded == []
    assert flavours.get("sour") is flavours.get("sour")
    assert loaded == ["toy_sour"]


def test_a_misspelt_name_suggests_an_entry_and_any_other_lists_all(registry):
    flavours, _ = registry
    with pytest.raises(UsageError) as near:
        flavours.get("swet")
    assert "'sweet'" in near.value.hint
    with pytest.raises(UsageError) as far:
        flavours.get("umami")
    assert "sweet, sour" in far.value.hint


def test_only_listed_entries_can_be_registered_and_only_once(registry):
    flavours, _ = registry
    with pytest.raises(ValueError, match="not listed"):
        flavours.register("bitter")(object())
    flavours.register("sweet")(object())
    with pytest.raises(ValueError, match="twice"):
        flavours.register("sweet")(object())
