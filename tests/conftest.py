"""What several parts of the tests share because it takes seconds to make."""

import pytest

from deepscan.detectors import DETECTORS


@pytest.fixture(scope="session", params=DETECTORS.names)
def published(request, tmp_path_factory):
    """A published model of each method."""
    from tests.tiny import published

    return published(request.param, tmp_path_factory.mktemp("published") / request.param)
