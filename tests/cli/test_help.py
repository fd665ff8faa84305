"""`--help` shows valid examples, exit codes and recipes, in 80 columns."""

import shlex

import pytest
import typer

from deepscan.cli.app import build
from deepscan.cli.exit_codes import COMMAND_CODES, COMMON, codes_of
from deepscan.errors import ExitCode
from deepscan.training.recipe_files import packaged_recipes
from tests.command import deepscan

GROUP = typer.main.get_command(build())


def commands(group=GROUP, before=""):
    """Return each command by its full name, including groups."""
    found = {}
    for name, command in group.commands.items():
        found[f"{before}{name}"] = command
        if hasattr(command, "commands"):
            found |= commands(command, f"{before}{name} ")
    return found


def shown_help(name):
    """Return the lines that `--help` shows in 80 columns, without trailing spaces."""
    return [line.rstrip() for line in deepscan(*name.split(), "--help", COLUMNS="80").out.splitlines()]


def section(lines, heading):
    """Return the lines below a heading, up to the next empty one."""
    rest = lines[lines.index(f" {heading}:") + 1 :]
    return rest[: rest.index("")]


def examples(command):
    _, _, lines = command.help.partition("Examples:\n")
    return [line.strip() for line in lines.splitlines() if line.strip()]


def test_every_command_has_its_exit_codes():
    assert set(commands()) == set(COMMAND_CODES) - {""}


@pytest.mark.parametrize("name", ["", *commands()])
def test_help_lists_only_the_exit_codes_of_its_command(name):
    lines = shown_help(name)
    assert all(line.startswith("   ") for line in section(lines, "Examples"))
    assert [int(line.split()[0]) for line in section(lines, "Exit codes")] == list(codes_of(name))
    assert max(map(len, lines)) <= 80


def test_only_scan_has_code_10():
    assert [name for name in COMMAND_CODES if name and ExitCode.FOUND_FAKE in codes_of(name)] == ["scan"]
    assert all(set(COMMON) <= set(codes_of(name)) for name in COMMAND_CODES)


@pytest.mark.parametrize("name", commands())
def test_examples_are_commands_with_options_that_exist(name):
    command = commands()[name]
    found = examples(command)
    assert found, "at least one example"
    for line in found:
        words = shlex.split(line)
        if "|" in words:
            words = words[words.index("|") + 1 :]
        start = words.index("deepscan") + 1
        own, called = name.split(), words[start:]
        assert called[: len(own)] == own
        group, rest = GROUP, called
        while hasattr(group, "commands") and rest:
            group, rest = group.commands[rest[0]], rest[1:]
        group.make_context(group.name, rest, resilient_parsing=False)


def test_train_lists_every_recipe_on_one_line():
    lines = section(shown_help("train"), "Recipes")
    assert [line.split()[0] for line in lines] == list(packaged_recipes())
    assert all(len(line.split()) > 2 and line.endswith(".") for line in lines)


def test_a_flag_is_shown_without_a_type():
    shown = "\n".join(shown_help("scan"))
    assert "--resume" in shown and "<bool>" not in shown
