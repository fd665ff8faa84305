"""Rewrites typer's messages about a wrong command line in the style of deepscan's errors."""

import os
import re
import shlex
from collections.abc import Callable

from typer.exceptions import TyperException

from deepscan.errors import choice_hint

#: Pattern of a message by typer or pydantic -> the message shown instead, and its hint. If the hint is empty,
#: the hint is to see the command's help.
_RULES: tuple[tuple[str, Callable[[re.Match[str]], tuple[str, str]]], ...] = (
    (
        r"Invalid value for '(.+?)': (?:Value error, )?'(.*)' is not one of (.*?)\.?",
        lambda found: (f"{found[1]} cannot be {found[2]!r}", choice_hint(found[2], _quoted(found[3]))),
    ),
    (
        r"Invalid value for '(.+?)': Input should be greater than or equal to (.*)",
        lambda found: (f"{found[1]} must be at least {found[2]}", ""),
    ),
    (
        r"Invalid value for '(.+?)': Input should be less than or equal to (.*)",
        lambda found: (f"{found[1]} must be at most {found[2]}", ""),
    ),
    (
        r"Invalid value for '(.+?)': Input should be a valid integer.*",
        lambda found: (f"{found[1]} must be a whole number", ""),
    ),
    (
        r"Invalid value for '(.+?)': Input should be a valid number.*",
        lambda found: (f"{found[1]} must be a number", ""),
    ),
    (r"Invalid value for '(.+?)': Value error, (.*)", lambda found: (f"{found[1]}: {found[2]}", "")),
    (
        r"Missing \w+ '(.+?)'\. Choose from:\s*(.*)",
        lambda found: (f"{found[1]} is missing", f"choose from: {found[2]}"),
    ),
    (r"Missing \w+ '(.+?)'\.", lambda found: (f"{found[1]} is missing", "")),
    (r"Option '(.+?)' requires an argument\.", lambda found: (f"{found[1]} needs a value", "")),
    (
        r"Got unexpected extra argument\(?s?\)? \((.*)\)",
        lambda found: (f"unexpected argument: {found[1]}", ""),
    ),
    (
        r"No such option: (\S+) \(Possible options: (.*)\)",
        lambda found: (f"unknown option {found[1]}", choice_hint(found[1], found[2].split(", "))),
    ),
    (r"No such option: (\S+)", lambda found: (f"unknown option {found[1]}", "")),
    (
        r"No such command '(.+?)'\. Did you mean (.*)\?",
        lambda found: (f"unknown command {found[1]!r}", choice_hint(found[1], _quoted(found[2]))),
    ),
    (
        r"No such command '(.+?)'\.",
        lambda found: (f"unknown command {found[1]!r}", _hint_for_path(found[1])),
    ),
    (r"Option '(.+?)' does not take a value\.", lambda found: (f"{found[1]} takes no value", "")),
)


def describe_usage_error(error: TyperException, help_hint: str) -> tuple[str, str]:
    """Return message and hint for a wrong command line.

    Args:
        error: The error by typer.
        help_hint: The hint to see the command's help, used unless there is a better one.
    """
    text = " ".join(error.format_message().split())
    for pattern, describe in _RULES:
        if found := re.fullmatch(pattern, text):
            message, hint = describe(found)
            return message, hint or help_hint
    return text, help_hint


def _hint_for_path(name: str) -> str:
    """Return how to scan a path that was given without a command; empty if it is none."""
    return f"to scan it, run: deepscan scan {shlex.quote(name)}" if os.path.lexists(name) else ""


def _quoted(text: str) -> list[str]:
    return re.findall(r"'(.*?)'", text)
