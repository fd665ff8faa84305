"""What the tests of the user's models share."""

import pytest


@pytest.fixture
def store(tmp_path):
    """The folder of the user's models, not made yet."""
    return tmp_path / "store"
