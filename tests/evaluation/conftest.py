"""What evaluations in tests share."""

from functools import partial

import pytest

from deepscan.evaluation import report
from tests.evaluation.replica import toy_scorer


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    """The toy detector."""
    return toy_scorer(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def few_draws(monkeypatch):
    """Where nothing is said of intervals: a thousand draws of each take seconds."""
    monkeypatch.setattr(report, "measure_all", partial(report.measure_all, rounds=5))
    monkeypatch.setattr(report, "measure_kinds", partial(report.measure_kinds, rounds=5))
