"""A wrong command line: one message and one hint in the style of all other errors."""

import pytest

from deepscan.errors import ExitCode
from tests.command import deepscan


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["sacn"], "unknown command 'sacn'", "did you mean 'scan'?"),
        (["xyz"], "unknown command 'xyz'", "run: deepscan --help"),
        (["models", "xyz"], "unknown command 'xyz'", "run: deepscan models --help"),
        (["scan", "--framse", "8"], "unknown option --framse", "did you mean '--frames'?"),
        (["scan", "--xyz"], "unknown option --xyz", "run: deepscan scan --help"),
        (["scan", "--frames"], "--frames needs a value", "run: deepscan scan --help"),
        (["scan", "--frames", "0"], "--frames must be at least 1", "run: deepscan scan --help"),
        (["scan", "--frames", "x"], "--frames must be a whole number", "run: deepscan scan --help"),
        (["scan", "--min-share", "2"], "--min-share must be at most 1", "run: deepscan scan --help"),
        (["scan", "--min-share", "x"], "--min-share must be a number", "run: deepscan scan --help"),
        (["scan", "--decoder", "pyaf"], "--decoder cannot be 'pyaf'", "did you mean 'pyav'?"),
        (["scan", "--device", "tpu"], "--device cannot be 'tpu'", "did you mean 'cpu'?"),
        (["scan", "--device", "gpu"], "--device cannot be 'gpu'", "did you mean 'cuda'?"),
        (
            ["pyproject.toml"],
            "unknown command 'pyproject.toml'",
            "to scan it, run: deepscan scan pyproject.toml",
        ),
        (["doctor", "--json=yes"], "--json takes no value", "run: deepscan doctor --help"),
        (["scan", "--progress", "x"], "--progress cannot be 'x'", "choose from: auto, plain, none"),
        (["compare", "a.csv"], "B is missing", "run: deepscan compare --help"),
        (["calibrate"], "--model is missing", "run: deepscan calibrate --help"),
        (["version", "now"], "unexpected argument: now", "run: deepscan version --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_command_line_has_a_plain_message_and_hint(arguments, error, hint):
    assert deepscan(*arguments).refused(ExitCode.USAGE) == [f"error: {error}", f"hint: {hint}"]
