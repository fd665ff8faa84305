"""The limits of the checks that refuse damaged or miscomputed models."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deepscan.cards import Golden
from deepscan.engines import export, quantise
from deepscan.engines.golden import golden_crops
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError
from deepscan.models.lookup import load_card
from tests import toy

LIMIT = 1e-3


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """A model with the same file in float32 and, by its card, in 8 bits."""
    card = load_card(toy.model(tmp_path_factory.mktemp("models") / "toy"))
    return replace(card, files={**card.files, "onnx-int8": card.files["onnx"]})


def score_of(card):
    return float(toy.expected(golden_crops(card.crop.input_side), 0.0).mean())


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", LIMIT), ("int8", 2e-2)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_golden_score_may_differ_by_what_its_precision_allows(card, precision, allowed, sign):
    """A larger difference means another model, or an engine with wrong results."""
    for share, accepted in ((0.95, True), (1.05, False)):
        changed = replace(card, golden=Golden(score_of(card) + sign * share * allowed, LIMIT))
        if accepted:
            Scorer(changed, engine="onnx", device="cpu", precision=precision)
        else:
            with pytest.raises(ContractError, match="golden"):
                Scorer(changed, engine="onnx", device="cpu", precision=precision)


@pytest.mark.parametrize("count", [1, 8, 9, 37])
def test_crops_are_scored_in_small_batches_and_in_order(count):
    sizes = []

    def run(names, inputs):
        sizes.append(len(inputs["crops"]))
        return [inputs["crops"][:, 0, 0, 0].astype(np.float32)]

    crops = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    scores = quantise._scores(SimpleNamespace(run=run), lambda part: {"crops": part}, crops)
    np.testing.assert_array_equal(scores, np.arange(count))
    # The outputs of all layers for one crop may take 0.6 GB.
    assert max(sizes) <= 8
    assert len(sizes) == -(-count // 8)


def compare(monkeypatch, probability=0.0, differing=0.0, size=0.1):
    """Compare a network with a graph whose outputs differ by this much."""
    maps = torch.ones(4, 1, 1000)
    network = SimpleNamespace(predict=lambda crops: {"probability": torch.full((4,), 0.5), "map": maps})

    def run(names, inputs):
        count = len(inputs["crops"])
        changed = maps[:count].numpy().copy()
        changed[..., : round(1000 * differing)] += size
        return [np.full(count, 0.5 + probability, np.float32), changed]

    outputs = [SimpleNamespace(name=name) for name in ("probability", "map")]
    session = SimpleNamespace(get_outputs=lambda: outputs, run=run)
    monkeypatch.setattr(export, "open_session", lambda path: session)
    return export._compare(network, None, {"crops": np.zeros((4, 3, 2, 2), np.float32)})


def test_an_exported_model_within_both_tolerances_is_accepted(monkeypatch):
    parity = compare(monkeypatch, probability=0.9 * LIMIT, differing=0.009)
    assert parity.probability == pytest.approx(0.9 * LIMIT, rel=1e-3)
    assert parity.explanation == {"map": pytest.approx(0.009)}
    # Elements that differ by less than the tolerance are not counted.
    assert compare(monkeypatch, differing=0.5, size=0.5 * LIMIT).explanation == {"map": 0}


@pytest.mark.parametrize(
    "differences",
    [{"probability": 1.1 * LIMIT}, {"probability": -1.1 * LIMIT}, {"differing": 0.011}],
    ids=["higher", "lower", "explanation"],
)
def test_an_exported_model_beyond_a_tolerance_is_refused(monkeypatch, differences):
    with pytest.raises(ContractError, match="differs from its network"):
        compare(monkeypatch, **differences)
