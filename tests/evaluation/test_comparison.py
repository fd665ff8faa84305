"""Comparison of two detectors: DeLong's test against the sum over all pairs, and the matching of samples."""

import numpy as np
import pytest
from scipy.stats import norm

from deepscan.errors import UsageError
from deepscan.evaluation.comparison import bootstrap_difference, compare, delong
from deepscan.evaluation.scores import read_scores
from deepscan.metrics.binary import auc, bootstrap


def by_all_pairs(labels, first, second):
    """Return the variance of the difference of two AUCs, from the paper's sums over pairs."""
    fake, real = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    wins = [
        np.array([[1.0 if s[x] > s[y] else 0.5 if s[x] == s[y] else 0.0 for y in real] for x in fake])
        for s in (first, second)
    ]
    theta = [win.mean() for win in wins]
    of_fakes, of_reals = np.zeros((2, 2)), np.zeros((2, 2))
    for r in range(2):
        for s in range(2):
            for row in range(len(fake)):
                of_fakes[r, s] += (wins[r][row].mean() - theta[r]) * (wins[s][row].mean() - theta[s])
            for row in range(len(real)):
                of_reals[r, s] += (wins[r][:, row].mean() - theta[r]) * (wins[s][:, row].mean() - theta[s])
    cov = of_fakes / (len(fake) - 1) / len(fake) + of_reals / (len(real) - 1) / len(real)
    return cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]


def sample(n, digits, gap=0.1, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(int)
    common = rng.normal(0.3 + 0.2 * labels, 0.15)
    first = np.clip(common + gap * labels + rng.normal(0, 0.05, n), 0, 1).round(digits)
    second = np.clip(common + rng.normal(0, 0.1, n), 0, 1).round(digits)
    return labels, first, second


@pytest.mark.parametrize("digits", [9, 2, 1])
def test_delong_matches_the_covariance_over_all_pairs(digits):
    labels, first, second = sample(70, digits)
    found = delong(labels, first, second)
    error = np.sqrt(by_all_pairs(labels, first, second))
    difference = auc(labels, first) - auc(labels, second)
    assert (found.first, found.second) == pytest.approx((auc(labels, first), auc(labels, second)), abs=1e-12)
    assert found.error == pytest.approx(error, rel=1e-9)
    assert found.difference.value == pytest.approx(difference, abs=1e-12)
    assert found.p == pytest.approx(2 * norm.cdf(-abs(difference) / error), rel=1e-9)
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.959964 * error, rel=1e-6)


def test_delong_by_hand():
    # Fakes 3, 4; reals 1, 2 (in tenths). The first detector ranks perfectly; the second scores the fake 3 and
    # the real 2 equally. Its shares of reals below are 1 - 1/4 = 0.75 and 1 for the fakes, those of fakes
    # above 1 and 0.75 for the reals. The differences are (0.25, 0) on both sides, with a variance of 0.03125.
    labels = [0, 0, 1, 1]
    found = delong(labels, [0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.3, 0.4])
    assert (found.first, found.second) == (1.0, 0.875)
    assert found.error == pytest.approx(np.sqrt(0.03125 / 2 + 0.03125 / 2))
    z = 0.125 / np.sqrt(0.03125)
    assert found.p == pytest.approx(2 * (1 - norm.cdf(z)))
    assert found.difference.high == pytest.approx(0.125 + 1.959964 * np.sqrt(0.03125), abs=1e-6)
    swapped = delong(labels, [0.1, 0.3, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])
    assert (swapped.difference.value, swapped.p) == (-0.125, found.p)


def test_equal_rankings_have_no_difference():
    labels, first, _ = sample(50, 9)
    found = delong(labels, first, first**3)
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert found.p == 1


def test_p_is_undefined_without_variance():
    found = delong([0, 0, 1, 1], [0.1, 0.1, 0.9, 0.9], [0.9, 0.9, 0.1, 0.1])
    assert (found.difference.value, found.error, found.p) == (1, 0, None)


def test_delong_needs_two_samples_of_each_class():
    with pytest.raises(UsageError, match="2 real and 1 fake"):
        delong([0, 0, 1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])


def test_equal_detectors_differ_significantly_in_one_of_twenty_tests():
    rng = np.random.default_rng(0)
    ps = []
    for _ in range(200):
        labels = np.arange(60) % 2
        common = rng.normal(0.4 + 0.1 * labels, 0.15)
        one, two = (np.clip(common + rng.normal(0, 0.1, 60), 0, 1) for _ in range(2))
        ps.append(delong(labels, one, two).p)
    # Expected are 10, with a standard deviation of 3.1; the tolerance is four standard deviations.
    assert 0 < sum(p < 0.05 for p in ps) < 23
    assert delong(*sample(300, 9)).p < 0.001, "a better detector is significant"


def test_the_bootstrap_agrees_with_delong():
    labels, first, second = sample(300, 9)
    found = bootstrap_difference(labels, first, second, np.arange(300))
    test = delong(labels, first, second)
    assert found.value == pytest.approx(test.difference.value, abs=1e-12)
    # With 1000 draws, a bound has an error of about a tenth of half the interval.
    assert (found.low, found.high) == pytest.approx(
        (test.difference.low, test.difference.high), abs=0.4 * test.error
    )


def test_the_bootstrap_is_paired():
    labels, first, second = sample(100, 9)
    groups = np.arange(100) // 5
    paired = bootstrap_difference(labels, first, second, groups, rounds=200)
    one = bootstrap(auc, labels, first, groups, rounds=200)
    assert paired.high - paired.low < one.high - one.low, "the shared variation cancels"
    same = bootstrap_difference(labels, first, first, groups, rounds=20)
    assert (same.low, same.high) == (0, 0)


@pytest.fixture
def write_scores_file(tmp_path):
    """Return a function that writes lines to a score file and reads it."""

    def write(*lines):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        path.write_text("\n".join(lines) + "\n")
        return read_scores(path)

    return write


HEAD = "video,label,score"
OURS = ("a,0,0.1", "b,0,0.4", "c,1,0.3", "d,1,0.9")


def test_only_samples_scored_by_both_are_compared(write_scores_file):
    first = write_scores_file(HEAD, *OURS, "e,0,0.9", "f,1,", "only,1,0.9")
    second = write_scores_file(HEAD, "lonely,0,0.1", "another,0,0.1", "f,1,0.5", "e,0,", *reversed(OURS))
    found = compare(first, second)
    assert (found.fakes, found.reals) == (2, 2)
    assert (found.only_first, found.only_second) == (1, 2)
    assert (found.unscored_first, found.unscored_second) == (1, 1)
    assert found.test.difference.value == 0, "samples are matched by name, in any order"
    assert found.test.first == 0.75
    report = found.to_json()
    assert (report["n"], report["without_partner"], report["without_score"]) == (4, [1, 2], [1, 1])


def test_groups_may_come_from_either_file(write_scores_file):
    plain = write_scores_file(HEAD, *OURS)
    grouped = write_scores_file(f"{HEAD},group", *(f"{line},{row % 2}" for row, line in enumerate(OURS)))
    assert (compare(plain, grouped).groups, compare(grouped, plain).groups) == (2, 2)
    assert compare(plain, plain).groups == 4
    one = write_scores_file(f"{HEAD},group", *(f"{line},g" for line in OURS))
    assert compare(one, plain).resampled is None


def test_frames_are_averaged_or_compared_one_by_one(write_scores_file):
    head = f"{HEAD},frame"
    frames = write_scores_file(head, *(f"{line},{number}" for line in OURS for number in range(2)))
    plain = write_scores_file(HEAD, *OURS)
    assert compare(frames, plain).fakes == 2
    found = compare(frames, frames, of="frame")
    assert (found.fakes, found.groups, found.of) == (4, 4, "frame")
    with pytest.raises(UsageError, match="more than once"):
        compare(frames, plain, of="frame")


def test_columns_in_only_one_file_are_ignored(write_scores_file):
    full = write_scores_file(f"{HEAD},dataset,split", *(f"{line},DFDC,test" for line in OURS))
    assert compare(full, write_scores_file(HEAD, *OURS)).fakes == 2
    other = write_scores_file(f"{HEAD},dataset", *(f"{line},UADFV" for line in OURS))
    with pytest.raises(UsageError, match="no videos in common"):
        compare(full, other)


def test_conflicting_labels_are_rejected(write_scores_file):
    with pytest.raises(UsageError, match="1 labels differ between the two files: 'b' is real in the first"):
        compare(write_scores_file(HEAD, *OURS), write_scores_file(HEAD, OURS[0], "b,1,0.4", *OURS[2:]))


def test_ambiguous_names_are_rejected(write_scores_file):
    ambiguous = write_scores_file(f"{HEAD},kind", *(f"{line},swap" for line in OURS), "d,1,0.8,morph")
    with pytest.raises(UsageError, match="'d' occurs more than once in the first file"):
        compare(ambiguous, write_scores_file(HEAD, *OURS))


def test_a_name_may_be_shared_by_a_real_and_a_fake(write_scores_file):
    lines = ("a,0,0.1", "a,1,0.4", "b,0,0.3", "b,1,0.9")
    assert compare(write_scores_file(HEAD, *lines), write_scores_file(HEAD, *lines)).fakes == 2
