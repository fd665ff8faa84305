"""A model in 8 bits: near the one that it was made of, and the same for every batch."""

import dataclasses

import numpy as np
import onnx
import pytest

from deepscan.cards import write_card
from deepscan.engines import ENGINES
from deepscan.engines import quantise as module
from deepscan.engines.quantise import quantise
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.models.lookup import load_card
from tests.tiny import pictures


@pytest.fixture
def small(published, tmp_path, monkeypatch):
    """A model of each method with a file in 8 bits."""
    monkeypatch.setattr(module, "LEAST", 64)
    for file in published.card.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    card = load_card(tmp_path)
    file = quantise(card, published.inputs, pictures(32, published.network.side))
    made = dataclasses.replace(card, files={**card.files, "onnx-int8": file})
    write_card(made)
    return load_card(tmp_path)


def test_scores_are_near_and_not_the_same(small, published):
    crops = pictures(16, published.network.side, seed=9)
    exact, coarse = (
        Scorer(small, engine="onnx", device="cpu", precision=precision).score(crops)
        for precision in ("fp32", "int8")
    )
    # 7 bits of a weight are within 1/128 of its channel's largest; random networks add that up unchecked.
    assert np.abs(coarse - exact).mean() < 0.1
    assert (coarse != exact).any()
    graph = onnx.load(small.path("onnx-int8")).graph
    assert any(node.op_type == "DequantizeLinear" for node in graph.node)


def test_small_layers_stay_as_they_are(small, published, monkeypatch):
    graph = onnx.load(small.path("onnx-int8")).graph
    kernels = {tensor.name: tensor for tensor in graph.initializer}
    rounded = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"} & set(kernels)
    sizes = [np.prod(kernels[name].dims) for name in rounded if len(kernels[name].dims) > 1]
    assert sizes
    assert min(sizes) >= 64
    monkeypatch.setattr(module, "LEAST", 10**9)
    with pytest.raises(UsageError, match="no layer"):
        quantise(small, published.inputs, pictures(4, published.network.side))


def test_a_score_does_not_hang_on_its_neighbours(small, published):
    crops = pictures(4, published.network.side, seed=5)
    scorer = Scorer(small, engine="onnx", device="cpu", precision="int8")
    alone = np.concatenate([scorer.score(crop[None]) for crop in crops])
    # Sums of whole numbers are exact; what stays in float32 is summed in an order that hangs on the batch,
    # and may move a value over the line between two of 256 steps.
    np.testing.assert_allclose(scorer.score(crops), alone, atol=2e-3)


def test_its_own_golden_score_is_held_against_it(small):
    own = small.files["onnx-int8"]
    wrong = dataclasses.replace(own, golden=own.golden + (0.3 if own.golden < 0.5 else -0.3))
    with pytest.raises(ContractError, match="golden"):
        Scorer(
            dataclasses.replace(small, files={**small.files, "onnx-int8": wrong}),
            engine="onnx",
            device="cpu",
            precision="int8",
        )


def test_where_a_model_has_none_it_is_not_replaced(published):
    with pytest.raises(MissingError, match="no onnx-int8 file"):
        ENGINES.get("onnx")(published.card, device="cpu", precision="int8", threads=1)
