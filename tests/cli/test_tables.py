"""`deepscan tables` as a user runs it."""

import re

import pytest

from deepscan.errors import ExitCode
from deepscan.evaluation.tables import load_tables
from tests.command import deepscan
from tests.terminal import at_a_terminal


def test_tables_are_listed_and_shown(tmp_path):
    listed = deepscan("tables", cwd=tmp_path, COLUMNS="80")
    assert listed.code == 0
    assert [name for name in load_tables() if name not in listed.out] == []
    assert max(map(len, listed.out.splitlines())) <= 80
    shown = deepscan("tables", "corit-frame", "dfd-hr-cross-dataset", cwd=tmp_path, COLUMNS="80")
    assert shown.code == 0
    assert "90.9" in shown.out
    assert ".997" in shown.out
    error, hint = deepscan("tables", "corit-fram", cwd=tmp_path).refused(ExitCode.USAGE)
    assert "corit-fram" in error
    assert "did you mean 'corit-frame'" in hint


@pytest.mark.parametrize(
    ("names", "whole"), [(["qtfp-classification-token"], ".980"), ([], "qtfp-classification-token")]
)
def test_no_table_is_broken_at_eighty_columns(names, whole):
    ran = at_a_terminal("-m", "deepscan", "tables", *names)
    assert ran.code == 0, ran.screen
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", ran.screen).replace("\r\n", "\n").split("\n")
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert any(whole in line for line in lines)
