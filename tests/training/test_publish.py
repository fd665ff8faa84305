"""Publishing a trained network: folded tuning, a complete card, results and the 8-bit file."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deepscan.calibration import calibrate, fit_calibration, threshold_rule
from deepscan.cards import CARD
from deepscan.detectors import load_network
from deepscan.detectors.predict import predict
from deepscan.engines import quantise, rounding, selection
from deepscan.engines.golden import golden_crops
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError
from deepscan.metrics.binary import auc, bootstrap, calibration_error
from deepscan.models.lookup import load_card
from deepscan.training import publish as module
from deepscan.training.batches import halves
from deepscan.training.publish import card_results, publish
from tests.tiny import crop_set, pictures, recipe_of, trained
from tests.toy import CALIBRATION


def test_a_card_has_everything_to_rebuild_the_model(published):
    card = load_card(published.card.folder)
    assert card == published.card
    assert card.inputs == published.recipe.inputs
    assert card.crop == published.recipe.crop
    assert (card.mean, card.std) == (published.recipe.mean, published.recipe.std)
    assert "tuning" not in card.network
    assert card.trained["recipe"]["network"] == published.recipe.network, "including the tuning"
    text = (card.folder / CARD).read_text()
    assert "&id" not in text, "YAML anchors are hard to read"
    assert card.summary.startswith(f"{card.method} on the backbone compact, ")


def test_the_folded_model_has_the_trained_ones_scores(published):
    network = load_network(published.card)
    stored = set(network.state_dict())
    assert not [name for name in stored if "residual" in name or "lora" in name]
    crops = pictures(6, published.network.side, seed=2)
    tuned = predict(published.network, crops, published.inputs)
    # Float32 rounding of the folded products.
    np.testing.assert_allclose(predict(network, crops, published.inputs), tuned, atol=2e-5)
    assert tuned.std() > 1e-4, "constant scores would agree with any weights"


def test_the_golden_score_is_the_torch_engines(published):
    score = Scorer(published.card, engine="torch", device="cpu").score(golden_crops(published.network.side))
    assert score.mean() == pytest.approx(published.card.golden.score, abs=1e-6)


def test_a_card_has_the_number_of_trained_parameters(published):
    trainable = sum(value.numel() for value in published.network.parameters() if value.requires_grad)
    assert published.card.trained["parameters"] == f"{trainable:,}"


def test_one_half_fits_the_calibration_and_results_are_from_the_other(published):
    crops, card = published.crops, published.card
    parts = halves(crops, published.recipe.frames["val"])
    scores = [predict(published.network, crops.crops[rows], published.inputs) for rows in parts]
    fits = [
        fit_calibration(crops.labels[rows], raw, level="frame", data=card.calibration.data)
        for rows, raw in zip(parts, scores, strict=True)
    ]
    reported = [
        {
            "auc": round(auc(crops.labels[rows], raw), 4),
            "calibration_error": round(
                calibration_error(crops.labels[rows], calibrate(raw, card.calibration)), 4
            ),
        }
        for rows, raw in zip(parts, scores, strict=True)
    ]
    assert card.calibration == fits[0]
    assert fits[0] != fits[1]
    results = {result["metric"]: result for result in card.results if result["level"] == "frame"}
    assert {name: results[name]["value"] for name in reported[1]} == reported[1]
    assert reported[0]["auc"] != reported[1]["auc"]
    assert {result["n"] for result in results.values()} == {len(parts[1])}
    assert "first half" in card.calibration.data
    assert all("second half" in result["data"] for result in card.results)
    (rates,) = card.error_rates
    assert "second half" in rates.data
    videos = {crops.videos[row] for row in parts[1]}
    assert (rates.level, rates.reals + rates.fakes) == ("video", len(videos))


@pytest.fixture
def quick(monkeypatch):
    """Bootstrap with two rounds, because a thousand take seconds."""
    monkeypatch.setattr(module, "bootstrap", partial(bootstrap, rounds=2))


@pytest.fixture
def parts(tmp_path, quick):
    """Positional arguments of `publish` for a tiny QTFP."""
    network = trained("qtfp")
    return network, recipe_of("qtfp", network), crop_set(network.side), tmp_path / "model"


def test_results_are_for_crops_and_for_videos(quick):
    crops = crop_set(32)
    rows = np.flatnonzero([group in {"group-0", "group-1", "group-5", "group-6"} for group in crops.groups])
    raw = np.random.default_rng(0).uniform(size=len(rows))
    results = {
        (result["metric"], result["level"]): result for result in card_results(crops, rows, raw, CALIBRATION)
    }
    labels = crops.labels[rows]
    assert results["auc", "frame"]["value"] == round(auc(labels, raw), 4)
    assert results["auc", "frame"]["n"] == 16
    video_scores = raw.reshape(-1, 2).mean(axis=1)  # the two crops of a video are adjacent
    assert results["auc", "video"]["value"] == round(auc(labels[::2], video_scores), 4)
    assert (results["auc", "video"]["n"], results["auc", "video"]["groups"]) == (8, 4)


def test_there_are_no_video_results_if_every_crop_is_its_own_video(quick):
    rows = np.arange(0, 48, 2)
    raw = np.random.default_rng(0).uniform(size=len(rows))
    assert {result["level"] for result in card_results(crop_set(32), rows, raw, CALIBRATION)} == {"frame"}


def test_a_folding_that_changes_scores_is_refused(parts, monkeypatch):
    def wrong(backbone):
        with torch.no_grad():
            backbone.ln_post.bias.add_(1)

    monkeypatch.setattr(module, "fold", wrong)
    with pytest.raises(ContractError, match="folding the tuning"):
        publish(*parts, name="made", data="noise", trained={})
    assert not list(parts[-1].iterdir())


def test_a_model_that_fails_the_exports_check_can_be_used_with_torch(parts, monkeypatch):
    def refuse(*args, **kwargs):
        raise ContractError("the exported model differs", "report it")

    monkeypatch.setattr(module, "export_model", refuse)
    with pytest.raises(ContractError, match="differs"):
        publish(*parts, name="made", data="noise", trained={})
    card = load_card(parts[-1])
    assert tuple(card.files) == ("torch",)
    scorer = Scorer(card, device="cpu")
    assert scorer.engine.name == "torch"
    assert np.isfinite(scorer.score(parts[2].crops[:3])).all()


@pytest.mark.slow
def test_each_of_several_sources_has_results_and_keeps_the_error_rates(parts):
    network, recipe, crops, folder = parts
    groups = enumerate(dict.fromkeys(crops.groups))
    source_of = {group: "web" if index % 3 else "lab" for index, group in groups}
    crops = dataclasses.replace(crops, sources=tuple(source_of[group] for group in crops.groups))
    card = publish(network, recipe, crops, folder, name="made", data="lab, web", trained={})
    assert (card.calibration.level, card.calibration.rule) == ("video", threshold_rule(each=True))
    fitted, held_out = halves(crops, recipe.frames["val"])
    assert card.calibration.n == len({(crops.videos[row], crops.labels[row]) for row in fitted})
    results = {(result["data"].split(":")[0], result["level"]): result for result in card.results}
    for source in ("lab", "web"):
        rows = [row for row in held_out if crops.sources[row] == source]
        assert results[source, "frame"]["n"] == len(rows)
        assert results[source, "video"]["n"] == len(rows) / 2
    assert len({source for source, _ in results}) == 2


@pytest.fixture
def small(parts):
    """The same with training crops, and a recipe with 8 bits."""
    network, recipe, crops, folder = parts
    recipe = dataclasses.replace(recipe, quantise=True)
    return network, recipe, dataclasses.replace(crops, splits=("train",) * 16 + ("val",) * 32), folder


def _allow(monkeypatch, lost):
    # The AUC of noise is meaningless, and so small a network has no large layers.
    monkeypatch.setattr(quantise, "LEAST", 64)
    for name, value in (("SAMPLES", 1), ("MEAN", 1.0), ("LARGEST", 1.0), ("LOST", lost)):
        monkeypatch.setattr(selection, name, value)
    monkeypatch.setattr(rounding, "SAMPLES", 1)


@pytest.mark.slow
def test_an_8_bit_file_that_loses_little_is_kept_with_its_result(small, monkeypatch):
    _allow(monkeypatch, 1.0)
    card = publish(*small, name="made", data="noise", trained={})
    assert card == load_card(small[-1])
    assert tuple(card.files) == ("onnx", "torch", "onnx-int8")
    (result,) = [result for result in card.results if "in int8" in result["data"]]
    reported = halves(small[2], small[1].frames["val"])[1]
    scorer = Scorer(card, device="cpu", precision="int8")
    scores = scorer.score(small[2].crops[reported])
    assert result["value"] == pytest.approx(auc(small[2].labels[reported], scores), abs=1e-4)
    assert scorer.facts.to_json()["sha256"] == card.files["onnx-int8"].sha256
    assert scorer.facts.to_json()["precision"] == "int8"
    rounding_of_card = card.rounding["onnx-int8"]
    fitted = halves(small[2], small[1].frames["val"])[0]
    exact, coarse = (
        Scorer(card, engine="onnx", device="cpu", precision=precision).score(small[2].crops[fitted])
        for precision in ("fp32", "int8")
    )
    exact, coarse = (calibrate(scores, card.calibration) for scores in (exact, coarse))
    assert rounding_of_card.mean == pytest.approx(np.abs(exact - coarse).mean(), abs=1e-5)
    assert rounding_of_card.largest == pytest.approx(np.abs(exact - coarse).max(), abs=1e-5)
    assert rounding_of_card.samples == len(fitted)
    default = Scorer(card, device="cpu")
    assert default.engine.precision == "int8"
    assert f"{rounding_of_card.mean:.4f} on average" in default.describe()["chosen"]
    stored = load_file(card.path("torch"))
    kernels = [value for value in stored.values() if value.ndim > 1]
    assert {value.dtype for value in kernels} == {torch.float16}
    onnx, plain = (
        Scorer(card, engine=engine, device="cpu", precision="fp32") for engine in ("onnx", "torch")
    )
    crops = small[2].crops[reported]
    # Both have the same rounded weights; only the order of float32 sums differs.
    np.testing.assert_allclose(onnx.score(crops), plain.score(crops), atol=5e-5)


@pytest.mark.slow
def test_an_8_bit_file_that_loses_too_much_is_removed_and_the_card_says_why(small, monkeypatch):
    _allow(monkeypatch, -1.0)
    card = publish(*small, name="made", data="noise", trained={})
    assert tuple(card.files) == ("onnx", "torch")
    assert card.trained["int8"].startswith("none: ")
    assert not (small[-1] / "model.int8.onnx").exists()
    assert card == load_card(small[-1])
