"""Formulas against a counter, trained parameters by recipe, timing, and the printed costs of papers."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Findings, write_findings
from deepscan.analyses.cost import analysis
from deepscan.analyses.cost.analysis import CostAnalysis, count_operations, count_parameters, recipe_of
from deepscan.analyses.cost.figure import draw_cost
from deepscan.analyses.cost.items import CostItem
from deepscan.analyses.cost.operations import multiply_adds, transformer_cost, weightless_network
from deepscan.detectors.corit import CoritNetwork
from deepscan.errors import UsageError
from tests.analyses.datasets import model, subject
from tests.detectors.tiny import BACKBONE, TINY
from tests.evaluation.pictures import check_layout

#: Cost of a block with five tokens of width 16 and an MLP of the same width.
BLOCK = 4 * 5 * 16**2 + 2 * 5**2 * 16 + 2 * 5 * 16 * 16


def counted(module: nn.Module, *shapes: tuple[int, ...]) -> int:
    """Count the operations of a part of a network."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module(*(torch.empty(shape) for shape in shapes))
    return counter.get_total_flops()


def value(found: Findings, measure: str, of: str) -> object:
    """Return the value of the single matching row."""
    [row] = [row for row in found.rows if (row["measure"], row["of"]) == (measure, of)]
    return row["value"]


@pytest.mark.parametrize("method", ["unifd", "effort", "lora", "fft", "qtfp"])
def test_the_formula_plus_the_ends_of_a_network_equals_the_counter(method: str, tmp_path: Path) -> None:
    card = model(method, tmp_path)
    network = weightless_network(method, card.network).eval()
    items = {item.of: item.value for item in count_operations(card)}

    backbone = 2 * BLOCK
    # Three queries attend to four patches.
    queries = 2 * (3 + 4) * 16**2 + 2 * 3 * 4 * 16
    assert multiply_adds(network) == backbone + (queries if method == "qtfp" else 0)
    assert items["by formula"] == 2 * multiply_adds(network) / 1e9
    ends = counted(network.backbone.stem, (1, 3, 32, 32)) + 2 * 16 * 2
    # The attention of CLS is computed a second time: its query, all keys, and their products.
    ends += 2 * (16**2 + 5 * 16**2 + 5 * 16)
    assert items["counted"] * 1e9 == pytest.approx(2 * multiply_adds(network) + ends)


def test_corit_costs_two_streams_or_one_without_refinement() -> None:
    def block(tokens: int) -> int:
        return 4 * tokens * 16**2 + 2 * tokens**2 * 16 + 2 * tokens * 16 * 16

    def costs(**settings: object) -> int:
        return multiply_adds(weightless_network("corit", {**TINY["corit"], **settings}))

    assert costs() == 2 * 2 * block(8)
    assert costs(regions=["F"]) == 2 * 2 * block(6)
    assert costs(shared=False) == 2 * (block(8) + block(5))
    assert costs(rrm=False) == 2 * block(8)
    assert costs(rsi=False) == 2 * block(5)
    assert costs(layers=[1]) == 2 * block(8)


def test_dfd_hr_costs_five_passes_up_to_the_exit() -> None:
    settings = {"backbone": {**BACKBONE, "depth": 3}, "hr_blocks": [-2, -1], "hidden": 8, "keep": 0.75}

    def block(tokens: int) -> int:
        adapters = 2 * tokens * (4 * 16 + 2 * 16 * 4 * 8 + 4 * 16)
        return 4 * tokens * 16**2 + 2 * tokens**2 * 16 + 2 * tokens * 16 * 16 + adapters

    def costs(depth: int | None = None, **more: object) -> int:
        return multiply_adds(weightless_network("dfd-hr", {**settings, **more}), depth)

    # A routed block processes three of five tokens; one query attends to four tiles.
    pooling = 2 * (1 + 4) * 16**2 + 2 * 4 * 16
    assert costs() == 5 * (block(5) + 2 * block(3)) + pooling
    assert costs(2) == 5 * (block(5) + block(3)) + pooling
    assert costs(1) == 5 * block(5) + pooling
    assert costs(split=False) == block(5) + 2 * block(3)
    assert costs(1, routed="split") == 3 * block(5) + 4 * block(5) + pooling
    assert costs(selection="none") == 15 * block(5) + pooling
    # CLS is always kept, with three of four patches.
    assert costs(candidates="patches") == 5 * (block(5) + 2 * block(4)) + pooling
    assert costs(pooling="self") == costs() - pooling + 2 * (4 + 4) * 16**2 + 2 * 4 * 4 * 16


def test_dfd_hr_is_counted_with_every_block_and_its_routers(tmp_path: Path) -> None:
    card = model("dfd-hr", tmp_path)
    items = {item.of: item.value for item in count_operations(card)}
    network = weightless_network("dfd-hr", card.network)

    ends = 5 * counted(network.backbone.stem, (1, 3, 32, 32)) + 2 * 32 * 2
    # For the whole crop and each tile: a layer router on CLS, and a token router on five tokens.
    ends += 5 * 2 * (16 * 8 + 8 + 5 * 16)
    assert items["counted"] * 1e9 == pytest.approx(2 * multiply_adds(network) + ends)
    assert items["by formula, 1 of 2 blocks"] == 2 * multiply_adds(network, 1) / 1e9
    assert len(items) == 3


def test_a_convolutional_network_is_counted_and_has_no_formula(tmp_path: Path) -> None:
    backbone = {"name": "convnet", "side": 32, "channels": [4, 8], "pairs": [0, 1]}
    card = model("fft", tmp_path, backbone=backbone)
    assert [item.of for item in count_operations(card)] == ["counted"]
    with pytest.raises(UsageError, match="transformer blocks"):
        multiply_adds(weightless_network("fft", card.network))


def test_a_backbone_of_24_blocks_costs_162_gigaflops_and_routing_saves_up_to_a_sixth() -> None:
    whole = transformer_cost(24, 0, 257, 192, 1024, 4096)
    assert round(2 * whole / 1e9, 1) == 161.7
    assert transformer_cost(20, 0, 257, 192, 1024, 4096) / whole == 20 / 24
    # 192 of 257 tokens in the last four blocks save slightly less than a quarter of a sixth.
    assert 0.955 < transformer_cost(20, 4, 257, 192, 1024, 4096) / whole < 0.9575


def test_trained_parameters_follow_the_recipe(tmp_path: Path) -> None:
    def parameters(method: str, **settings: object) -> dict[str, float]:
        card = model(method, tmp_path, **settings)
        return {item.of: item.value for item in count_parameters(card, recipe_of(card))}

    assert parameters("unifd")["trained"] == 16 * 2 + 2
    whole = parameters("fft")
    assert whole["trained"] == whole["all"]
    # Effort of rank 1: two vectors and a scalar for each of eight matrices, and the head.
    effort = parameters("effort")
    assert effort["trained"] == 8 * (2 * 16 + 1) + 34
    assert effort["all"] == whole["all"]


def test_printed_costs_are_matched_by_method_and_tuning(tmp_path: Path) -> None:
    def printed(method: str, tuning: str) -> tuple[float | None, ...]:
        card = model(method, tmp_path, tuning={"type": tuning})
        items = [*count_parameters(card, recipe_of(card)), *count_operations(card)]
        return tuple(item.paper for item in items if item.of in ("trained", "counted"))

    assert printed("qtfp", "effort") == (4.39e6, 155.6)
    assert printed("qtfp", "fft") == (309.24e6, 155.6)
    assert printed("effort", "effort") == (0.19e6, 155.6)
    assert printed("unifd", "frozen") == (None, None)


@pytest.mark.slow
def test_a_model_is_timed_from_end_to_end(tmp_path: Path) -> None:
    card = model("qtfp", tmp_path, tuning={"type": "effort"})
    progress: list[tuple[int, int]] = []
    inputs = dataclasses.replace(
        subject([], card), on_progress=lambda done, total: progress.append((done, total))
    )

    found = ANALYSES.get("cost")(batch=2, repeats=1, frames=320).run(inputs)

    step = value(found, "time of a training step", "batch of 16")
    assert value(found, "training epoch of 320 frames", "the network") == pytest.approx(step * 320 / 16)
    crop = sum(value(found, "time a crop", of) for of in ("its inputs", "the network"))
    assert value(found, "time of 320 frames", "judged") == pytest.approx(320 * crop)
    assert min(row["value"] for row in found.rows) > 0
    [epoch] = [row for row in found.rows if row["measure"] == "training epoch of 320 frames"]
    assert epoch["paper"] == 8 * 60 + 51
    assert progress[-1] == (4, 4)
    assert any("threads on" in line or "GPU" in line for line in found.lines)
    assert write_findings("cost", found, tmp_path / "out")[1].read_bytes().startswith(b"\x89PNG")


def test_every_kind_of_cost_has_a_panel_and_the_legend_names_the_papers_backbone() -> None:
    figure = draw_cost(
        [
            CostItem("parameters", "all", 2e6, ""),
            CostItem("parameters", "trained", 1e6, "", 4.39e6, "QTFP, supplement, Table 5, Effort+Ours"),
            CostItem("GFLOPs a crop", "counted", 0.4, ""),
            CostItem("time a crop", "the network", 0.02, "s"),
            CostItem("time of 320 frames", "judged", 6.4, "s"),
            CostItem("training epoch of 320 frames", "the network", 120, "s"),
            CostItem("memory of training", "GPU", 1500, "MB", 2130, "CoRIT, Sec. V-B5"),
        ],
        320,
    )

    # In millions, milliseconds, minutes and megabytes.
    assert {
        axes.get_title(loc="left"): [bar.get_width() for bar in axes.patches] for axes in figure.axes
    } == {
        "Parameters (millions)": pytest.approx([2, 1, 4.39]),
        "GFLOPs a crop": pytest.approx([0.4]),
        "Time a crop (ms)": pytest.approx([20]),
        "Training epoch of 320 frames (min)": pytest.approx([2]),
        "Memory of training (MB)": pytest.approx([1500, 2130]),
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["measured", "paper, CLIP ViT-L/14"]
    check_layout(figure)


def test_a_frozen_backbone_has_the_time_of_an_epoch_on_kept_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract, sizes = CoritNetwork.extract, []

    def recording_extract(network: CoritNetwork, **inputs: torch.Tensor) -> object:
        sizes.append(len(inputs["crops"]))
        return extract(network, **inputs)

    card = model("corit", tmp_path)
    monkeypatch.setattr(CoritNetwork, "extract", recording_extract)
    found = CostAnalysis(batch=1, repeats=1).run(subject([], card))

    epochs = [row["of"] for row in found.rows if row["measure"] == "training epoch of 28,800 frames"]
    assert epochs == ["the network", "features kept"]
    # One crop for the counter, two for prediction; two steps of SAM with two passes each; then the features.
    batch = recipe_of(card).batch
    assert sizes == [1, 1, 1, *[batch] * 4, batch]


def test_a_card_without_a_recipe_is_counted_but_not_trained(tmp_path: Path) -> None:
    card = dataclasses.replace(model("dfd-hr", tmp_path), trained={})
    found = CostAnalysis(batch=1, repeats=1).run(subject([], card))

    assert {row["of"] for row in found.rows if row["measure"] == "parameters"} == {"all"}
    assert not any("training" in row["measure"] for row in found.rows)
    assert any("has no recipe" in line for line in found.lines)
    assert any("of 2 blocks" in line for line in found.lines)


def test_the_median_is_reported_without_the_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    clock = iter([0.0, 5.0, 10.0, 11.0, 20.0, 23.0])
    monkeypatch.setattr(analysis.time, "perf_counter", lambda: next(clock))

    assert CostAnalysis(repeats=3)._timed(lambda: runs.append(1), "cpu") == 3.0
    assert len(runs) == 4


def test_options_out_of_range_are_rejected() -> None:
    with pytest.raises(UsageError, match="below 1"):
        CostAnalysis(repeats=0)
