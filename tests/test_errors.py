"""Errors: they survive the way from one process to another."""

import pickle

import pytest

from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError


@pytest.mark.parametrize("kind", [DeepscanError, UsageError, ContractError, MissingError])
def test_an_error_is_the_same_after_a_pipe(kind):
    error = pickle.loads(pickle.dumps(kind("what failed", "what to do")))
    assert type(error) is kind
    assert (str(error), error.message, error.hint) == ("what failed", "what failed", "what to do")
