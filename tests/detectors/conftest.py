"""Fixtures of the detector tests: a seed and a batch of crops."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def crops():
    return torch.randn(4, 3, 32, 32)
