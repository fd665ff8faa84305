"""Export to ONNX: the gate, the free batch, what a file says of itself and is made of; the golden input."""

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
from tests.engines.running import engine, gives_what_the_network_gives
from tests.tiny import pictures, recipe_of, trained

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
#: What both runtimes take: all are in the operator table of TensorRT's ONNX parser (onnx-tensorrt,
#: docs/operators.md, of TensorRT 10.15), less those whose shapes or course hang on the data. A test below
#: checks what the table asks of some.
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
def test_any_batch_gives_what_torch_gives(published, count):
    running = engine(published.card, "onnx")
    expected = gives_what_the_network_gives(running, published, count, atol=2e-5)
    assert [taken.name for taken in running._session.get_inputs()] == list(published.network.inputs)
    if "depth" in expected and count > 2:
        assert len(set(expected["depth"].tolist())) == 2, "some leave and some stay"


def test_the_gate_sees_crops_that_leave_and_crops_that_stay():
    network = trained("dfd-hr")
    made = recipe_of("dfd-hr", network).make_preprocessor()(golden_crops(network.side))
    routed = network.predict(crops=torch.from_numpy(made["crops"]))
    assert len(set(routed["depth"].tolist())) == 2
    with torch.no_grad():
        network.branch.layer_judges["1"].bias.fill_(1000)
    moved = network.predict(crops=torch.from_numpy(made["crops"]))["probability"] - routed["probability"]
    # A graph that let nobody go, or everybody, would not pass.
    assert moved.abs().max() > 10 * TOLERANCE


def test_a_graph_is_made_of_what_both_runtimes_take(graph):
    assert {node.op_type for node in graph.graph.node} <= OPERATORS
    assert {node.domain for node in graph.graph.node} == {""}, "no operator of one runtime's own"
    assert not graph.functions
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", export.OPSET)]


def test_a_graph_keeps_what_tensorrt_asks_of_some_operators(graph):
    constants = {tensor.name for tensor in graph.graph.initializer}
    constants |= {node.output[0] for node in graph.graph.node if node.op_type == "Constant"}
    for node in graph.graph.node:
        stated = attributes(node)
        if node.op_type == "TopK":
            assert node.input[1] in constants, "as many as are known beforehand"
            assert stated.get("sorted", 1) == 1
        elif node.op_type == "Resize":
            assert stated.get("mode", b"nearest") in (b"nearest", b"linear")
            assert not stated.get("antialias", 0)
        elif node.op_type == "LayerNormalization":
            assert len(node.output) == 1
        elif node.op_type == "ScatterND":
            assert stated.get("reduction", b"none") == b"none"
        elif node.op_type.startswith("Reduce"):
            assert len(node.input) == 1 or node.input[1] in constants


def test_the_file_states_what_it_is(published, graph):
    stated = {entry.key: entry.value for entry in graph.metadata_props}
    assert stated["model"] == stated["method"] == published.card.method
    assert stated["weights_sha256"] == published.card.files["torch"].sha256
    assert stated["torch"] == torch.__version__
    assert float(stated["parity_tolerance"]) == TOLERANCE
    assert float(stated["parity_probability"]) < TOLERANCE
    assert int(stated["parity_samples"]) > COUNT
    with torch.no_grad():
        explanation = published.network.predict(**published.given(pictures(1, published.network.side)))
    assert {f"parity_{name}" for name in explanation} <= set(stated)
    assert stated.get("note", "") == published.network.export_note


def test_the_file_says_nothing_of_the_machine_that_made_it(published):
    content = published.card.path("onnx").read_bytes()
    for place in (Path(deepscan.__file__).parent, Path(torch.__file__).parent):
        assert str(place).encode() not in content
    assert b"stack_trace" not in content


class Told(Network):
    """Says what it is told, and after the export something else."""

    export_note = "told"

    def __init__(self, probability=0.0, explanation=0.0, share=0.0):
        super().__init__()
        self.moved = {"probability": probability, "map": explanation}
        self.share, self.exported = share, False

    def predict(self, crops):
        means = crops.mean(dim=(1, 2, 3))
        outputs = {"probability": torch.sigmoid(means), "map": crops.mean(dim=1).flatten(1)[:, None]}
        if self.exported:
            outputs["probability"] = outputs["probability"] + self.moved["probability"]
            some = torch.arange(outputs["map"].shape[2]) < self.share * outputs["map"].shape[2]
            outputs["map"] = outputs["map"] + self.moved["map"] * some
        return outputs


def told(path, monkeypatch, **moved):
    """Export a network that moves its outputs between the export and the comparison."""
    network = Told(**moved)
    write = export._write

    def written(*arguments):
        write(*arguments)
        network.exported = True

    monkeypatch.setattr(export, "_write", written)
    inputs = CropPreprocessor(CropRecipe(side=16), MEAN, STD)
    return export_onnx(network, path, inputs=inputs, metadata={})


def test_the_gate_lets_pass_what_agrees(tmp_path, monkeypatch):
    parity = told(tmp_path / "model.onnx", monkeypatch, probability=TOLERANCE / 2, explanation=1, share=0.007)
    assert parity.probability == pytest.approx(TOLERANCE / 2, rel=0.01)
    assert 0 < parity.explanation["map"] < export.TIES
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    "moved",
    [
        {"probability": 2 * TOLERANCE},
        {"probability": float("nan")},
        {"explanation": 1, "share": 0.02},
        {"explanation": float("nan"), "share": 1},
    ],
    ids=str,
)
def test_the_gate_holds_up_what_differs(tmp_path, monkeypatch, moved):
    with pytest.raises(ContractError, match="differs from its network"):
        told(tmp_path / "model.onnx", monkeypatch, **moved)
    assert not list(tmp_path.iterdir())


def test_the_gate_holds_up_what_is_no_number_for_one_crop_alone(tmp_path, monkeypatch):
    differences = export._differences

    def alone(expected, found):
        told = differences(expected, found)
        return {**told, "probability": float("nan")} if len(found["probability"]) == 1 else told

    monkeypatch.setattr(export, "_differences", alone)
    with pytest.raises(ContractError, match="probability by nan"):
        told(tmp_path / "model.onnx", monkeypatch)


def test_a_backbone_with_neighbours_turned_and_a_pool_passes_the_gate(tmp_path):
    """PE Core: no method's smallest network has its positions and its pool."""
    backbone = BACKBONES["pe-core-vit-l14"]
    network = DETECTORS.get("gend")().build({"backbone": backbone, "tuning": {"type": "norm"}})
    torch.manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            # Random biases would outweigh the crops.
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) * 0.3)
    inputs, path = CropPreprocessor(CropRecipe(side=backbone["side"]), MEAN, STD), tmp_path / "model.onnx"
    assert export_onnx(network, path, inputs=inputs, metadata={}).probability < TOLERANCE
    assert {node.op_type for node in onnx.load(path).graph.node} <= OPERATORS
    scores = network.predict(crops=torch.from_numpy(inputs(golden_crops(42))["crops"]))["probability"]
    # Scores that hardly differ would pass whatever was wrong.
    assert scores.max() - scores.min() > 0.1


def test_kernels_that_16_bits_hold_take_16_bits_in_the_file_and_give_the_same_scores(tmp_path):
    """Norms are folded into kernels, which half precision no longer holds: factors and kernels lie apart."""
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
    wide, narrow = tmp_path / "wide.onnx", tmp_path / "narrow.onnx"
    export_onnx(network, wide, inputs=inputs, metadata={})
    export_onnx(network, narrow, inputs=inputs, metadata={}, half=True)
    stored = onnx.load(narrow).graph
    halves = [tensor for tensor in stored.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    # The head's matrix as well.
    assert len(halves) == len([node for node in stored.node if node.op_type == "Conv"]) + 1 == 5
    assert narrow.stat().st_size < 0.75 * wide.stat().st_size
    assert {node.op_type for node in stored.node} <= OPERATORS
    given = {"crops": inputs(pictures(4, 32))["crops"]}
    scores = [open_session(path).run(["probability"], given)[0] for path in (wide, narrow)]
    np.testing.assert_allclose(scores[1], scores[0], atol=2e-6)
    assert scores[0].std() > 1e-3


def test_a_network_that_no_onnx_file_holds_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST", 1000)
    network = DETECTORS.get("qtfp")().build(TINY["qtfp"])
    inputs = CropPreprocessor(CropRecipe(side=32), MEAN, STD)
    with pytest.raises(UsageError, match="an ONNX file holds at most 2"):
        export_onnx(network, tmp_path / "m.onnx", inputs=inputs, metadata={})
    assert not list(tmp_path.iterdir())


def test_golden_crops_are_the_same_for_ever():
    crops = golden_crops(32)
    assert crops.shape == (COUNT, 32, 32, 3)
    assert crops.dtype == np.uint8
    # Worked out by hand from the formula: phase 0 at the origin; 3 a pixel to the right in the first crop, of
    # which x * y // 16 adds nothing in the first row; 90 a channel; 40 a crop.
    assert crops[0, 0, :3, 0].tolist() == [255, 252, 249]
    assert crops[0, 0, 0].tolist() == [255, 165, 75]
    assert crops[:, 0, 0, 0].tolist() == [255, 215, 175, 135]
    assert crops[1, 16, 16, 0] == abs((4 * (48 + 32) + 32 + 40) % 510 - 255)


def test_golden_crops_are_of_different_fineness():
    steps = np.abs(np.diff(golden_crops(64).astype(int), axis=2)).mean(axis=(1, 2, 3))
    assert (np.diff(steps) > 0).all()


def test_normalising_is_that_of_the_card():
    crops = np.array([[[[0, 255, 51]]]], np.uint8)
    values = normalised(crops, MEAN, STD)
    assert values.shape == (1, 3, 1, 1)
    assert values.dtype == np.float32
    expected = (np.array([0, 1, 0.2]) - MEAN) / STD
    # float32 arithmetic on values of order 3.
    np.testing.assert_allclose(values.ravel(), expected, atol=1e-6)
