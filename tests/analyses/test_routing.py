"""Routing with forced routers, fixed gates and known masks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Findings
from deepscan.analyses.crops import draw_crops, open_network
from deepscan.analyses.routing.analysis import RoutingAnalysis
from deepscan.analyses.routing.routes import keep_rates, printed, trace_routes
from deepscan.cards import ModelCard
from deepscan.detectors import DETECTORS
from deepscan.errors import UsageError
from tests.analyses.datasets import dataset, kept, model, subject
from tests.detectors.tiny import BACKBONE, TINY
from tests.evaluation.pictures import check_layout

#: Five blocks, of which the last three are routed; 2 x 2 patches and the CLS token, of which 3 are kept.
SETTINGS = {"backbone": {**BACKBONE, "depth": 5}, "hr_blocks": [-3, -2, -1], "keep": 0.75}
SETS = [dataset("Celeb-DF-v2", (4,), (4,), side=64), dataset("b", (2,), (3,), side=64)]


def routed(folder: Path, biases: tuple[float, ...] = (50, 50, 50), **settings: object) -> ModelCard:
    """Return a DFD-HR model whose layer routers have constant outputs, given by block."""
    torch.manual_seed(0)
    network = DETECTORS.get("dfd-hr")().build({**TINY["dfd-hr"], **SETTINGS, **settings})
    with torch.no_grad():
        for judge, bias in zip(network.branch.layer_judges.values(), biases, strict=False):
            judge.second.weight.zero_()
            judge.bias.fill_(bias)
        for pair in network.branch.adapters:
            for mixture, weights in zip(pair, ((0.1, 0.2, 0.3, 0.4), (0.3, 0.2, 0.1, 0.4)), strict=True):
                mixture.gate.weight.zero_()
                mixture.gate.bias.copy_(torch.log(torch.tensor(weights)))
    return kept(network, "dfd-hr", folder, **SETTINGS, **settings)


def value(found: Findings, **inputs: object) -> object:
    """Return the value of the single matching row."""
    [row] = [row for row in found.rows if all(row[name] == cell for name, cell in inputs.items())]
    return row["value"]


@pytest.mark.parametrize(
    ("biases", "depth"), [((50, 50, 50), 5), ((50, -50, 50), 3), ((-50, 50, 50), 2), ((50, 50, -50), 4)]
)
def test_forced_routers_give_a_known_depth(biases: tuple[float, ...], depth: int, tmp_path: Path) -> None:
    found = ANALYSES.get("routing")().run(subject(SETS, routed(tmp_path, biases)))

    for name, label, crops in (("Celeb-DF-v2", "real", 4), ("b", "fake", 3), ("all", "fake", 7)):
        part = {"dataset": name, "label": label}
        assert value(found, measure="depth", crops=crops, **part) == depth
        shares = {layer: value(found, measure="exit", layer=layer, **part) for layer in range(2, 6)}
        assert shares == {layer: float(layer == depth) for layer in range(2, 6)}
    for measure in ("kept", "expert"):
        layers = {row["layer"] for row in found.rows if row["measure"] == measure}
        assert layers == set(range(3 if measure == "kept" else 1, depth + 1))
    assert any(f"mean depth {depth:.2f} of 5 blocks on reals" in line for line in found.lines)


def test_expert_weights_are_shown_with_those_of_the_paper(tmp_path: Path) -> None:
    found = RoutingAnalysis().run(subject(SETS, routed(tmp_path)))

    check_layout(found.figure)
    part = {"measure": "expert", "dataset": "Celeb-DF-v2", "label": "real", "layer": 3}
    # float32 softmax, rounded to six digits.
    assert value(found, of="attention 1", **part) == pytest.approx(0.1, abs=2e-6)
    assert value(found, of="mlp 1", **part) == pytest.approx(0.3, abs=2e-6)
    assert [value(found, of=f"mean {expert}", **part) for expert in range(1, 5)] == pytest.approx(
        [0.2, 0.2, 0.2, 0.4], abs=2e-6
    )
    printed_weights = {
        row["of"]: row["paper"] for row in found.rows if row["paper"] != "" and row["label"] == "real"
    }
    assert printed_weights == {"mean 1": 0.2609, "mean 2": 0.2422, "mean 3": 0.2473, "mean 4": 0.2496}
    assert "real 20.00 20.00 20.00 40.00; fake 20.00 20.00 20.00 40.00" in "\n".join(found.lines)
    assert "real 26.09 24.22 24.73 24.96; fake 25.02 23.84 24.93 26.21" in "\n".join(found.lines)


def test_printed_weights_are_found_by_benchmark_name() -> None:
    assert printed("uniface_ff", "fake", 4) == 0.2607
    assert printed("uniface_ff", "real", 4) == ""
    assert printed("UniFace", "fake", 4) == ""
    assert printed("Celeb-DF-v2", "fake", 5) == ""


def test_routes_are_traced_for_each_crop(tmp_path: Path) -> None:
    inputs = subject(SETS, routed(tmp_path), max_crops=0)
    opened, drawn = open_network(inputs.card), draw_crops(inputs)
    network, batches = opened.network, []
    judge = network.branch.layer_judges["3"]

    class EverySecond(torch.nn.Module):
        def forward(self, seen: torch.Tensor) -> torch.Tensor:
            batches.append(len(seen))
            return torch.arange(len(seen)) % 2 - 0.5

    assert judge.bias is not None
    network.branch.layer_judges["3"] = EverySecond()
    # Make the gate at layer 5 depend on the crop.
    gate = network.branch.adapters[4][0].gate
    with torch.no_grad():
        gate.weight.normal_()
    routes = trace_routes(network, opened, drawn)

    assert batches == [13]
    assert routes.depth.tolist() == [3 if row % 2 == 0 else 5 for row in range(13)]
    np.testing.assert_array_equal(np.isnan(routes.experts[:, 4, 0, 0]), routes.depth == 3)
    # Two or three of the three kept tokens are patches.
    counts = routes.kept.sum(axis=2)
    assert set(counts[:, 0].tolist()) <= {2, 3}
    assert not counts[routes.depth == 3, 1:].any()
    assert counts[routes.depth == 5, 1:].all()
    # A crop has the same route alone as in a batch.
    network.branch.layer_judges["3"] = judge
    for row in (1, 3):
        single = trace_routes(network, opened, [drawn[row]])
        np.testing.assert_allclose(routes.experts[row], single.experts[0], atol=1e-5)  # different batches
    assert np.nanstd(routes.experts[:, 4, 0, 0]) > 1e-3


def test_disabled_routing_is_noted(tmp_path: Path) -> None:
    card = routed(tmp_path, pruning=False, selection="none", experts=0)
    found = RoutingAnalysis().run(subject(SETS, card))

    assert {row["measure"] for row in found.rows} == {"depth", "exit", "kept"}
    assert value(found, measure="depth", dataset="all", label="fake") == 5
    assert value(found, measure="kept", dataset="all", label="fake", layer=4) == 1
    assert found.lines == (
        "no crop exits early: layer pruning is off in this model",
        "all tokens are kept: token selection is off in this model",
    )
    check_layout(found.figure)


def test_masks_keep_nothing_above_any_threshold_and_everything_without_refinement(tmp_path: Path) -> None:
    data = [dataset("a", (3,), (3,))]
    for settings, share in (({"tau": 1e9}, 0.0), ({"rrm": False}, 1.0)):
        found = RoutingAnalysis().run(subject(data, model("corit", tmp_path, **settings)))
        assert {(row["layer"], row["of"]) for row in found.rows} == {
            (layer, name) for layer in (1, 2) for name in ("foreground", "boundary", "background")
        }
        assert {row["value"] for row in found.rows} == {share}
        check_layout(found.figure)
    assert found.lines == ("whole regions are kept: mask refinement is off in this model",)


def test_keep_rates_equal_the_masks_of_the_network(tmp_path: Path) -> None:
    backbone = {**BACKBONE, "side": 64, "depth": 3}
    inputs = subject(
        [dataset("a", (3,), (3,), side=64)], model("corit", tmp_path, backbone=backbone, tau=1.0)
    )
    opened, drawn = open_network(inputs.card), draw_crops(inputs)

    masks = keep_rates(opened.network, opened, drawn)

    pixels = np.stack([crop.reader(crop.video, crop.number) for crop in drawn])
    inputs = opened.prepare(pixels)
    last = opened.network(**inputs).maps["masks"].numpy()
    sizes = inputs["regions"].numpy().sum(axis=2)
    # An empty region is replaced by the whole crop.
    sizes[sizes == 0] = 16
    np.testing.assert_allclose(masks.rates[:, -1], last.sum(axis=2) / sizes)
    assert masks.rates.shape == (6, 3, 3)
    assert 0 < masks.rates.mean() < 1
    assert masks.kept_share.shape == (6, 16)


@pytest.mark.parametrize(("method", "settings"), [("qtfp", {}), ("corit", {"rsi": False})])
def test_a_model_without_routing_is_rejected(method: str, settings: dict, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no routing|no region tokens"):
        RoutingAnalysis().run(subject([dataset("a", (1,), (1,))], model(method, tmp_path, **settings)))
