"""The interval of a share, against scipy's."""

import pytest
from scipy.stats import binomtest

from deepscan.metrics.proportion import wilson_interval


@pytest.mark.parametrize(("count", "total"), [(0, 10), (5, 34), (2, 37), (10, 10), (1, 1)])
def test_the_interval_of_a_share_is_wilsons(count, total):
    wanted = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, total) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
