"""The metrics: hand cases with ties, and what is refused."""

import numpy as np
import pytest

from deepscan.errors import UsageError
from deepscan.evaluation.metrics import (
    accuracy,
    auc,
    average_precision,
    bootstrap,
    calibration_error,
    equal_error_rate,
)

METRICS = (auc, average_precision, equal_error_rate, accuracy, calibration_error)


def test_auc_counts_ties_half():
    # Pairs of a real and a fake: 0.8 > 0.5, 0.8 > 0.2, 0.5 = 0.5 (half), 0.5 > 0.2.
    assert auc([0, 0, 1, 1], [0.2, 0.5, 0.5, 0.8]) == pytest.approx(3.5 / 4)
    assert auc([0, 1], [0.3, 0.3]) == 0.5
    assert auc([0, 0, 1], [0.1, 0.2, 0.9]) == 1


def test_average_precision_is_a_sum_of_steps():
    # Ranked 0.9 fake, 0.8 real, 0.7 fake: half the recall at precision 1, half at 2/3.
    assert average_precision([1, 0, 1], [0.9, 0.8, 0.7]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_equal_error_rate_does_not_interpolate():
    # ROC points (FPR, TPR): (0, 0), (0, .5), (1/3, .5), (1/3, 1), (1, 1). |FNR - FPR| is smallest, 1/6, at
    # (1/3, .5); between the points the rates would meet elsewhere.
    labels, scores = [0, 0, 0, 1, 1], [0.1, 0.2, 0.8, 0.7, 0.9]
    assert equal_error_rate(labels, scores) == pytest.approx(1 / 3)
    assert equal_error_rate([0, 1], [0.1, 0.9]) == 0


def test_accuracy_takes_a_half_for_real():
    assert accuracy([0, 1, 1, 0], [0.5, 0.5, 0.51, 0.2]) == 0.75
    assert accuracy([1, 1], [0.9, 0.1]) == 0.5


def test_calibration_error_weighs_bins_by_their_samples():
    # Bin 0.9: mean score 0.95, share of fakes 3/4 (4 samples); bin 0.1: mean 0.1, no fakes (1 sample).
    error = calibration_error([1, 1, 1, 0, 0], [0.95, 0.95, 0.95, 0.95, 0.1])
    assert error == pytest.approx((4 * 0.2 + 1 * 0.1) / 5)
    assert calibration_error([0, 1], [0.0, 1.0]) == 0


def test_calibration_error_of_honest_scores_vanishes():
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    labels = (rng.random(200_000) < scores).astype(int)
    # Ten bins of 20,000: the standard error of a bin's share is at most 0.0035.
    assert calibration_error(labels, scores) < 0.007
    assert calibration_error(labels, scores**3) > 0.1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1, float("nan")], "1 of 2 scores are NaN"),
        ([0, 1], [0.1, 1.2], "outside"),
        ([0, 2], [0.1, 0.2], "neither 0 nor 1"),
        ([0, 1, 1], [0.1, 0.2], "do not match"),
        ([], [], "no samples"),
    ],
)
def test_what_means_nothing_is_refused(metric, labels, scores, message):
    with pytest.raises(UsageError, match=message):
        metric(labels, scores)


@pytest.mark.parametrize("metric", METRICS[:3])
@pytest.mark.parametrize(("label", "name"), [(0, "real"), (1, "fake")])
def test_a_ranking_of_one_class_is_refused(metric, label, name):
    with pytest.raises(UsageError, match=f"all 2 samples are {name}"):
        metric([label, label], [0.2, 0.4])


def test_bootstrap_holds_the_figure_and_repeats_with_its_seed():
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 2
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    groups = [str(at) for at in range(200)]
    interval = bootstrap(auc, labels, scores, groups, rounds=200)
    assert interval.low < interval.value < interval.high
    assert interval.value == auc(labels, scores)
    assert interval == bootstrap(auc, labels, scores, groups, rounds=200)


def test_bootstrap_knows_that_copies_are_no_evidence():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    groups = [str(at) for at in range(60)]
    once = bootstrap(auc, labels, scores, groups, rounds=300)
    copied = bootstrap(auc, np.tile(labels, 9), np.tile(scores, 9), groups * 9, rounds=300)
    naive = bootstrap(auc, np.tile(labels, 9), np.tile(scores, 9), [str(at) for at in range(540)], rounds=300)
    # Nine copies of a sample say no more than one: the interval stays; by sample it would shrink by 3.
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_bootstrap_draws_again_where_a_class_is_missing():
    interval = bootstrap(auc, [0, 1, 1], [0.1, 0.9, 0.8], ["a", "b", "c"], rounds=50)
    assert interval.value == interval.low == interval.high == 1


def test_bootstrap_needs_a_group_for_each_sample():
    with pytest.raises(UsageError, match="1 groups for 2"):
        bootstrap(auc, [0, 1], [0.1, 0.9], ["a"])
