"""All metrics of a set of scores, the reasons for undefined ones, and missing scores."""

import numpy as np
import pytest

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.errors import UsageError
from deepscan.evaluation.measurements import Measurement, cover, measure_all, measure_kinds
from deepscan.metrics.binary import METRICS, Interval, accuracy_from, auc, bootstrap, calibration_error

CALIBRATION = Calibration("video", "synthetic", 10, "by hand", temperature=2.0, no_evidence=0.3, fake=0.6)
RAW = [name for name, measure in METRICS.items() if measure.needs == "raw"]


def sample(n=120):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    return labels, scores, np.array([f"group-{row // 4}" for row in range(n)])


def test_all_metrics_equal_those_computed_one_by_one():
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


def test_without_groups_each_sample_is_its_own_group():
    labels, scores, _ = sample()
    found = measure_all(labels, scores, rounds=30)[0]
    assert found.groups == 120
    assert found.interval == bootstrap(auc, labels, scores, np.arange(120), rounds=30)


def test_metrics_of_calibrated_scores_need_a_calibration():
    labels, scores, groups = sample()
    found = {measurement.metric: measurement for measurement in measure_all(labels, scores, groups, rounds=5)}
    assert [name for name in found if found[name].value is not None] == RAW
    assert "no calibration" in found["calibration_error"].reason
    assert found["calibration_error"].to_json() == {
        "metric": "calibration_error",
        "value": None,
        "interval": None,
        "n": 120,
        "groups": 30,
        "reason": "the scores have no calibration",
    }


def test_ranking_metrics_of_one_class_are_undefined_with_a_reason():
    _, scores, groups = sample()
    found = {m.metric: m for m in measure_all(np.ones(120, int), scores, groups, CALIBRATION, rounds=20)}
    for name in ("auc", "partial_auc", "average_precision", "equal_error_rate", "recall_at_1_percent_fpr"):
        assert (found[name].value, found[name].reason) == (None, "all 120 samples are fake")
    assert found["accuracy"].value == np.mean(scores > 0.5)
    assert found["accuracy"].interval.low < found["accuracy"].value < found["accuracy"].interval.high


def test_a_single_group_gives_a_value_without_an_interval():
    labels, scores, _ = sample()
    found = measure_all(labels, scores, ["all"] * 120)[0]
    assert (found.value, found.interval) == (auc(labels, scores), None)
    assert "one group" in found.reason


def test_a_class_in_a_single_group_gives_no_interval():
    labels, scores, _ = sample()
    groups = np.where(labels == 1, "fakes", np.arange(120).astype(str))
    found = measure_all(labels, scores, groups)[0]
    assert (found.value, found.interval) == (auc(labels, scores), None)
    assert found.reason == "all fakes are in one group, so they cannot be resampled"


def test_no_samples_give_no_values():
    assert {(m.value, m.reason) for m in measure_all([], [])} == {(None, "no samples")}


def test_scores_outside_the_unit_interval_are_an_error():
    with pytest.raises(UsageError, match="outside"):
        measure_all([0, 1], [-2.0, 3.0])


def test_a_measurement_without_an_interval_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        Measurement("auc", 2, 1, 1.0, None)
    fields = Measurement("auc", 2, 2, 2 / 3, Interval(2 / 3, 1 / 3, 1.0, 0.95)).to_json()
    assert (fields["value"], fields["interval"], "reason" in fields) == (0.6667, [0.3333, 1.0], False)


def test_each_kind_of_fake_is_measured_against_all_reals():
    labels = np.array([0, 0, 1, 1, 1])
    scores = np.array([0.2, 0.5, 0.9, 0.3, 0.6])
    kinds = ["real", "youtube", "swap", "morph", "swap"]
    found = measure_kinds(labels, scores, kinds, np.arange(5), rounds=5)
    assert {kind: figures[0].value for kind, figures in found.items()} == {"swap": 1.0, "morph": 0.5}
    assert {kind: figures[0].n for kind, figures in found.items()} == {"swap": 4, "morph": 3}


def test_missing_scores_are_counted_by_reason():
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


def test_missing_scores_may_count_as_real_or_as_fake():
    scores = [0.2, float("nan"), 0.9]
    assert cover(scores, missing="as-real").scores.tolist() == [0.2, 0.0, 0.9]
    assert cover(scores, missing="as-fake").scores.tolist() == [0.2, 1.0, 0.9]
    assert cover(scores, missing="as-fake").rows.tolist() == [0, 1, 2]
    assert cover(scores, missing="as-fake").missing == {"no_score": 1}


def test_an_unknown_policy_is_rejected():
    with pytest.raises(UsageError, match="missing cannot be 'as-nothing'") as raised:
        cover([0.1], missing="as-nothing")
    assert "exclude, as-real, as-fake" in raised.value.hint
