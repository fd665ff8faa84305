"""Measures of known attention, and the analysis of tiny models from end to end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepscan.analyses import ANALYSES
from deepscan.analyses.attention.analysis import AttentionAnalysis
from deepscan.analyses.attention.measures import attention_maps, divergence, effective, entropy, top_share
from deepscan.analyses.attention.rand_cls import compare_cls, split_halves
from deepscan.analyses.crops import draw_crops, open_network, read_batches
from deepscan.errors import UsageError
from tests.analyses.datasets import dataset, model, subject
from tests.evaluation.pictures import check_layout

UNIFORM, ONE = np.full((2, 49), 1 / 49), np.eye(49)[[3, 5]]


def test_uniform_attention_counts_all_patches() -> None:
    np.testing.assert_allclose(effective(UNIFORM), [49, 49])
    np.testing.assert_allclose(entropy(UNIFORM), np.log(49))
    np.testing.assert_allclose(top_share(UNIFORM, 7), 1 / 7)


def test_attention_on_one_patch_counts_one() -> None:
    np.testing.assert_array_equal(effective(ONE), [1, 1])
    np.testing.assert_array_equal(top_share(ONE, 1), [1, 1])


def test_uniform_attention_on_a_few_patches_counts_these() -> None:
    few = np.zeros((1, 49))
    few[0, [4, 8, 15, 16]] = 0.25

    np.testing.assert_allclose(effective(few), [4])
    np.testing.assert_allclose(top_share(few, 3), [0.75])
    # Four patches against 49: log(49 / 4) nats.
    np.testing.assert_allclose(divergence(few, UNIFORM[:1]), [np.log(49 / 4)])
    np.testing.assert_array_equal(divergence(few, few), [0])


@pytest.mark.parametrize("method", ["qtfp", "unifd", "effort", "gend", "lora", "fft"])
def test_every_method_with_attention_is_analysed(method: str, tmp_path: Path) -> None:
    card = model(method, tmp_path)
    data = [dataset("a", (2, 2, 2, 2), (2, 2, 2)), dataset("b", (1,), (3,))]

    progress: list[tuple[int, int]] = []
    inputs = subject(data, card, on_progress=lambda done, total: progress.append((done, total)))
    found = ANALYSES.get("attention")(epochs=1).run(inputs)

    spread = [row for row in found.rows if row["part"] == "spread"]
    tokens = ["CLS", "query 1", "query 2", "query 3", "queries"] if method == "qtfp" else ["CLS"]
    assert [row["token"] for row in spread if (row["dataset"], row["label"]) == ("a", "real")] == tokens
    assert {(row["dataset"], row["label"]): row["crops"] for row in spread} == {
        ("a", "real"): 8,
        ("a", "fake"): 6,
        ("b", "real"): 1,
        ("b", "fake"): 3,
        ("all", "real"): 9,
        ("all", "fake"): 9,
    }
    for row in spread:
        assert 1 <= row["effective_low"] <= row["effective_patches"] + 1e-2
        assert row["effective_high"] <= 4
        assert row["token"] != "CLS" or row["divergence"] == 0
    courses = [(row["token"], row["epoch"]) for row in found.rows if row["part"] == "course"]
    assert courses == [("PreCLS", 0), ("PreCLS", 1), ("RandCLS", 0), ("RandCLS", 1)]
    # All crops once; then both tokens train on one half once, and are tested on the other twice.
    held_out = next(row["crops"] for row in found.rows if row["part"] == "course")
    assert progress[-1] == (18 + 2 * (18 + held_out), 18 + 2 * (18 + held_out))
    assert progress == sorted(set(progress))
    assert {total for _, total in progress} == {progress[-1][1]}


def test_the_measures_equal_those_of_the_network(tmp_path: Path) -> None:
    inputs = subject([dataset("a", (3,), (2,))], model("qtfp", tmp_path))
    found = AttentionAnalysis(epochs=0, top=0.25).run(inputs)

    [(crops, pixels)] = read_batches(draw_crops(inputs))
    opened = open_network(inputs.card)
    with torch.no_grad():
        output = opened.network(**opened.prepare(pixels))
    reals = [row for row, crop in enumerate(crops) if crop.label == 0]
    queries = output.attention.double().numpy()[reals]
    cls = opened.network.backbone(opened.prepare(pixels)["crops"]).attention.detach().double().numpy()[reals]
    check_layout(found.figure)
    rows = {row["token"]: row for row in found.rows if row["label"] == "real"}
    assert rows["query 2"]["effective_patches"] == round(float(effective(queries[:, 1]).mean()), 2)
    assert rows["queries"]["effective_patches"] == round(float(effective(queries).mean()), 2)
    assert rows["CLS"]["effective_patches"] == round(float(effective(cls).mean()), 2)
    # A quarter of four patches is one.
    assert rows["CLS"]["top_share"] == round(float(cls.max(axis=1).mean()), 4)
    expected = divergence(queries, cls[:, None]).mean()
    assert rows["queries"]["divergence"] == pytest.approx(expected, abs=1e-4)  # rounded to four digits


def test_networks_with_queries_have_their_maps_and_others_only_cls(
    tmp_path: Path,
) -> None:
    for fusion, tokens in (("concat", 4), ("cls", 1)):
        opened = open_network(model("qtfp", tmp_path, fusion=fusion))
        output = opened.network(**opened.prepare(np.zeros((1, 32, 32, 3), np.uint8)))
        assert len(attention_maps(output)) == tokens


@pytest.mark.parametrize("method", ["corit", "dfd-hr"])
def test_a_model_without_attention_is_rejected(method: str, tmp_path: Path) -> None:
    card = model(method, tmp_path)
    data = [dataset("a", (1,), (1,), side=card.crop.input_side)]

    with pytest.raises(UsageError, match="has no attention maps"):
        AttentionAnalysis().run(subject(data, card))


def test_no_group_is_in_both_halves() -> None:
    data = dataset("a", (3,) * 8, (3,) * 8)
    # Each real has a fake in the same group.
    data = replace(
        data, groups={(video.kind, video.name): video.name.partition("-")[2] for video in data.videos}
    )
    drawn = draw_crops(subject([data]))
    halves = split_halves(drawn, seed=3)

    groups = [{drawn[row].group for row in half} for half in (halves.learnt, halves.held_out)]
    assert not groups[0] & groups[1]
    assert [len(names) for names in groups] == [4, 4]
    assert sorted([*halves.learnt, *halves.held_out]) == list(range(48))
    assert halves.whole
    assert split_halves(drawn, seed=4).learnt.tolist() != halves.learnt.tolist()


def test_a_random_cls_token_is_trained_and_the_network_is_restored(tmp_path: Path) -> None:
    opened = open_network(model("fft", tmp_path))
    backbone = opened.network.backbone
    backbone.blocks[1].requires_grad_(True)
    before = {name: value.clone() for name, value in opened.network.state_dict().items()}
    data = dataset("a", (2,) * 8, (2,) * 8)
    drawn = draw_crops(subject([data]))
    # Fakes are brighter, which a head on any CLS token can learn.
    shades = np.array([60 + 120 * crop.label for crop in drawn], np.uint8)
    pixels = np.broadcast_to(shades[:, None, None, None], (32, 32, 32, 3)).copy()
    halves = split_halves(drawn, seed=0)
    progress: list[int] = []

    points = compare_cls(opened, halves, pixels, epochs=8, lr=0.01, seed=0, on_progress=progress.append)

    assert [(point.arm, point.epoch) for point in points] == [
        (arm, epoch) for arm in ("PreCLS", "RandCLS") for epoch in range(9)
    ]
    assert points[0].auc == points[9].auc == 0.5
    assert points[8].auc == points[17].auc == 1.0
    expected = backbone(opened.prepare(pixels[halves.held_out])["crops"]).attention.detach().numpy()
    np.testing.assert_allclose(points[0].attention, expected, atol=1e-6)  # float32, different batches
    assert np.abs(points[9].attention - expected).max() > 1e-3
    assert sum(progress) == halves.passes(8) == 2 * (8 * 16 + 9 * 16)
    after = opened.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    trained = {
        name.partition(".")[0] for name, value in backbone.blocks.named_parameters() if value.requires_grad
    }
    assert trained == {"1"}


def test_too_few_crops_for_two_halves_give_a_note(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    data, card = [dataset("a", (4,), (4,))], model("unifd", tmp_path)

    found = AttentionAnalysis().run(
        subject(data, card, on_progress=lambda done, total: progress.append((done, total)))
    )

    assert {row["part"] for row in found.rows} == {"spread"}
    assert found.lines[-1].startswith("RandCLS against PreCLS is skipped: too few crops")
    assert progress == [(8, 8)]
