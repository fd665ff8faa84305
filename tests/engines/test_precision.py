"""What `auto` takes: a quicker precision only where the card shows that it is near enough."""

import dataclasses
from pathlib import Path

import pytest

from deepscan.cards import ModelCard, ModelFile, Rounding
from deepscan.engines.precision import LARGEST, LOST, MEAN, SAMPLES, choose, too_coarse

NEAR = Rounding(MEAN, LARGEST, SAMPLES, "crops", LOST)


def card(rounding=None, file=True):
    files = {"onnx": ModelFile("model.onnx", "0"), **({"onnx-int8": ModelFile("8", "0")} if file else {})}
    rounded = {} if rounding is None else {"onnx-int8": rounding}
    return ModelCard(Path(), "made", "fft", "", "Apache-2.0", files, rounding=rounded)


def test_what_is_just_near_enough_is_taken_on_a_cpu_alone():
    assert choose(card(NEAR), "onnx", "cpu")[0] == "int8"
    assert choose(card(NEAR), "onnx", "cuda")[0] == "fp32"
    assert choose(card(NEAR), "torch", "cpu")[0] == "fp32"
    assert choose(card(dataclasses.replace(NEAR, auc_lost=None)), "onnx", "cpu")[0] == "int8"


@pytest.mark.parametrize(
    "changed",
    [
        {"mean": MEAN * 1.01},
        {"largest": LARGEST * 1.01},
        {"samples": SAMPLES - 1},
        {"auc_lost": LOST * 1.01},
    ],
)
def test_what_breaks_one_part_of_the_rule_is_not_taken_and_why_is_told(changed):
    rounding = dataclasses.replace(NEAR, **changed)
    precision, why = choose(card(rounding), "onnx", "cpu")
    assert precision == "fp32"
    assert why == f"in int8 {too_coarse(rounding)}"


def test_a_file_of_which_nothing_was_measured_is_not_taken():
    assert choose(card(), "onnx", "cpu") == ("fp32", "its card does not say how far int8 moves its scores")
    assert choose(card(NEAR, file=False), "onnx", "cpu") == ("fp32", "the model has no int8 file")


@pytest.mark.parametrize("wrong", [{"mean": 0.3}, {"largest": 1.1}, {"samples": 0}, {"mean": float("nan")}])
def test_differences_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="in the mean"):
        dataclasses.replace(NEAR, **wrong)
