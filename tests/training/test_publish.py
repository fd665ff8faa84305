"""From a trained network to a folder that scans: tuning folded, everything stated, nothing lost."""

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


def test_a_card_states_all_that_rebuilds_the_model(published):
    card = load_card(published.card.folder)
    assert card == published.card
    assert card.inputs == published.recipe.inputs
    assert card.crop == published.recipe.crop
    assert (card.mean, card.std) == (published.recipe.mean, published.recipe.std)
    assert "tuning" not in card.network
    assert card.trained["recipe"]["network"] == published.recipe.network, "which still says how it was tuned"
    text = (card.folder / CARD).read_text()
    assert "&id" not in text, "a person reads it: no anchors"
    assert card.summary.startswith(f"{card.method} on the backbone compact, ")


def test_the_folded_model_scores_as_the_trained_one(published):
    network = load_network(published.card)
    stored = set(network.state_dict())
    assert not [name for name in stored if "residual" in name or "lora" in name]
    crops = pictures(6, published.network.side, seed=2)
    tuned = predict(published.network, crops, published.inputs)
    # float32 rounding of the folded products
    np.testing.assert_allclose(predict(network, crops, published.inputs), tuned, atol=2e-5)
    assert tuned.std() > 1e-4, "scores that do not hang on the crops would agree whatever the weights"


def test_the_golden_score_is_the_torch_engines(published):
    score = Scorer(published.card, engine="torch", device="cpu").score(golden_crops(published.network.side))
    assert score.mean() == pytest.approx(published.card.golden.score, abs=1e-6)


def test_a_card_counts_what_was_trained(published):
    trainable = sum(value.numel() for value in published.network.parameters() if value.requires_grad)
    assert published.card.trained["parameters"] == f"{trainable:,}"


def test_one_half_of_the_groups_fits_the_calibration_and_the_other_is_reported(published):
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
    found = {result["metric"]: result for result in card.results if result["level"] == "frame"}
    assert {name: found[name]["value"] for name in reported[1]} == reported[1]
    assert reported[0]["auc"] != reported[1]["auc"]
    assert {result["n"] for result in found.values()} == {len(parts[1])}
    assert "first half" in card.calibration.data
    assert all("second half" in result["data"] for result in card.results)
    (rates,) = card.error_rates
    assert "second half" in rates.data
    videos = {crops.videos[row] for row in parts[1]}
    assert (rates.level, rates.reals + rates.fakes) == ("video", len(videos))


@pytest.fixture
def quick(monkeypatch):
    """Intervals of two draws: a thousand take seconds."""
    monkeypatch.setattr(module, "bootstrap", partial(bootstrap, rounds=2))


@pytest.fixture
def parts(tmp_path, quick):
    """What `publish` takes, for a tiny QTFP."""
    network = trained("qtfp")
    return network, recipe_of("qtfp", network), crop_set(network.side), tmp_path / "made"


def test_figures_are_those_of_crops_and_of_videos(quick):
    crops = crop_set(32)
    rows = np.flatnonzero([group in {"group-0", "group-1", "group-5", "group-6"} for group in crops.groups])
    raw = np.random.default_rng(0).uniform(size=len(rows))
    found = {
        (figure["metric"], figure["level"]): figure for figure in card_results(crops, rows, raw, CALIBRATION)
    }
    labels = crops.labels[rows]
    assert found["auc", "frame"]["value"] == round(auc(labels, raw), 4)
    assert found["auc", "frame"]["n"] == 16
    of_videos = raw.reshape(-1, 2).mean(axis=1)  # two crops of a video lie beside each other
    assert found["auc", "video"]["value"] == round(auc(labels[::2], of_videos), 4)
    assert (found["auc", "video"]["n"], found["auc", "video"]["groups"]) == (8, 4)


def test_where_every_crop_is_its_own_video_there_are_no_figures_of_videos(quick):
    rows = np.arange(0, 48, 2)
    raw = np.random.default_rng(0).uniform(size=len(rows))
    assert {figure["level"] for figure in card_results(crop_set(32), rows, raw, CALIBRATION)} == {"frame"}


def test_weights_that_change_as_they_are_folded_are_not_published(parts, monkeypatch):
    def wrong(backbone):
        with torch.no_grad():
            backbone.ln_post.bias.add_(1)

    monkeypatch.setattr(module, "fold", wrong)
    with pytest.raises(ContractError, match="as the tuning is folded"):
        publish(*parts, name="made", data="noise", trained={})
    assert not list(parts[-1].iterdir())


def test_a_model_that_does_not_pass_the_exports_gate_can_be_scanned_with_in_torch(parts, monkeypatch):
    def refuse(*given, **named):
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
def test_of_several_sources_each_has_its_own_figures_and_keeps_to_the_promised_rates(parts):
    network, recipe, crops, folder = parts
    of_group = {group: "web" if at % 3 else "lab" for at, group in enumerate(dict.fromkeys(crops.groups))}
    crops = dataclasses.replace(crops, sources=tuple(of_group[group] for group in crops.groups))
    card = publish(network, recipe, crops, folder, name="made", data="lab, web", trained={})
    assert (card.calibration.level, card.calibration.rule) == ("video", threshold_rule(each=True))
    fitted, held = halves(crops, recipe.frames["val"])
    assert card.calibration.n == len({(crops.videos[at], crops.labels[at]) for at in fitted})
    told = {(each["data"].split(":")[0], each["level"]): each for each in card.results}
    for source in ("lab", "web"):
        rows = [at for at in held if crops.sources[at] == source]
        assert told[source, "frame"]["n"] == len(rows)
        assert told[source, "video"]["n"] == len(rows) / 2
    assert len({source for source, _ in told}) == 2


@pytest.fixture
def small(parts):
    """The same with crops to train on, and a recipe that asks for 8 bits."""
    network, recipe, crops, folder = parts
    asked = dataclasses.replace(recipe, quantise=True)
    return network, asked, dataclasses.replace(crops, splits=("train",) * 16 + ("val",) * 32), folder


def _allow(monkeypatch, lost):
    # Noise has no order to keep: what is lost of it says nothing. Nor has so small a net large layers.
    monkeypatch.setattr(quantise, "LEAST", 64)
    for name, value in (("SAMPLES", 1), ("MEAN", 1.0), ("LARGEST", 1.0), ("LOST", lost)):
        monkeypatch.setattr(selection, name, value)
    monkeypatch.setattr(rounding, "SAMPLES", 1)


@pytest.mark.slow
def test_a_file_in_8_bits_is_kept_with_its_figure_where_it_loses_little(small, monkeypatch):
    _allow(monkeypatch, 1.0)
    card = publish(*small, name="made", data="noise", trained={})
    assert card == load_card(small[-1])
    assert tuple(card.files) == ("onnx", "torch", "onnx-int8")
    (figure,) = [result for result in card.results if "in int8" in result["data"]]
    reported = halves(small[2], small[1].frames["val"])[1]
    scorer = Scorer(card, device="cpu", precision="int8")
    scores = scorer.score(small[2].crops[reported])
    assert figure["value"] == pytest.approx(auc(small[2].labels[reported], scores), abs=1e-4)
    assert scorer.to_json()["sha256"] == card.files["onnx-int8"].sha256
    assert scorer.to_json()["precision"] == "int8"
    told_of = card.rounding["onnx-int8"]
    fitted = halves(small[2], small[1].frames["val"])[0]
    exact, coarse = (
        Scorer(card, engine="onnx", device="cpu", precision=precision).score(small[2].crops[fitted])
        for precision in ("fp32", "int8")
    )
    exact, coarse = (calibrate(scores, card.calibration) for scores in (exact, coarse))
    assert told_of.mean == pytest.approx(np.abs(exact - coarse).mean(), abs=1e-5)
    assert told_of.largest == pytest.approx(np.abs(exact - coarse).max(), abs=1e-5)
    assert told_of.samples == len(fitted)
    chosen = Scorer(card, device="cpu")
    assert chosen.engine.precision == "int8"
    assert f"{told_of.mean:.4f} in the mean" in chosen.describe()["chosen"]
    stored = load_file(card.path("torch"))
    kernels = [value for value in stored.values() if value.ndim > 1]
    assert {value.dtype for value in kernels} == {torch.float16}
    onnx, plain = (
        Scorer(card, engine=engine, device="cpu", precision="fp32") for engine in ("onnx", "torch")
    )
    crops = small[2].crops[reported]
    # Both hold the same rounded numbers: what differs is the order of sums in float32.
    np.testing.assert_allclose(onnx.score(crops), plain.score(crops), atol=5e-5)


@pytest.mark.slow
def test_a_file_in_8_bits_that_loses_more_is_not_kept_and_the_card_says_so(small, monkeypatch):
    _allow(monkeypatch, -1.0)
    card = publish(*small, name="made", data="noise", trained={})
    assert tuple(card.files) == ("onnx", "torch")
    assert card.trained["int8"].startswith("none: ")
    assert not (small[-1] / "model.int8.onnx").exists()
    assert card == load_card(small[-1])
