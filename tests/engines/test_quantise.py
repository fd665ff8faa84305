"""A model in 8 bits: close to the original, and independent of the batch."""

import dataclasses
from shutil import copytree

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper

from deepscan.cards import Calibration, ModelFile, sha256_of, write_card
from deepscan.crop_recipe import CropRecipe
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.engines import quantise as module
from deepscan.engines.quantise import quantise
from deepscan.engines.rounding import measure_rounding
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.models.lookup import load_card
from tests.engines.running import engine
from tests.tiny import pictures


@pytest.fixture(scope="module")
def small(published, tmp_path_factory):
    """A model of each method with an 8-bit file."""
    folder = tmp_path_factory.mktemp("small") / published.card.method
    card = load_card(copytree(published.card.folder, folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEAST", 64)
        file = quantise(card, published.inputs, pictures(32, published.network.side))
    write_card(dataclasses.replace(card, files={**card.files, "onnx-int8": file}))
    return load_card(folder)


def test_scores_are_close_but_not_equal(small, published):
    crops = pictures(16, published.network.side, seed=9)
    exact, coarse = (
        Scorer(small, engine="onnx", device="cpu", precision=precision).score(crops)
        for precision in ("fp32", "int8")
    )
    # A weight's 7 bits are within 1/128 of its channel's largest; in random networks such errors add up.
    assert np.abs(coarse - exact).mean() < 0.1
    assert (coarse != exact).any()
    graph = onnx.load(small.path("onnx-int8")).graph
    assert any(node.op_type == "DequantizeLinear" for node in graph.node)


def test_small_layers_stay_in_float32(small, published, monkeypatch):
    graph = onnx.load(small.path("onnx-int8")).graph
    kernels = {tensor.name: tensor for tensor in graph.initializer}
    rounded = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"} & set(kernels)
    sizes = [np.prod(kernels[name].dims) for name in rounded if len(kernels[name].dims) > 1]
    assert sizes
    assert min(sizes) >= 64
    monkeypatch.setattr(module, "LEAST", 10**9)
    with pytest.raises(UsageError, match="no layer"):
        quantise(small, published.inputs, pictures(4, published.network.side))


class _Mobile(torch.nn.Module):
    """A depthwise convolution between two pointwise ones, as in EfficientNet-Lite."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 1)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)

    def forward(self, crops):
        x = F.relu6(self.first(crops))
        return (x + self.last(F.relu6(self.depthwise(x)))).mean((1, 2, 3)).sigmoid()


@pytest.mark.slow
def test_a_network_with_depthwise_convolutions_is_quantised_after_its_first_layers(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LEAST", 64)
    # The network's first layer has 24 weights.
    monkeypatch.setattr(module, "FIRST", 25)
    torch.manual_seed(0)
    crops = torch.zeros(2, 3, 32, 32)
    program = torch.onnx.export(
        _Mobile().eval(),
        (crops,),
        input_names=["crops"],
        output_names=["probability"],
        dynamic_shapes={"crops": {0: torch.export.Dim("batch")}},
        dynamo=True,
    )
    program.save(tmp_path / "model.onnx")
    files = {"onnx": ModelFile("model.onnx", sha256_of(tmp_path / "model.onnx"))}
    card = dataclasses.replace(load_card("convnet"), folder=tmp_path, files=files)
    preprocess = make_preprocessor({}, CropRecipe(side=32), (0.5,) * 3, (0.5,) * 3)
    file = quantise(card, preprocess, pictures(16, 32))
    graph = onnx.load(tmp_path / file.path).graph
    levels = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    largest = {
        name.partition(".")[0]: int(np.abs(value.astype(int)).max())
        for name, value in levels.items()
        if value.dtype == np.int8 and value.ndim == 4
    }
    # The first stays in float32; neighbours in a pointwise kernel share the range of 16 bits.
    assert set(largest) == {"depthwise", "last"}
    assert largest["depthwise"] == 127
    assert 64 <= largest["last"] <= 127
    # The inputs of additions are in 8 bits too.
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert all(name in dequantised for node in graph.node if node.op_type == "Add" for name in node.input)


def test_a_score_does_not_depend_on_the_rest_of_its_batch(small, published):
    crops = pictures(4, published.network.side, seed=5)
    scorer = Scorer(small, engine="onnx", device="cpu", precision="int8")
    alone = np.concatenate([scorer.score(crop[None]) for crop in crops])
    # Integer sums are exact. Float32 sums depend on the batch's order of summation, which may move a value to
    # the next of 256 steps.
    np.testing.assert_allclose(scorer.score(crops), alone, atol=2e-3)


def test_its_own_golden_score_is_checked(small):
    own = small.files["onnx-int8"]
    wrong = dataclasses.replace(own, golden=own.golden + (0.3 if own.golden < 0.5 else -0.3))
    card = dataclasses.replace(small, files={**small.files, "onnx-int8": wrong})
    with pytest.raises(ContractError, match="golden"):
        Scorer(card, engine="onnx", device="cpu", precision="int8")


def test_a_missing_8_bit_file_is_an_error(published):
    with pytest.raises(MissingError, match="no onnx-int8 file"):
        engine(published.card, "onnx", precision="int8")


def test_rounding_is_measured_on_calibrated_scores(small, published):
    crops, rows = pictures(8, published.network.side, seed=4), np.arange(8)
    arguments = {"engine": "onnx", "precision": "int8", "data": "made"}
    raw = measure_rounding(dataclasses.replace(small, calibration=None), crops, rows, **arguments)
    calibration = Calibration("frame", "made", 8, "made", 10.0, 0.4, 0.6)
    calibrated = measure_rounding(
        dataclasses.replace(small, calibration=calibration), crops, rows, **arguments
    )
    # The temperature divides logits by 10, and so differences near 0.5; elsewhere they shrink less.
    assert 0 < calibrated.mean < raw.mean
