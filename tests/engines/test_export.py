"""Export to ONNX: the parity check, the free batch, metadata and operators; the golden input."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import deepscan
from deepscan.crop_recipe import CropRecipe
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Network
from deepscan.detectors.preprocess import CropPreprocessor, normalised
from deepscan.detectors.weights import round_weights
from deepscan.engines import export
from deepscan.engines.export import TOLERANCE, export_onnx
from deepscan.engines.golden import COUNT, golden_crops
from deepscan.errors import ContractError, UsageError
from deepscan.onnx_session import open_session
from tests.backbones.tiny import TINY as BACKBONES
from tests.detectors.tiny import TINY
from tests.engines.running import assert_matches_torch, engine
from tests.tiny import pictures, recipe_of, trained

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
#: Operators that both runtimes support: those in the table of TensorRT's ONNX parser (onnx-tensorrt,
#: docs/operators.md, TensorRT 10.15) without those whose shapes or control flow depend on the data. A test
#: below checks the table's restrictions.
# fmt: off
OPERATORS = frozenset((
    "Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "Conv", "Cos", "CumSum", "Div", "Equal", "Erf", "Exp",
    "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
    "GlobalAveragePool", "Greater", "GreaterOrEqual", "Identity", "IsNaN", "LayerNormalization", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mod", "Mul", "Neg",
    "Not", "Or", "Pad", "Pow", "Range", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "ScatterElements",
    "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Split",
    "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where",
    "Xor",
))
# fmt: on


@pytest.fixture(scope="session")
def graph(published):
    return onnx.load(published.card.path("onnx"))


def attributes(node):
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_batch_matches_torch(published, count):
    running = engine(published.card, "onnx")
    expected = assert_matches_torch(running, published, count, atol=2e-5)
    assert [node.name for node in running._session.get_inputs()] == list(published.network.inputs)
    if "depth" in expected and count > 2:
        assert len(set(expected["depth"].tolist())) == 2, "some crops must exit and some stay"


def test_the_gate_crops_include_ones_that_exit_and_ones_that_stay():
    network = trained("dfd-hr")
    crops = torch.from_numpy(
        recipe_of("dfd-hr", network).make_preprocessor()(golden_crops(network.side))["crops"]
    )
    routed = network.predict(crops=crops)
    assert len(set(routed["depth"].tolist())) == 2
    with torch.no_grad():
        network.branch.layer_judges["1"].bias.fill_(1000)
    change = network.predict(crops=crops)["probability"] - routed["probability"]
    # A graph in which no crop exits, or every crop, would fail the check.
    assert change.abs().max() > 10 * TOLERANCE


def test_a_graph_uses_only_operators_that_both_runtimes_support(graph):
    assert {node.op_type for node in graph.graph.node} <= OPERATORS
    assert {node.domain for node in graph.graph.node} == {""}, "no runtime's custom operators"
    assert not graph.functions
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", export.OPSET)]


def test_a_graph_keeps_tensorrts_restrictions_on_operators(graph):
    constants = {tensor.name for tensor in graph.graph.initializer}
    constants |= {node.output[0] for node in graph.graph.node if node.op_type == "Constant"}
    for node in graph.graph.node:
        settings = attributes(node)
        if node.op_type == "TopK":
            assert node.input[1] in constants, "the count must be constant"
            assert settings.get("sorted", 1) == 1
        elif node.op_type == "Resize":
            assert settings.get("mode", b"nearest") in (b"nearest", b"linear")
            assert not settings.get("antialias", 0)
        elif node.op_type == "LayerNormalization":
            assert len(node.output) == 1
        elif node.op_type == "ScatterND":
            assert settings.get("reduction", b"none") == b"none"
        elif node.op_type.startswith("Reduce"):
            assert len(node.input) == 1 or node.input[1] in constants


def test_the_files_metadata_describe_it(published, graph):
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert metadata["model"] == metadata["method"] == published.card.method
    assert metadata["weights_sha256"] == published.card.files["torch"].sha256
    assert metadata["torch"] == torch.__version__
    assert float(metadata["parity_tolerance"]) == TOLERANCE
    assert float(metadata["parity_probability"]) < TOLERANCE
    assert int(metadata["parity_samples"]) > COUNT
    with torch.no_grad():
        explanation = published.network.predict(**published.given(pictures(1, published.network.side)))
    assert {f"parity_{name}" for name in explanation} <= set(metadata)
    assert metadata.get("note", "") == published.network.export_note


def test_the_file_contains_no_paths_of_the_machine(published):
    content = published.card.path("onnx").read_bytes()
    for folder in (Path(deepscan.__file__).parent, Path(torch.__file__).parent):
        assert str(folder).encode() not in content
    assert b"stack_trace" not in content


class Shifting(Network):
    """A network whose outputs change after the export."""

    export_note = "a note"

    def __init__(self, probability=0.0, explanation=0.0, share=0.0):
        super().__init__()
        self.change = {"probability": probability, "map": explanation}
        self.share, self.exported = share, False

    def predict(self, crops):
        means = crops.mean(dim=(1, 2, 3))
        outputs = {"probability": torch.sigmoid(means), "map": crops.mean(dim=1).flatten(1)[:, None]}
        if self.exported:
            outputs["probability"] = outputs["probability"] + self.change["probability"]
            changed = torch.arange(outputs["map"].shape[2]) < self.share * outputs["map"].shape[2]
            outputs["map"] = outputs["map"] + self.change["map"] * changed
        return outputs


def export_shifting(path, monkeypatch, **change):
    """Export a network whose outputs change between the export and the comparison."""
    network = Shifting(**change)
    write = export._write

    def write_and_shift(*arguments):
        write(*arguments)
        network.exported = True

    monkeypatch.setattr(export, "_write", write_and_shift)
    inputs = CropPreprocessor(CropRecipe(side=16), MEAN, STD)
    return export_onnx(network, path, inputs=inputs, metadata={})


@pytest.mark.slow
def test_the_check_passes_outputs_within_the_tolerance(tmp_path, monkeypatch):
    change = {"probability": TOLERANCE / 2, "explanation": 1, "share": 0.007}
    parity = export_shifting(tmp_path / "model.onnx", monkeypatch, **change)
    assert parity.probability == pytest.approx(TOLERANCE / 2, rel=0.01)
    assert 0 < parity.explanation["map"] < export.TIES
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"probability": 2 * TOLERANCE},
        {"probability": float("nan")},
        {"explanation": 1, "share": 0.02},
        {"explanation": float("nan"), "share": 1},
    ],
    ids=str,
)
def test_the_check_refuses_outputs_that_differ(tmp_path, monkeypatch, change):
    with pytest.raises(ContractError, match="differs from its network"):
        export_shifting(tmp_path / "model.onnx", monkeypatch, **change)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_check_refuses_nan_for_a_single_crop(tmp_path, monkeypatch):
    differences = export._differences

    def nan_for_one(expected, actual):
        result = differences(expected, actual)
        return {**result, "probability": float("nan")} if len(actual["probability"]) == 1 else result

    monkeypatch.setattr(export, "_differences", nan_for_one)
    with pytest.raises(ContractError, match="probability by nan"):
        export_shifting(tmp_path / "model.onnx", monkeypatch)


@pytest.mark.slow
def test_pe_cores_interleaved_positions_and_pool_can_be_exported(tmp_path):
    """The tiny networks of the methods have neither."""
    backbone = BACKBONES["pe-core-vit-l14"]
    network = DETECTORS.get("gend")().build({"backbone": backbone, "tuning": {"type": "norm"}})
    torch.manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            # Random biases would dominate the crops.
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) * 0.3)
    inputs, path = CropPreprocessor(CropRecipe(side=backbone["side"]), MEAN, STD), tmp_path / "model.onnx"
    assert export_onnx(network, path, inputs=inputs, metadata={}).probability < TOLERANCE
    assert {node.op_type for node in onnx.load(path).graph.node} <= OPERATORS
    scores = network.predict(crops=torch.from_numpy(inputs(golden_crops(42))["crops"]))["probability"]
    # Scores that hardly differ would pass with any error.
    assert scores.max() - scores.min() > 0.1


@pytest.mark.slow
def test_kernels_are_stored_in_16_bits_if_that_is_exact_with_the_same_scores(tmp_path):
    """Kernels with folded norms are not exact in half precision, so their factors are stored separately."""
    network = DETECTORS.get("fft")().build(
        {"backbone": {"name": "convnet", "side": 32, "channels": [16, 32], "pairs": [0, 1]}}
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.1 if "var" in name else torch.randn_like(value) * 0.3)
    round_weights(network)
    inputs = CropPreprocessor(CropRecipe(side=32), MEAN, STD)
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    export_onnx(network, full, inputs=inputs, metadata={})
    export_onnx(network, half, inputs=inputs, metadata={}, half=True)
    stored = onnx.load(half).graph
    halves = [tensor for tensor in stored.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    # The convolutions' kernels and the head's matrix.
    assert len(halves) == len([node for node in stored.node if node.op_type == "Conv"]) + 1 == 5
    assert half.stat().st_size < 0.75 * full.stat().st_size
    assert {node.op_type for node in stored.node} <= OPERATORS
    crops = {"crops": inputs(pictures(4, 32))["crops"]}
    scores = [open_session(path).run(["probability"], crops)[0] for path in (full, half)]
    np.testing.assert_allclose(scores[1], scores[0], atol=2e-6)
    assert scores[0].std() > 1e-3


def test_a_network_too_large_for_an_onnx_file_is_refused_before_the_export(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST", 1000)
    network = DETECTORS.get("qtfp")().build(TINY["qtfp"])
    inputs = CropPreprocessor(CropRecipe(side=32), MEAN, STD)
    with pytest.raises(UsageError, match="an ONNX file holds at most 2"):
        export_onnx(network, tmp_path / "m.onnx", inputs=inputs, metadata={})
    assert not list(tmp_path.iterdir())


def test_golden_crops_never_change():
    crops = golden_crops(32)
    assert crops.shape == (COUNT, 32, 32, 3)
    assert crops.dtype == np.uint8
    # By hand from the formula: phase 0 at the origin; plus 3 for each pixel to the right in the first crop,
    # where x * y // 16 is 0 in the first row; plus 90 for each channel; plus 40 for each crop.
    assert crops[0, 0, :3, 0].tolist() == [255, 252, 249]
    assert crops[0, 0, 0].tolist() == [255, 165, 75]
    assert crops[:, 0, 0, 0].tolist() == [255, 215, 175, 135]
    assert crops[1, 16, 16, 0] == abs((4 * (48 + 32) + 32 + 40) % 510 - 255)


def test_golden_crops_go_from_coarse_to_fine():
    steps = np.abs(np.diff(golden_crops(64).astype(int), axis=2)).mean(axis=(1, 2, 3))
    assert (np.diff(steps) > 0).all()


def test_normalisation_matches_its_formula():
    crops = np.array([[[[0, 255, 51]]]], np.uint8)
    values = normalised(crops, MEAN, STD)
    assert values.shape == (1, 3, 1, 1)
    assert values.dtype == np.float32
    expected = (np.array([0, 1, 0.2]) - MEAN) / STD
    # float32 arithmetic on values of order 3.
    np.testing.assert_allclose(values.ravel(), expected, atol=1e-6)
