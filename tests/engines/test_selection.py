"""Which engine runs a model for what is asked: by its files and the engines' precisions, nothing loaded."""

import pytest

from deepscan.cards import ModelCard, ModelFile
from deepscan.crop_recipe import CropRecipe
from deepscan.engines import ENGINES
from deepscan.engines.scorer import Scorer
from deepscan.engines.selection import engine_for
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
    assert engine_for(card(tmp_path, *kinds), **asked) == engine


def test_an_engine_that_is_unknown_is_told(tmp_path):
    with pytest.raises(UsageError, match="unknown engine"):
        engine_for(card(tmp_path, "onnx"), "onxx")


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
    assert {"onnx", "torch"} < set(embedded.files)
    assert Scorer(embedded, precision="bf16", device="cpu").engine.name == "torch"
