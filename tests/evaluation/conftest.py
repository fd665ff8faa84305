"""Shared fixtures of the evaluation tests."""

from functools import partial

import pytest

from deepscan.evaluation import report
from tests.evaluation.replica import toy_scorer


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    """The toy detector."""
    return toy_scorer(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def few_bootstrap_rounds(monkeypatch):
    """For tests that do not check intervals: a thousand bootstrap draws take seconds."""
    monkeypatch.setattr(report, "measure_all", partial(report.measure_all, rounds=5))
    monkeypatch.setattr(report, "measure_kinds", partial(report.measure_kinds, rounds=5))
