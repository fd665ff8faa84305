"""The figures of benchmarks/unseen.py: which crops and which thresholds they use."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from deepscan.calibration import second_half
from deepscan.cards import Calibration
from deepscan.data.crops.crop_cache import CropSet
from deepscan.training.validation import GroupVotes, SeenInTraining, mean_votes

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SEEN = SeenInTraining(frozenset({"old"}), frozenset({"here"}))
#: Calls everything fake.
CALIBRATION = Calibration("frame", "data", 10, "rule", 1.0, 0.0, 0.0)
#: Leaves scores unchanged; fake from 0.8, no_evidence below 0.2.
BAND = Calibration("video", "data", 10, "rule", 1.0, 0.2, 0.8)


@pytest.fixture
def unseen(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("unseen")


def _crops(groups, labels, methods, origins):
    return CropSet(
        np.zeros((len(labels), 4, 4, 3), np.uint8),
        np.array(labels),
        tuple(map(str, groups)),
        tuple(map(str, range(len(labels)))),
        ("val",) * len(labels),
        0,
        "",
        methods=tuple(methods),
        origins=tuple(origins),
    )


def _scored(unseen, groups, labels, new, scores):
    methods, origins = (
        ["new" if each else "old" for each in new],
        ["there" if each else "here" for each in new],
    )
    return unseen.Scored(_crops(groups, labels, methods, origins), scores)


@pytest.fixture
def found(unseen):
    """Figures of a model that is right for unseen crops of the second half, wrong for other web crops."""
    groups = [f"g{at}" for at in range(160)]
    labels = np.arange(160) % 2
    new = np.arange(160) % 4 < 2
    second = second_half(groups)
    right = second & new
    scores = np.where(right, labels * 0.5 + 0.2, 0.9 - labels * 0.8)
    web = _scored(unseen, groups, labels, new, scores)
    dfdc = _scored(unseen, groups, labels, ~new, np.where(second, labels, 1 - labels).astype(float))
    return dict(unseen.figures(dfdc, web, SEEN, CALIBRATION))


def test_figure_u_uses_unseen_crops_of_the_second_half(found):
    assert (found["u"], found["u_low"], found["u_high"]) == (1, 1, 1)
    assert found["u_choosing"] == 0
    assert found["seen"] == 0
    assert 0 < found["web"] < 1


def test_dfdc_uses_the_second_half(found):
    assert found["dfdc"] == 1


def test_shares_use_the_thresholds_of_the_card_and_of_the_first_half(found):
    assert (found["real_fake"], found["fake_fake"], found["fake_no_evidence"]) == (1, 1, 0)
    # In the first half every real scores 0.9 and every fake 0.1, so no threshold calls anything fake.
    assert found["refit_real_fake"] == found["refit_fake_fake"] == 0


def test_origins_use_the_second_half(found):
    # It contains about 80 of the 160 groups, half of them from each origin.
    assert set(found["origins"]) == {"here", "there"}
    assert (
        sum(each["crops"] for each in found["origins"].values())
        == second_half([f"g{at}" for at in range(160)]).sum()
    )


def test_a_group_with_many_crops_counts_once(unseen):
    labels = np.array([1] * 9 + [1, 0])
    voted = mean_votes(labels, np.array([0.1] * 9 + [0.9, 0.5]), ["many"] * 9 + ["one", "real"])
    found = unseen.auc_of_votes(voted)
    assert found.value == 0.5
    assert (found.n, found.groups) == (3, 3)


def test_the_interval_is_by_group(unseen):
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 40)
    scores = np.clip(labels * 0.3 + rng.uniform(0, 0.7, 80), 0, 1)
    alone = unseen.auc_of_votes(GroupVotes(labels, scores, tuple(map(str, range(80)))))
    together = unseen.auc_of_votes(GroupVotes(labels, scores, tuple(str(at // 20) for at in range(80))))
    assert alone.value == together.value
    assert alone.interval.low < alone.value < alone.interval.high
    assert alone.interval != together.interval


def test_shares_are_computed_per_label(unseen):
    voted = GroupVotes(
        np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0.1, 0.5, 0.79, 0.8, 0.1, 0.5, 0.9]), ("g",) * 7
    )
    shares = unseen.verdict_shares(voted, BAND)
    assert shares["real_fake"] == pytest.approx(1 / 4)
    assert shares["fake_fake"] == pytest.approx(1 / 3)
    assert shares["fake_no_evidence"] == pytest.approx(1 / 3)


def test_a_label_without_votes_has_no_share(unseen):
    shares = unseen.verdict_shares(GroupVotes(np.array([0]), np.array([0.9]), ("g",)), BAND)
    assert shares["real_fake"] == 1
    assert np.isnan(shares["fake_fake"])


def test_origins_with_few_crops_are_left_out(unseen):
    crops = _crops(range(5), [0] * 5, [""] * 5, "aaabb")
    scores = np.array([0.9, 0.1, 0.1, 0.9, 0.9])
    found = unseen.by_origin(crops, scores, BAND, np.arange(5), least=3)
    assert set(found) == {"a"}
    assert found["a"]["crops"] == 3
    assert found["a"]["real_fake"] == pytest.approx(1 / 3)
    assert set(unseen.by_origin(crops, scores, BAND, np.array([1, 3, 4]), least=2)) == {"b"}
