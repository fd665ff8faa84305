"""The figures of benchmarks/unseen.py: which crops each is of, and what the thresholds are fitted on."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from deepscan.calibration import second_half
from deepscan.cards import Calibration
from deepscan.data.crops.crop_cache import CropSet
from deepscan.training.validation import SeenInTraining

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SEEN = SeenInTraining(frozenset({"old"}), frozenset({"here"}))
#: Calls everything fake.
CALIBRATION = Calibration("frame", "data", 10, "rule", 1.0, 0.0, 0.0)


@pytest.fixture
def unseen(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("unseen")


def _scored(unseen, groups, labels, new, scores):
    crops = CropSet(
        np.zeros((len(labels), 4, 4, 3), np.uint8),
        labels,
        tuple(groups),
        tuple(map(str, range(len(labels)))),
        ("val",) * len(labels),
        0,
        "",
        methods=tuple("new" if each else "old" for each in new),
        origins=tuple("there" if each else "here" for each in new),
    )
    return unseen.Scored(crops, scores)


@pytest.fixture
def found(unseen):
    """Figures of a model that is right of the unseen in the second half, and wrong of all else of the web."""
    groups = [f"g{at}" for at in range(160)]
    labels = np.arange(160) % 2
    new = np.arange(160) % 4 < 2
    second = second_half(groups)
    right = second & new
    scores = np.where(right, labels * 0.5 + 0.2, 0.9 - labels * 0.8)
    web = _scored(unseen, groups, labels, new, scores)
    dfdc = _scored(unseen, groups, labels, ~new, np.where(second, labels, 1 - labels).astype(float))
    return dict(unseen.figures(dfdc, web, SEEN, CALIBRATION))


def test_figure_u_is_of_the_unseen_and_the_second_half(found):
    assert (found["u"], found["u_low"], found["u_high"]) == (1, 1, 1)
    assert found["u_choosing"] == 0
    assert found["seen"] == 0
    assert 0 < found["web"] < 1


def test_dfdc_is_of_the_second_half(found):
    assert found["dfdc"] == 1


def test_shares_are_at_the_cards_thresholds_and_at_those_of_the_first_half(found):
    assert (found["real_fake"], found["fake_fake"], found["fake_no_evidence"]) == (1, 1, 0)
    # In the first half every real scores 0.9 and every fake 0.1: nothing may be called fake.
    assert found["refit_real_fake"] == found["refit_fake_fake"] == 0


def test_origins_are_of_the_second_half(found):
    # Of the 160 groups 80 or so are in it, half of them in each origin.
    assert set(found["origins"]) == {"here", "there"}
    assert (
        sum(each["crops"] for each in found["origins"].values())
        == second_half([f"g{at}" for at in range(160)]).sum()
    )
