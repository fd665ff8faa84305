"""Calibration recovers a known temperature, and its thresholds keep their error rates."""

from dataclasses import replace

import numpy as np
import pytest

from deepscan.calibration import (
    CALIBRATION_METHODS,
    MAX_FNR,
    MAX_FPR,
    calibrate,
    fit_calibration,
    second_half,
    threshold_rule,
)
from deepscan.cards import Calibration, write_card
from deepscan.errors import ContractError, UsageError
from deepscan.evaluation.recalibration import recalibrate
from deepscan.metrics.binary import METRICS, accuracy_from, auc, calibration_error
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from tests import toy


def _calibration(**changed):
    values = {
        "level": "frame",
        "data": "synthetic",
        "n": 2,
        "rule": "",
        "temperature": 2.0,
        "no_evidence": 0.2,
        "fake": 0.8,
    }
    return Calibration(**{**values, **changed})


def _sample(n, overconfidence, spread=2.0):
    """Return labels, and scores whose logits are the true ones times `overconfidence`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, spread, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(int)
    return labels, 1 / (1 + np.exp(-overconfidence * logits))


def _fit(labels, raw, **options):
    return fit_calibration(labels, raw, level="frame", data="synthetic", **options)


def test_temperature_divides_the_logit():
    raw = 0.9
    logit = np.log(raw / (1 - raw)) / 2
    assert calibrate(raw, _calibration()) == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-12)
    assert calibrate(raw, _calibration(temperature=1.0)) == pytest.approx(raw, rel=1e-12)
    assert calibrate(0.5, _calibration()) == 0.5


def test_a_float_gives_a_float_and_an_array_keeps_its_shape():
    assert type(calibrate(0.3, _calibration())) is float
    raw = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    scaled = calibrate(raw, _calibration())
    assert scaled.shape == (3, 4)
    assert (np.diff(scaled.ravel()) > 0).all()


def test_scores_of_zero_and_one_stay_finite():
    scaled = calibrate(np.array([0.0, 1.0]), _calibration(temperature=0.05))
    assert np.isfinite(scaled).all()
    assert 0 <= scaled[0] < 1e-6
    assert 1 - 1e-6 < scaled[1] <= 1


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_fit_recovers_the_temperature(overconfidence):
    labels, raw = _sample(20_000, overconfidence)
    fitted = _fit(labels, raw)
    # With 20,000 samples of this spread, the standard error of the estimate is about 2 %.
    assert fitted.temperature == pytest.approx(overconfidence, rel=0.07)
    assert (fitted.level, fitted.n, fitted.data) == ("frame", 20_000, "synthetic")


@pytest.mark.parametrize("rates", [(MAX_FPR, MAX_FNR), (0.01, 0.2), (0.3, 0.0), (0.0, 0.005)])
@pytest.mark.parametrize("method", CALIBRATION_METHODS)
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0, 6.0])
def test_thresholds_keep_their_error_rates_on_the_data_of_the_fit(spread, method, rates):
    labels, raw = _sample(2_000, 1.5, spread)
    fitted = _fit(labels, raw, method=method, fpr=rates[0], fnr=rates[1])
    scores = calibrate(raw, fitted)
    assert np.mean(scores[labels == 0] >= fitted.fake) <= rates[0]
    assert np.mean(scores[labels == 1] < fitted.no_evidence) <= rates[1]
    assert 0 <= fitted.no_evidence <= 0.5 <= fitted.fake <= 1


def test_the_rule_names_the_requested_rates():
    labels, raw = _sample(200, 1.0)
    fitted = _fit(labels, raw, fpr=0.005, fnr=0.2)
    assert fitted.rule == threshold_rule(0.005, 0.2)
    assert "at most 0.5% of the reals" in fitted.rule
    assert "at most 20% of the fakes" in fitted.rule
    assert fitted.fake > _fit(labels, raw).fake


def test_the_rule_keeps_the_wording_of_published_cards():
    assert load_card(DEFAULT_MODEL).calibration.rule in (threshold_rule(), threshold_rule(each=True))


def test_thresholds_keep_their_error_rates_in_each_source():
    """An easy source with many samples does not mask the false positives of a hard one."""
    easy, hard = _sample(20_000, 1.0, 12.0), _sample(1_000, 1.0, 1.5)
    labels, raw = (np.concatenate(both) for both in zip(easy, hard, strict=True))
    sources = ["easy"] * 20_000 + ["hard"] * 1_000
    mixed = fit_calibration(labels, raw, level="video", data="synthetic")
    fitted = fit_calibration(labels, raw, level="video", data="synthetic", sources=sources)
    assert fitted.rule == threshold_rule(each=True) != mixed.rule

    def rates(calibration, part):
        scores, truth = calibrate(raw[part], calibration), labels[part]
        return np.mean(scores[truth == 0] >= calibration.fake), np.mean(
            scores[truth == 1] < calibration.no_evidence
        )

    assert rates(mixed, slice(20_000, None))[0] > 1.5 * MAX_FPR
    for part in (slice(20_000), slice(20_000, None)):
        assert rates(fitted, part)[0] <= MAX_FPR and rates(fitted, part)[1] <= MAX_FNR


def test_sources_with_one_label_are_ignored_for_thresholds():
    labels, raw = _sample(1_000, 1.0)
    plain = fit_calibration(labels, raw, level="video", data="synthetic")
    sources = ["reals" if label == 0 else "fakes" for label in labels]
    assert fit_calibration(labels, raw, level="video", data="synthetic", sources=sources) == plain


def test_a_group_has_the_same_weight_however_many_samples_it_has():
    labels, raw = _sample(1_000, 1.0)
    groups = [f"group {number}" for number in range(1_000)]
    plain = fit_calibration(labels, raw, level="video", data="synthetic", groups=groups)
    assert plain == fit_calibration(labels, raw, level="video", data="synthetic")
    # A tenth of all samples are copies of one real with a high score.
    outlier = int(np.flatnonzero(labels == 0)[raw[labels == 0].argmax()])
    labels, raw = np.append(labels, [0] * 100), np.append(raw, [raw[outlier]] * 100)
    groups += [groups[outlier]] * 100
    counted = fit_calibration(labels, raw, level="video", data="synthetic", groups=groups)
    assert (counted.fake, counted.no_evidence) == pytest.approx((plain.fake, plain.no_evidence), abs=1e-3)
    assert counted.temperature == pytest.approx(plain.temperature, rel=1e-3)
    every = fit_calibration(labels, raw, level="video", data="synthetic")
    assert calibrate(raw[outlier], counted) > counted.fake and calibrate(raw[outlier], every) < every.fake


def test_thresholds_of_weak_scores_are_tight():
    labels, raw = _sample(20_000, 1.0, 1.0)
    fitted = _fit(labels, raw)
    scores = calibrate(raw, fitted)
    # Thresholds lie on a grid of 1e-4; few of 10,000 samples fall into one cell.
    assert np.mean(scores[labels == 0] >= fitted.fake) == pytest.approx(MAX_FPR, abs=0.002)
    assert np.mean(scores[labels == 1] < fitted.no_evidence) == pytest.approx(MAX_FNR, abs=0.002)


def test_separable_scores_get_thresholds_around_one_half():
    raw = np.r_[np.linspace(0.001, 0.05, 100), np.linspace(0.95, 0.999, 100)]
    fitted = fit_calibration(np.repeat([0, 1], 100), raw, level="video", data="synthetic")
    assert fitted.no_evidence <= 0.5 <= fitted.fake
    scores = calibrate(raw, fitted)
    assert (scores[:100] < fitted.fake).all()
    assert (scores[100:] >= fitted.no_evidence).all()


def test_four_samples_are_enough():
    fitted = _fit([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
    assert calibrate(0.6, fitted) < fitted.fake
    assert calibrate(0.4, fitted) >= fitted.no_evidence


@pytest.mark.parametrize(
    ("labels", "raw"),
    [([0, 0], [0.1, 0.2]), ([0, 1], [0.1, 1.5]), ([0, 1], [0.1, float("nan")]), ([0, 1], [0.1])],
)
def test_fit_rejects_invalid_samples(labels, raw):
    with pytest.raises(UsageError):
        _fit(labels, raw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "platt"}, "'platt'"),
        ({"fpr": 1.0}, "false alarms, 1, is not"),
        ({"fnr": -0.1}, "misses, -0.1, is not"),
        ({"fnr": float("nan")}, "misses, nan, is not"),
    ],
)
def test_fit_rejects_invalid_options(options, message):
    with pytest.raises(UsageError, match=message):
        _fit([0, 1], [0.1, 0.9], **options)


def _skewed(n, seed=0):
    """Return labels, and scores that no temperature can calibrate: all are too low."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.7, 0.7, n)
    return (rng.random(n) < probabilities).astype(int), probabilities**3


def test_isotonic_scores_keep_their_order_up_to_ties():
    labels, raw = _skewed(3_000)
    fitted = _fit(labels, raw, method="isotonic")
    scores = calibrate(raw, fitted)
    assert (np.diff(scores[np.argsort(raw)]) >= 0).all()
    # Isotonic regression pools scores whose labels have no trend, so the AUC changes by the ties only.
    assert auc(labels, scores) == pytest.approx(auc(labels, raw), abs=0.005)
    assert scores.min() > 0
    assert scores.max() < 1, "no number of samples gives certainty"
    everywhere = calibrate(np.linspace(0, 1, 5001), fitted)
    assert (np.diff(everywhere) >= 0).all()
    assert (everywhere[0], everywhere[-1]) == (fitted.knots[0][1], fitted.knots[-1][1])


def test_isotonic_scores_are_calibrated_where_a_temperature_does_not_help():
    labels, raw = _skewed(6_000)
    held_out = _skewed(6_000, seed=1)
    errors = {}
    for method in CALIBRATION_METHODS:
        fitted = _fit(labels, raw, method=method)
        errors[method] = calibration_error(held_out[0], calibrate(held_out[1], fitted))
    # Ten bins of 600: the standard error of a bin's share is at most 0.02.
    assert errors["isotonic"] < 0.03
    assert errors["temperature"] > 0.1
    assert calibration_error(*held_out) > 0.1


def test_isotonic_calibration_interpolates_between_knots():
    fitted = _calibration(method="isotonic", temperature=1.0, knots=((0.2, 0.1), (0.4, 0.1), (0.6, 0.9)))
    raw = np.array([[0.0, 0.2, 0.3], [0.5, 0.55, 1.0]])
    assert calibrate(raw, fitted) == pytest.approx(np.array([[0.1, 0.1, 0.1], [0.5, 0.7, 0.9]]))
    assert calibrate(0.5, fitted) == pytest.approx(0.5)
    assert type(calibrate(0.5, fitted)) is float


def test_identical_scores_are_calibrated_to_the_share_of_fakes():
    fitted = _fit([0, 0, 0, 1], [0.9] * 4, method="isotonic")
    assert fitted.knots == ((0.9, 0.25),)
    assert calibrate(0.1, fitted) == 0.25


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
def test_calibration_round_trips_through_a_card(tmp_path, method):
    labels, raw = _sample(500, 2.0)
    fitted = fit_calibration(labels, raw.astype(np.float32), level="video", data="synthetic", method=method)
    folder = toy.model(tmp_path / "toy", calibration=fitted)
    loaded = load_card(folder).calibration
    assert loaded == fitted
    np.testing.assert_array_equal(calibrate(raw, loaded), calibrate(raw, fitted))
    assert ("knots" in (folder / "card.yaml").read_text()) == (method == "isotonic")


def test_a_card_without_a_method_means_temperature_and_is_written_unchanged():
    calibration = load_card(DEFAULT_MODEL).calibration
    assert (calibration.method, calibration.knots) == ("temperature", ())
    expected = ["level", "data", "n", "rule", "temperature", "no_evidence", "fake"]
    assert list(calibration.to_json()) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "platt"},
        {"method": "isotonic", "temperature": 1.0},
        {"knots": ((0.1, 0.1),)},
        {"method": "isotonic", "knots": ((0.1, 0.1),)},
        {"method": "isotonic", "temperature": 1.0, "knots": ((0.2, 0.1), (0.1, 0.2))},
        {"method": "isotonic", "temperature": 1.0, "knots": ((0.1, 0.1), (0.1, 0.2))},
        {"method": "isotonic", "temperature": 1.0, "knots": ((0.1, 0.2), (0.2, 0.1))},
        {"method": "isotonic", "temperature": 1.0, "knots": ((0.1, 0.2), (0.2, 1.1))},
    ],
    ids=str,
)
def test_a_calibration_validates_its_method_and_knots(changed):
    with pytest.raises(ValueError, match=r"isotonic|knots"):
        _calibration(**changed)


@pytest.mark.parametrize("knots", ["[[0.1]]", "[0.1, 0.2]", "[[0.2, 0.1], [0.1, 0.2]]"])
def test_a_card_with_invalid_knots_is_rejected(tmp_path, knots):
    folder = toy.model(tmp_path / "toy")
    line = "  temperature: 1.0\n"
    text = (folder / "card.yaml").read_text().replace(line, f"{line}  method: isotonic\n  knots: {knots}\n")
    assert "knots" in text
    (folder / "card.yaml").write_text(text)
    with pytest.raises(ContractError, match="not a model card"):
        load_card(folder)


def _grouped(n=600):
    labels, raw = _sample(n, 2.5)
    return labels, raw, [f"group-{row // 3}" for row in range(n)]


def test_the_half_of_a_group_depends_only_on_its_name():
    groups = [f"group-{number}" for number in range(200)]
    second = second_half(groups)
    assert 60 < second.sum() < 140
    np.testing.assert_array_equal(second_half(groups[::-1] * 2), np.tile(second[::-1], 2))
    # The halves of earlier trainings.
    assert second_half(["group-0", "group-1", "group-2", "ff519", "lyszecuytu"]).tolist() == [
        False,
        True,
        True,
        True,
        False,
    ]


@pytest.fixture
def model(tmp_path):
    """The card of a model on disk, with results."""
    card = load_card(toy.model(tmp_path / "toy"))
    result = {"metric": "auc", "level": "frame", "value": 0.7, "data": "elsewhere"}
    return replace(card, results=(result, result | {"metric": "calibration_error"}))


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
def test_one_half_fits_the_calibration_and_the_other_measures_it(model, method):
    labels, raw, groups = _grouped()
    made = recalibrate(model, labels, raw, groups, level="frame", data="mine", method=method, fpr=0.1)
    second = second_half(groups)
    assert made.calibration == fit_calibration(
        labels[~second],
        raw[~second],
        level="frame",
        data="mine: first half of the groups",
        method=method,
        fpr=0.1,
    )
    fitted = {result["metric"]: result for result in made.results if "mine" in result["data"]}
    assert list(fitted) == list(METRICS)
    assert fitted["auc"]["value"] == round(auc(labels[second], raw[second]), 4)
    scores = calibrate(raw[second], made.calibration)
    assert fitted["calibration_error"]["value"] == round(calibration_error(labels[second], scores), 4)
    assert fitted["calibration_error"]["value"] < fitted["calibration_error_raw"]["value"]
    at_threshold = accuracy_from(labels[second], scores, made.calibration.fake)
    assert fitted["accuracy_at_threshold"]["value"] == round(at_threshold, 4)
    assert {result["n"] for result in fitted.values()} == {int(second.sum())}
    assert all("second half" in result["data"] and result["level"] == "frame" for result in fitted.values())


def test_recalibration_replaces_outdated_results(model):
    labels, raw, groups = _grouped()
    made = recalibrate(model, labels, raw, groups, level="frame", data="mine")
    assert made.results[0] == model.results[0]
    assert [result["data"] for result in made.results].count("elsewhere") == 1
    again = recalibrate(made, labels, raw, groups, level="frame", data="mine")
    assert again == made
    write_card(made)
    assert load_card(made.folder) == made


def test_halves_without_both_classes_are_rejected(model):
    with pytest.raises(UsageError, match=r"the (first|second) half has 0 of 4 samples and lacks"):
        recalibrate(model, [0, 1, 0, 1], [0.1] * 4, ["group-0"] * 4, level="frame", data="mine")
    with pytest.raises(UsageError, match="3 groups do not match"):
        recalibrate(model, [0, 1], [0.1] * 2, ["a"] * 3, level="frame", data="mine")
