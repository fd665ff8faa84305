"""Test how a model is rated by its own card: near chance, good, or not measured on videos."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepscan.cards import ModelCard
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.scanning.strength import cautions, lowest_auc, without_vote
from tests.scanning.test_aggregation import CALIBRATION


def auc(value, data="clips", level="video", **more):
    return {"metric": "auc", "value": value, "data": data, "level": level, **more}


def card(name, *results, calibration=CALIBRATION):
    return ModelCard(Path(), name, "fft", "", "MIT", {}, results=results, calibration=calibration)


GOOD, WEAK = card("good", auc(0.8)), card("weak", auc(0.9, "home"), auc(0.52))


def test_the_lowest_auc_counts_but_not_one_on_a_single_kind_of_fakes():
    assert lowest_auc(WEAK) == (0.52, "clips")
    assert lowest_auc(card("a", auc(0.8), auc(0.3, kind="swap"))) == (0.8, "clips")
    assert lowest_auc(card("a", {"metric": "accuracy", "value": 0.5, "data": "clips"})) is None


@pytest.mark.parametrize(
    ("cards", "mute"),
    [
        ([GOOD, WEAK], {"weak"}),
        ([WEAK], set()),
        ([WEAK, replace(WEAK, name="too")], set()),
        ([card("fair", auc(0.64)), WEAK], set()),
        ([card("unknown"), WEAK], set()),
        ([card("raw", auc(0.9), calibration=None), WEAK], set()),
        ([GOOD, card("fair", auc(0.6))], set()),
        ([GOOD, card("unknown")], set()),
    ],
    ids=[
        "with good",
        "alone",
        "both weak",
        "with fair",
        "with unknown",
        "with uncalibrated",
        "fair",
        "unknown",
    ],
)
def test_a_weak_model_has_no_vote_next_to_a_good_one_that_votes(cards, mute):
    assert without_vote(cards).keys() == mute
    assert without_vote(reversed(cards)).keys() == mute


def test_the_reason_has_the_auc_and_its_data():
    assert without_vote([GOOD, WEAK]) == {"weak": "near chance by its own card: AUC 0.52 on clips"}


def test_a_card_without_figures_on_videos_is_reported():
    assert cautions(GOOD) == []
    assert cautions(card("a")) == ["its card reports no AUC, so its accuracy is unknown"]
    assert cautions(card("a", auc(0.9, "home", level="frame"))) == [
        "its card has no figures on whole videos, only on single faces: home"
    ]
    assert cautions(WEAK) == ["near chance by its own card: AUC 0.52 on clips"]


def test_the_embedded_model_has_figures_on_videos():
    assert not any("no figures" in line for line in cautions(load_card(DEFAULT_MODEL)))
