"""Calibration: the temperature that was put in comes out, and the thresholds keep their promises."""

import subprocess
import sys

import numpy as np
import pytest

from deepscan.cards import Calibration
from deepscan.errors import UsageError
from deepscan.scan.calibration import FALSE_ALARMS, MISSES, calibrate, fit


def _stated(**changed):
    values = {
        "level": "frame",
        "data": "made up",
        "n": 2,
        "rule": "",
        "temperature": 2.0,
        "no_evidence": 0.2,
        "fake": 0.8,
    }
    return Calibration(**{**values, **changed})


def _sample(n, overconfidence, spread=2.0):
    """Return labels, and scores whose logit is `overconfidence` times the true one."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, spread, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(int)
    return labels, 1 / (1 + np.exp(-overconfidence * logits))


def test_the_logit_is_divided_by_the_temperature():
    raw = 0.9
    logit = np.log(raw / (1 - raw)) / 2
    assert calibrate(raw, _stated()) == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-12)
    assert calibrate(raw, _stated(temperature=1.0)) == pytest.approx(raw, rel=1e-12)
    assert calibrate(0.5, _stated()) == 0.5


def test_a_number_gives_a_number_and_an_array_its_shape():
    assert type(calibrate(0.3, _stated())) is float
    raw = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    scaled = calibrate(raw, _stated())
    assert scaled.shape == (3, 4)
    assert (np.diff(scaled.ravel()) > 0).all()


def test_certainty_stays_finite():
    scaled = calibrate(np.array([0.0, 1.0]), _stated(temperature=0.05))
    assert np.isfinite(scaled).all()
    assert 0 <= scaled[0] < 1e-6
    assert 1 - 1e-6 < scaled[1] <= 1


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_the_fit_finds_how_overconfident_scores_are(overconfidence):
    labels, raw = _sample(20_000, overconfidence)
    found = fit(labels, raw, level="frame", data="made up")
    # With 20,000 samples of this spread the estimate's standard error is about 2 %.
    assert found.temperature == pytest.approx(overconfidence, rel=0.07)
    assert (found.level, found.n, found.data) == ("frame", 20_000, "made up")


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0, 6.0])
def test_thresholds_keep_their_promises_on_the_data_of_the_fit(spread):
    labels, raw = _sample(2_000, 1.5, spread)
    found = fit(labels, raw, level="frame", data="made up")
    scores = calibrate(raw, found)
    assert np.mean(scores[labels == 0] >= found.fake) <= FALSE_ALARMS
    assert np.mean(scores[labels == 1] < found.no_evidence) <= MISSES
    assert 0 <= found.no_evidence <= 0.5 <= found.fake <= 1


def test_thresholds_of_weak_scores_are_no_looser_than_they_must_be():
    labels, raw = _sample(20_000, 1.0, 1.0)
    found = fit(labels, raw, level="frame", data="made up")
    scores = calibrate(raw, found)
    # Thresholds lie on a grid of 1e-4, below which few of 10,000 samples fall.
    assert np.mean(scores[labels == 0] >= found.fake) == pytest.approx(FALSE_ALARMS, abs=0.002)
    assert np.mean(scores[labels == 1] < found.no_evidence) == pytest.approx(MISSES, abs=0.002)


def test_scores_that_separate_leave_a_sensible_band():
    raw = np.r_[np.linspace(0.001, 0.05, 100), np.linspace(0.95, 0.999, 100)]
    found = fit(np.repeat([0, 1], 100), raw, level="video", data="made up")
    assert found.no_evidence <= 0.5 <= found.fake
    scores = calibrate(raw, found)
    assert (scores[:100] < found.fake).all()
    assert (scores[100:] >= found.no_evidence).all()


def test_a_handful_of_samples_is_enough():
    found = fit([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], level="frame", data="made up")
    assert calibrate(0.6, found) < found.fake
    assert calibrate(0.4, found) >= found.no_evidence


@pytest.mark.parametrize(
    ("labels", "raw"),
    [([0, 0], [0.1, 0.2]), ([0, 1], [0.1, 1.5]), ([0, 1], [0.1, float("nan")]), ([0, 1], [0.1])],
)
def test_what_cannot_be_fitted_is_refused(labels, raw):
    with pytest.raises(UsageError):
        fit(labels, raw, level="frame", data="made up")


def test_the_apply_side_needs_no_scientific_stack():
    code = (
        "import sys, deepscan.scan.calibration; "
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
