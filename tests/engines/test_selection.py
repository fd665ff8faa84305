"""Choosing a model's engine and precision, without loading anything."""

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
    ("kinds", "options", "engine"),
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
        # TensorRT supports it, but builds for minutes, so it must be named.
        (("onnx",), {"precision": "fp16"}, None),
        (("onnx", "onnx-int8"), {"precision": "int8"}, "onnx"),
        (("onnx", "torch"), {"precision": "int8"}, None),
        (("onnx", "onnx-int8"), {"engine": "torch", "precision": "int8"}, None),
        ((), {}, None),
    ],
)
def test_the_engine_is_the_first_that_has_a_file_in_that_precision(kinds, options, engine, tmp_path):
    assert select_engine(card(tmp_path, *kinds), **options) == engine


def test_an_unknown_engine_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown engine"):
        select_engine(card(tmp_path, "onnx"), "onxx")


@pytest.mark.parametrize("name", ENGINES.names)
def test_an_unsupported_precision_is_refused_with_the_supported_ones(name, tmp_path):
    engine = ENGINES.get(name)
    assert {"fp32"} < set(engine.files)
    with pytest.raises(UsageError, match="has no precision 'fp8'") as raised:
        engine(card(tmp_path), device="auto", precision="fp8", threads=1)
    assert raised.value.hint == f"choose from: {', '.join(engine.files)}"


def test_a_scorer_uses_the_same_engine(tmp_path):
    """A model without any file and an unsupported precision have different errors."""
    with pytest.raises(MissingError, match="no file that an engine can run"):
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


def test_a_precision_at_the_limits_is_used_only_on_a_cpu():
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
def test_a_precision_that_fails_one_condition_is_not_used_and_the_reason_given(changed):
    rounding = dataclasses.replace(NEAR, **changed)
    precision, reason = select_precision(rounded_card(rounding), "onnx", "cpu")
    assert precision == "fp32"
    assert reason == f"in int8 {too_coarse(rounding)}"


def test_a_file_without_a_measured_rounding_is_not_used():
    assert select_precision(rounded_card(), "onnx", "cpu") == (
        "fp32",
        "its card does not say how far int8 moves its scores",
    )
    assert select_precision(rounded_card(NEAR, file=False), "onnx", "cpu") == (
        "fp32",
        "the model has no int8 file",
    )


@pytest.mark.parametrize("wrong", [{"mean": 0.3}, {"largest": 1.1}, {"samples": 0}, {"mean": float("nan")}])
def test_impossible_differences_are_refused(wrong):
    with pytest.raises(ValueError, match="not possible"):
        dataclasses.replace(NEAR, **wrong)
