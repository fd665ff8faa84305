"""Metrics on hand-computed cases with ties, the bootstrap, and rejected input."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepscan.errors import UsageError
from deepscan.metrics import binary
from deepscan.metrics.binary import (
    METRICS,
    PUBLISHED_METRICS,
    accuracy,
    accuracy_from,
    auc,
    average_precision,
    bootstrap,
    bootstrap_all,
    calibration_error,
    eer,
    partial_auc,
    published_eer,
    tpr_at_fpr,
)

RANKING = (auc, partial_auc, average_precision, eer, published_eer, tpr_at_fpr)
ALL = (*RANKING, accuracy, calibration_error)


def sample(n, groups, digits, seed=0):
    """Return labels, scores rounded to a number of digits (few digits give many ties), and groups."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1).round(digits)
    return labels, scores, [f"group-{group}" for group in rng.integers(0, groups, n)]


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
    assert eer(labels, scores) == pytest.approx(1 / 3)
    assert eer([0, 1], [0.1, 0.9]) == 0


def test_equal_error_rate_considers_every_threshold():
    # Three fakes, two reals, a fake, two reals: at 0.6 a quarter of the reals and of the fakes are wrong.
    labels, scores = [1, 1, 1, 0, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    assert eer(labels, scores) == 0.25
    # DeepfakeBench considers only (0, 0.75) and (0.5, 0.75), the ends of that segment.
    assert published_eer(labels, scores) == 0


def test_partial_auc_covers_low_false_positive_rates_only():
    # 10 reals: up to FPR 0.1 one of them may rank among the fakes. Half of the fakes are above every real,
    # and the line to the next point, (0.1, 0.5), is level: area 0.05 of at most 0.1, chance has 0.005.
    reals = [0.8, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    labels, scores = [0] * 10 + [1, 1], [*reals, 0.9, 0.5]
    assert partial_auc(labels, scores) == pytest.approx(0.5 * (1 + (0.05 - 0.005) / (0.1 - 0.005)))
    assert partial_auc([0, 1], [0.1, 0.9]) == 1
    assert partial_auc([0, 1], [0.5, 0.5]) == pytest.approx(0.5)
    assert partial_auc([0, 1], [0.9, 0.1]) == pytest.approx(0.5 * (1 - 0.005 / 0.095))


def test_tpr_at_low_fpr_counts_ties_together():
    # Of 100 reals one may be a false positive: the real at 0.8; with the two at 0.6 there would be three.
    reals = np.r_[0.8, 0.6, 0.6, np.zeros(97)]
    labels = np.r_[np.zeros(100, int), np.ones(4, int)]
    assert tpr_at_fpr(labels, np.r_[reals, 0.9, 0.7, 0.6, 0.1]) == 0.5
    # A fake that ties with the allowed false positive counts. With 99 reals none is allowed.
    assert tpr_at_fpr(labels, np.r_[reals, 0.9, 0.8, 0.6, 0.1]) == 0.5
    assert tpr_at_fpr(labels[1:], np.r_[reals[:-1], 0.9, 0.8, 0.6, 0.1]) == 0.25
    assert tpr_at_fpr([0, 1], [0.5, 0.5]) == 0


def test_accuracy_counts_a_score_of_one_half_as_real():
    assert accuracy([0, 1, 1, 0], [0.5, 0.5, 0.51, 0.2]) == 0.75
    assert accuracy([1, 1], [0.9, 0.1]) == 0.5


def test_accuracy_from_counts_a_score_at_the_threshold_as_fake():
    assert accuracy_from([0, 1, 1, 0], [0.7, 0.7, 0.71, 0.2], 0.7) == 0.75
    assert accuracy_from([1, 1], [0.9, 0.1], 0.5) == 0.5


def test_calibration_error_weights_bins_by_their_samples():
    # Bin 0.9: mean score 0.95, share of fakes 3/4 (4 samples); bin 0.1: mean 0.1, no fakes (1 sample).
    error = calibration_error([1, 1, 1, 0, 0], [0.95, 0.95, 0.95, 0.95, 0.1])
    assert error == pytest.approx((4 * 0.2 + 1 * 0.1) / 5)
    assert calibration_error([0, 1], [0.0, 1.0]) == 0


def test_calibration_error_of_calibrated_scores_is_near_zero():
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    labels = (rng.random(200_000) < scores).astype(int)
    # Ten bins of 20,000: the standard error of a bin's share is at most 0.0035.
    assert calibration_error(labels, scores) < 0.007
    assert calibration_error(labels, scores**3) > 0.1


@pytest.mark.parametrize("metric", ALL)
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
def test_invalid_samples_are_rejected(metric, labels, scores, message):
    with pytest.raises(UsageError, match=message):
        metric(labels, scores)


@pytest.mark.parametrize("metric", RANKING)
@pytest.mark.parametrize(("label", "name"), [(0, "real"), (1, "fake")])
def test_ranking_metrics_reject_a_single_class(metric, label, name):
    with pytest.raises(UsageError, match=f"all 2 samples are {name}"):
        metric([label, label], [0.2, 0.4])


def test_bootstrap_interval_contains_the_value_and_is_reproducible():
    labels, scores, groups = sample(200, 200, 9, seed=1)
    interval = bootstrap(auc, labels, scores, groups, rounds=200)
    assert interval.low < interval.value < interval.high
    assert interval.value == auc(labels, scores)
    assert interval == bootstrap(auc, labels, scores, groups, rounds=200)


def test_bootstrap_intervals_do_not_shrink_with_copies_of_samples():
    labels, scores, _ = sample(60, 60, 9, seed=1)
    groups = [str(row) for row in range(60)]
    once = bootstrap(auc, labels, scores, groups, rounds=300)
    copied = bootstrap(auc, np.tile(labels, 9), np.tile(scores, 9), groups * 9, rounds=300)
    naive = bootstrap(
        auc, np.tile(labels, 9), np.tile(scores, 9), [str(row) for row in range(540)], rounds=300
    )
    # Nine copies of a sample are worth one: the interval stays. Resampled by sample, it would shrink by 3.
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


@pytest.mark.parametrize(("n", "groups", "digits"), [(300, 40, 2), (400, 60, 1), (200, 200, 9)])
def test_weighted_draws_equal_draws_of_repeated_samples(n, groups, digits):
    labels, scores, named = sample(n, groups, digits)
    members = [np.flatnonzero(np.asarray(named) == group) for group in sorted(set(named))]
    rng = np.random.default_rng(5)
    drawn = [
        np.concatenate([members[index] for index in rng.integers(len(members), size=len(members))])
        for _ in range(40)
    ]
    found = bootstrap_all(ALL, labels, scores, named, rounds=40, seed=5)
    for metric, interval in zip(ALL, found, strict=True):
        figures = [metric(labels[rows], scores[rows]) for rows in drawn]
        # The same sums, with their terms in a different order.
        assert interval.value == metric(labels, scores)
        assert (interval.low, interval.high) == pytest.approx(np.quantile(figures, (0.025, 0.975)), abs=1e-12)
        assert bootstrap(metric, labels, scores, named, rounds=40, seed=5) == interval


def test_intervals_stay_those_of_published_cards():
    labels, scores, named = sample(200, 30, 2)
    interval = bootstrap(auc, labels, scores, named)
    # The code that measured the published cards gave this with seed 0.
    assert (interval.value, interval.low, interval.high) == pytest.approx(
        (0.7565543071, 0.6879654654, 0.8239320954), abs=1e-9
    )


def test_bootstrap_accepts_any_metric():
    labels, scores, named = sample(100, 20, 2)
    found = bootstrap_all([roc_auc_score, auc], labels, scores, named, rounds=50)
    assert (found[0].low, found[0].high) == pytest.approx((found[1].low, found[1].high), abs=1e-12)


def test_groups_may_be_numbers():
    labels, scores, _ = sample(100, 20, 2)
    numbers = np.arange(100) % 20
    named = [f"{number:02}" for number in numbers]
    assert bootstrap(auc, labels, scores, numbers, rounds=30) == bootstrap(
        auc, labels, scores, named, rounds=30
    )


def test_bootstrap_repeats_draws_that_lack_a_class():
    interval = bootstrap(auc, [0, 1, 1], [0.1, 0.9, 0.8], ["a", "b", "c"], rounds=50)
    assert interval.value == interval.low == interval.high == 1


def test_a_single_class_has_intervals_of_the_metrics_defined_for_it():
    interval = bootstrap(accuracy, [1, 1, 1], [0.9, 0.1, 0.8], ["a", "b", "c"], rounds=200)
    assert (interval.low, interval.value, interval.high) == pytest.approx((0, 2 / 3, 1))
    with pytest.raises(UsageError, match="all 3 samples are fake"):
        bootstrap(auc, [1, 1, 1], [0.9, 0.1, 0.8], ["a", "b", "c"], rounds=5)


def test_bootstrap_needs_a_group_for_each_sample():
    with pytest.raises(UsageError, match="1 groups for 2"):
        bootstrap(auc, [0, 1], [0.1, 0.9], ["a"])


def test_every_metric_ranks_good_scores_better_than_bad_ones_in_its_direction():
    labels, scores, _ = sample(2000, 10, 9)
    for name, measure in METRICS.items():
        threshold = (0.5,) if measure.needs == "threshold" else ()
        good, bad = (measure.function(labels, values, *threshold) for values in (scores, 1 - scores))
        assert (good > bad) == (measure.better == "higher"), name
    assert {measure.function for of in (METRICS, PUBLISHED_METRICS) for measure in of.values()} >= set(ALL)
    assert set(binary._OF_CURVE) == set(RANKING), "a ranking metric is resampled without sorting again"
