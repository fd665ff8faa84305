"""The engine and precision that run a model; nothing is loaded to choose them."""

import dataclasses
from pathlib import Path

import pytest

from deepscan.cards import ModelCard, ModelFile, Rounding
from deepscan.crop_recipe import CropRecipe
from deepscan.engines import ENGINES
from deepscan.engines.scorer import Scorer
from deepscan.engines.selection import (
    LARGEST,
    LOST,
    MEAN,
    SAMPLES,
    select_engine,
    select_precision,
    too_coarse,
)
from deepscan.errors import MissingError, UsageError
from deepscan.models.lookup import DEFAULT_MODEL, load_card


def card(tmp_path, *kinds):
    files = {kind: ModelFile(f"{kind}.bin", "00") for kind in kinds}
    return ModelCard(tmp_path, "toy", "qtfp", "a toy", "MIT", files, crop=CropRecipe(side=64))


@pytest.mark.parametrize(
    ("kinds", "asked", "engine"),
    [
        (("onnx", "torch"), {}, "onnx"),
        (("torch",), {}, "torch"),
        (("torch",), {"engine": "torch-compile"}, "torch-compile"),
        (("torch",), {"engine": "torch-compile", "precision": "bf16"}, "torch-compile"),
        (("onnx",), {"engine": "torch-compile"}, None),
        (("onnx",), {"engine": "tensorrt"}, "tensorrt"),
        (("onnx",), {"engine": "tensorrt", "precision": "fp16"}, "tensorrt"),
        (("torch",), {"engine": "tensorrt"}, None),
        (("onnx", "torch"), {"precision": "bf16"}, "torch"),
        (("onnx",), {"precision": "bf16"}, None),
        # TensorRT has it, and builds for minutes: only ever by name.
        (("onnx",), {"precision": "fp16"}, None),
        (("onnx", "onnx-int8"), {"precision": "int8"}, "onnx"),
        (("onnx", "torch"), {"precision": "int8"}, None),
        (("onnx", "onnx-int8"), {"engine": "torch", "precision": "int8"}, None),
        ((), {}, None),
    ],
)
def test_the_engine_is_the_first_that_has_a_file_in_that_precision(kinds, asked, engine, tmp_path):
    assert select_engine(card(tmp_path, *kinds), **asked) == engine


def test_an_engine_that_is_unknown_is_told(tmp_path):
    with pytest.raises(UsageError, match="unknown engine"):
        select_engine(card(tmp_path, "onnx"), "onxx")


@pytest.mark.parametrize("name", ENGINES.names)
def test_an_engine_offers_the_precisions_that_it_states(name, tmp_path):
    """One that it states fails at the file or the device, another at itself."""
    offered = ENGINES.get(name)
    assert {"fp32"} < set(offered.files)
    with pytest.raises(UsageError, match="has no precision 'fp8'") as raised:
        offered(card(tmp_path), device="auto", precision="fp8", threads=1)
    assert raised.value.hint == f"choose from: {', '.join(offered.files)}"


def test_a_scorer_takes_the_same_engine(tmp_path):
    """What has no file for it in any precision, and what an engine does not have, are told apart."""
    with pytest.raises(MissingError, match="no file that an engine runs"):
        Scorer(card(tmp_path))
    with pytest.raises(UsageError, match="the onnx engine has no precision 'bf16'"):
        Scorer(card(tmp_path, "onnx"), precision="bf16")
    embedded = load_card(DEFAULT_MODEL)
    assert {"onnx", "torch"} <= set(embedded.files)
    assert Scorer(embedded, precision="bf16", device="cpu").engine.name == "torch"


NEAR = Rounding(MEAN, LARGEST, SAMPLES, "crops", LOST)


def rounded_card(rounding=None, file=True):
    files = {"onnx": ModelFile("model.onnx", "0"), **({"onnx-int8": ModelFile("8", "0")} if file else {})}
    rounded = {} if rounding is None else {"onnx-int8": rounding}
    return ModelCard(Path(), "made", "fft", "", "Apache-2.0", files, rounding=rounded)


def test_what_is_just_near_enough_is_taken_on_a_cpu_alone():
    assert select_precision(rounded_card(NEAR), "onnx", "cpu")[0] == "int8"
    assert select_precision(rounded_card(NEAR), "onnx", "cuda")[0] == "fp32"
    assert select_precision(rounded_card(NEAR), "torch", "cpu")[0] == "fp32"
    assert (
        select_precision(rounded_card(dataclasses.replace(NEAR, auc_lost=None)), "onnx", "cpu")[0] == "int8"
    )


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
    precision, why = select_precision(rounded_card(rounding), "onnx", "cpu")
    assert precision == "fp32"
    assert why == f"in int8 {too_coarse(rounding)}"


def test_a_file_of_which_nothing_was_measured_is_not_taken():
    assert select_precision(rounded_card(), "onnx", "cpu") == (
        "fp32",
        "its card does not say how far int8 moves its scores",
    )
    assert select_precision(rounded_card(NEAR, file=False), "onnx", "cpu") == (
        "fp32",
        "the model has no int8 file",
    )


@pytest.mark.parametrize("wrong", [{"mean": 0.3}, {"largest": 1.1}, {"samples": 0}, {"mean": float("nan")}])
def test_differences_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="in the mean"):
        dataclasses.replace(NEAR, **wrong)
