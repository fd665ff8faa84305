"""Errors can be passed between processes, and install hints name the right environment."""

import importlib.util
import pickle
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from deepscan.errors import (
    DISTRIBUTION,
    ContractError,
    DeepscanError,
    MissingError,
    UsageError,
    install_hint,
    package_hint,
)

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("kind", [DeepscanError, UsageError, ContractError, MissingError])
def test_an_error_can_be_pickled(kind):
    error = pickle.loads(pickle.dumps(kind("what failed", "what to do")))
    assert type(error) is kind
    assert (str(error), error.message, error.hint) == ("what failed", "what failed", "what to do")


def test_an_install_hint_names_the_distribution_and_this_environment():
    assert PROJECT["name"] == DISTRIBUTION
    for extra, requirement in (("", "deepscan-forensics"), ("torch", "deepscan-forensics[torch]")):
        words = shlex.split(install_hint(extra).removeprefix("run: "))
        assert words == [sys.executable, "-m", "pip", "install", requirement]


def test_without_pip_the_hint_uses_uv(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    monkeypatch.setattr(sys, "executable", "/my tools/python")
    assert package_hint("decord") == "run: uv pip install --python '/my tools/python' decord"
