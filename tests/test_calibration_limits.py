"""Test the values at which a calibrated score changes its verdict, and the rates at the limit."""

import numpy as np

from deepscan import calibration as module
from deepscan.calibration import calibrate, count_verdicts, logit
from deepscan.cards import Calibration

#: Leaves scores as they are.
PLAIN = Calibration(
    "video", "made", 8, "", 1.0, 0.25, 0.75, method="isotonic", knots=((0.0, 0.0), (1.0, 1.0))
)


def test_a_score_at_the_upper_threshold_is_called_fake_and_one_at_the_lower_is_not_cleared():
    raw = np.array([0.25, 0.2499, 0.75, 0.7499])
    for label in (0, 1):
        labels = np.full(4, label)
        counts = count_verdicts(labels, raw, PLAIN, level="video", data="made")
        called = (counts.reals_called_fake, counts.fakes_called_fake)[label]
        cleared = (counts.reals_no_evidence, counts.fakes_no_evidence)[label]
        assert (called, cleared) == (1, 1)


def test_a_rate_that_whole_groups_meet_exactly_is_not_exceeded_by_rounding():
    """Samples of a group share a weight of 1, and weights such as 1/3 do not add up exactly."""
    for size in range(1, 8):
        for groups in range(1, 13):
            scores = np.arange(groups * size, dtype=np.float64)
            weights = np.full(groups * size, 1 / size)
            for allowed in range(groups):
                assert module._first_beyond(scores, weights, allowed / groups) == allowed * size


def test_scores_of_0_and_1_keep_their_distance_from_all_others():
    """Clipping must not merge them with scores that float32 tells from them."""
    assert logit(1 - 1e-6) < logit(1) < 17
    assert logit(1e-6) > logit(0) > -17
    near = calibrate(np.array([0.0, 1e-6, 1 - 1e-6, 1.0]), Calibration("video", "", 8, "", 2.0, 0.3, 0.7))
    assert (np.diff(near) > 0).all()


def test_an_isotonic_calibration_is_no_more_certain_than_its_samples():
    labels = np.arange(38) % 2
    fitted = module.fit_calibration(
        labels, labels.astype(float), level="video", data="made", method="isotonic"
    )
    # 38 samples, none on the wrong side: 1 / (38 + 2).
    assert calibrate(np.array([0.0, 1.0]), fitted).tolist() == [0.025, 0.975]


def test_thresholds_lie_beyond_the_samples_they_are_fitted_to():
    labels = np.array([0, 0, 1, 1])
    scaled = np.array([0.1, 0.6, 0.4, 0.9])
    parts = [np.ones(4, bool)]
    low, high = module._thresholds(labels, scaled, np.ones(4), parts, 0.0, 0.0)
    # More than a ten-thousandth away, so that rounding to four digits cannot put a sample on the wrong side.
    assert (round(low, 4), round(high, 4)) == (0.3999, 0.6001)
