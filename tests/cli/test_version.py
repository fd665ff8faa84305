"""`deepscan version` and `-V`."""

import json
import platform
import sys
from pathlib import Path

import pytest

import deepscan as package
from deepscan.versions import source_commit
from tests.command import deepscan

FOLDER = str(Path(package.__file__).parent)


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_option_prints_one_line(option):
    ran = deepscan(option)
    assert (ran.code, ran.out) == (0, f"deepscan {package.__version__}\n")


def test_the_command_names_python_and_folder():
    ran = deepscan("version")
    assert ran.code == 0, ran.err
    first, *rest = ran.out.splitlines()
    assert first == f"deepscan {package.__version__}"
    assert f"python:  {platform.python_version()} ({sys.executable})" in rest
    assert f"folder:  {FOLDER}" in rest


def test_json_has_the_same_facts():
    assert json.loads(deepscan("version", "--json").out) == {
        "version": package.__version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "folder": FOLDER,
    }
