"""Fixtures of the tests of installed models."""

import pytest


@pytest.fixture
def store(tmp_path):
    """The folder of installed models, which does not exist yet."""
    return tmp_path / "store"
