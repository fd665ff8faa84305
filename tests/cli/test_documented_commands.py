"""Commands in the documentation are valid, and choices match the registries."""

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import typer

from deepscan.cli import options
from deepscan.cli.app import build
from deepscan.evaluation.protocols import PROTOCOLS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("docs/**/*.md"),
    ]
)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown():
    """Commands as words, from indented and fenced lines and from snippets in backticks."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        snippets = re.findall(r"(?<!`)`([^`]+)`", text) + re.findall(r"^    (.*)$", text, re.MULTILINE)
        shells = [block for language, block in FENCED.findall(text) if language in ("", "sh", "text")]
        snippets += [line for block in shells for line in block.splitlines()]
        for snippet in snippets:
            for part in re.split(r"[|;]|&&", " ".join(snippet.split())):
                # A crontab line starts with its times, and a command in an environment with its folder.
                command = re.sub(r"^(?:.* )?\S*/bin/(?=deepscan )", "", part.split(" #")[0].strip())
                # architecture.md adds a decoder `opencv` as an example.
                if command.startswith("deepscan ") and "..." not in command and "opencv" not in command:
                    found[command.replace("analyse NAME", "analyse cost")] = None
    return [pytest.param(shlex.split(command)[1:], id=command) for command in found]


@pytest.mark.parametrize("words", shown())
def test_its_options_exist(words):
    group = typer.main.get_command(build())
    context = group.make_context("deepscan", list(words), resilient_parsing=True)
    if words[0].startswith("-"):
        return
    rest = [word for word in words if word != "--help"]  # prints the help, and exits
    while hasattr(group, "get_command") and rest and not rest[0].startswith("-"):
        group = group.get_command(context, rest[0])
        assert group is not None, rest[0]
        rest = rest[1:]
    if rest:
        group.make_context(group.name, rest)


def test_choices_cover_all_protocol_rows():
    rows = {row for name in PROTOCOLS.names for row in PROTOCOLS.get(name).sets}
    assert rows <= set(get_args(options.MethodName))
