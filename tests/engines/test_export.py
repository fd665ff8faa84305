"""Export to ONNX: the gate, the free batch, what the file says of itself; and the golden input."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import deepscan
from deepscan.detectors import DETECTORS
from deepscan.engines.export import OUTPUTS, TOLERANCE, export_onnx
from deepscan.engines.golden import COUNT, golden_crops, normalised
from deepscan.errors import ContractError
from tests.detectors.test_contract import TINY

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def _network(method="qtfp"):
    torch.manual_seed(0)
    network = DETECTORS.get(method)().build(TINY[method])
    network.train()(torch.randn(8, 3, 32, 32))
    return network


def _export(network, path):
    return export_onnx(
        network, path, side=32, mean=MEAN, std=STD, metadata={"model": "tiny", "method": "qtfp"}
    )


@pytest.fixture(scope="module", params=DETECTORS.names)
def exported(request, tmp_path_factory):
    network = _network(request.param)
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    return network.eval(), path, _export(network, path)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_batch_gives_what_torch_gives(exported, count):
    network, path, _ = exported
    crops = torch.randn(count, 3, 32, 32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["crops"]
    probability, attention = session.run(list(OUTPUTS), {"crops": crops.numpy()})
    with torch.no_grad():
        expected = network.predict(crops=crops)
    # float32 in another order of sums: far below the gate's tolerance.
    np.testing.assert_allclose(probability, expected["probability"].numpy(), atol=1e-5)
    np.testing.assert_allclose(attention, expected["attention"].numpy(), atol=1e-5)
    assert probability.shape == (count,)


def test_the_file_states_what_it_is(exported):
    _, path, parity = exported
    stated = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert stated["model"] == "tiny"
    assert stated["torch"] == torch.__version__
    assert float(stated["parity_tolerance"]) == TOLERANCE
    assert float(stated["parity_probability"]) == pytest.approx(parity.probability, rel=0.01)
    assert parity.samples > COUNT
    assert parity.probability < TOLERANCE
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]


def test_the_file_says_nothing_of_the_machine_that_made_it(exported):
    _, path, _ = exported
    content = path.read_bytes()
    for place in (Path(deepscan.__file__).parent, Path(torch.__file__).parent):
        assert str(place).encode() not in content
    assert b"stack_trace" not in content


def test_a_graph_that_computes_something_else_does_not_pass(tmp_path):
    class Fickle(type(_network())):
        """Moves its logits between the export and the comparison."""

        calls = 0

        def predict(self, crops):
            outputs = super().predict(crops=crops)
            type(self).calls += 1
            return {**outputs, "probability": outputs["probability"] + 0.002 * (type(self).calls > 1)}

    network = _network()
    network.__class__ = Fickle
    with pytest.raises(ContractError, match="differs from its network"):
        _export(network, tmp_path / "model.onnx")
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
