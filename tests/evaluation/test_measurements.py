"""All figures at once: what means nothing is told in words, and who has no score is counted."""

import numpy as np
import pytest

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.errors import UsageError
from deepscan.evaluation.measurements import Measurement, cover, measure_all, measure_kinds
from deepscan.metrics.binary import METRICS, Interval, accuracy_from, auc, bootstrap, calibration_error

CALIBRATION = Calibration("video", "made up", 10, "by hand", temperature=2.0, no_evidence=0.3, fake=0.6)
RAW = [name for name, measure in METRICS.items() if measure.needs == "raw"]


def sample(n=120):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    return labels, scores, np.array([f"group-{row // 4}" for row in range(n)])


def test_all_figures_are_those_that_are_measured_one_by_one():
    labels, scores, groups = sample()
    found = measure_all(labels, scores, groups, CALIBRATION, rounds=50)
    assert [measurement.metric for measurement in found] == list(METRICS)
    by_name = {measurement.metric: measurement for measurement in found}
    assert by_name["auc"] == Measurement(
        "auc", 120, 30, auc(labels, scores), bootstrap(auc, labels, scores, groups, rounds=50)
    )
    calibrated = calibrate(scores, CALIBRATION)
    assert by_name["calibration_error"].value == calibration_error(labels, calibrated)
    assert by_name["calibration_error_raw"].value == calibration_error(labels, scores)
    assert by_name["accuracy_at_threshold"].value == accuracy_from(labels, calibrated, 0.6)
    assert by_name["accuracy_at_threshold"].value != by_name["accuracy"].value


def test_without_groups_each_sample_is_its_own():
    labels, scores, _ = sample()
    found = measure_all(labels, scores, rounds=30)[0]
    assert found.groups == 120
    assert found.interval == bootstrap(auc, labels, scores, np.arange(120), rounds=30)


def test_without_a_calibration_there_are_no_figures_of_calibrated_scores():
    labels, scores, groups = sample()
    found = {measurement.metric: measurement for measurement in measure_all(labels, scores, groups, rounds=5)}
    assert [name for name in found if found[name].value is not None] == RAW
    assert "without a calibration" in found["calibration_error"].reason
    assert found["calibration_error"].to_json() == {
        "metric": "calibration_error",
        "value": None,
        "interval": None,
        "n": 120,
        "groups": 30,
        "reason": "the scores come without a calibration",
    }


def test_of_one_class_alone_no_order_is_measured_and_the_reason_is_told():
    _, scores, groups = sample()
    found = {m.metric: m for m in measure_all(np.ones(120, int), scores, groups, CALIBRATION, rounds=20)}
    for name in ("auc", "partial_auc", "average_precision", "equal_error_rate", "recall_at_1_percent_fpr"):
        assert (found[name].value, found[name].reason) == (None, "all 120 samples are fake")
    assert found["accuracy"].value == np.mean(scores > 0.5)
    assert found["accuracy"].interval.low < found["accuracy"].value < found["accuracy"].interval.high


def test_of_one_group_there_is_a_figure_without_an_interval():
    labels, scores, _ = sample()
    found = measure_all(labels, scores, ["all"] * 120)[0]
    assert (found.value, found.interval) == (auc(labels, scores), None)
    assert "one group" in found.reason


def test_where_one_class_is_of_one_group_no_draw_would_show_how_it_varies():
    labels, scores, _ = sample()
    groups = np.where(labels == 1, "fakes", np.arange(120).astype(str))
    found = measure_all(labels, scores, groups)[0]
    assert (found.value, found.interval) == (auc(labels, scores), None)
    assert found.reason == "all fakes are of one group: there is nothing to resample"


def test_of_nothing_there_is_nothing_to_tell():
    assert {(m.value, m.reason) for m in measure_all([], [])} == {(None, "there are no samples")}


def test_scores_that_are_no_probabilities_are_an_error_and_no_reason():
    with pytest.raises(UsageError, match="outside"):
        measure_all([0, 1], [-2.0, 3.0])


def test_a_figure_without_an_interval_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        Measurement("auc", 2, 1, 1.0, None)
    stated = Measurement("auc", 2, 2, 2 / 3, Interval(2 / 3, 1 / 3, 1.0, 0.95)).to_json()
    assert (stated["value"], stated["interval"], "reason" in stated) == (0.6667, [0.3333, 1.0], False)


def test_each_kind_of_fake_stands_against_all_reals():
    labels = np.array([0, 0, 1, 1, 1])
    scores = np.array([0.2, 0.5, 0.9, 0.3, 0.6])
    kinds = ["real", "youtube", "swap", "morph", "swap"]
    found = measure_kinds(labels, scores, kinds, np.arange(5), rounds=5)
    assert {kind: figures[0].value for kind, figures in found.items()} == {"swap": 1.0, "morph": 0.5}
    assert {kind: figures[0].n for kind, figures in found.items()} == {"swap": 4, "morph": 3}


def test_who_has_no_score_is_counted_by_reason():
    scores = [0.2, float("nan"), 0.9, float("nan"), float("nan")]
    statuses = ["ok", "no_face", "ok", "unreadable", "no_face"]
    found = cover(scores, statuses)
    assert found.to_json() == {
        "n": 5,
        "scored": 2,
        "missing": {"no_face": 2, "unreadable": 1},
        "missing_counted": "exclude",
    }
    assert (found.rows.tolist(), found.scores.tolist()) == ([0, 2], [0.2, 0.9])


def test_who_has_no_score_may_stand_for_real_or_for_fake():
    scores = [0.2, float("nan"), 0.9]
    assert cover(scores, missing="as-real").scores.tolist() == [0.2, 0.0, 0.9]
    assert cover(scores, missing="as-fake").scores.tolist() == [0.2, 1.0, 0.9]
    assert cover(scores, missing="as-fake").rows.tolist() == [0, 1, 2]
    assert cover(scores, missing="as-fake").missing == {"no_score": 1}


def test_an_unknown_way_to_count_them_is_refused():
    with pytest.raises(UsageError, match="missing cannot be 'as-nothing'") as raised:
        cover([0.1], missing="as-nothing")
    assert "exclude, as-real, as-fake" in raised.value.hint
