"""The Wilson interval equals scipy's."""

import pytest
from scipy.stats import binomtest

from deepscan.metrics.proportion import wilson_interval


@pytest.mark.parametrize(("count", "total"), [(0, 10), (5, 34), (2, 37), (10, 10), (1, 1)])
def test_wilson_interval_equals_scipys(count, total):
    expected = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, total) == pytest.approx((expected.low, expected.high), abs=1e-6)
