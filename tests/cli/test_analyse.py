"""`deepscan analyse` as a user runs it; the results of analyses are tested in tests/analyses."""

import cv2
import pytest

from deepscan.errors import ExitCode
from tests.analyses.logs import training
from tests.command import deepscan


def test_an_analysis_writes_table_and_plot_and_prints_main_results(tmp_path):
    for name, weight in (("a", 0.07), ("b", 0.28)):
        loss = {"lambda_flcl": weight, "lambda_raal": 1.0}
        training(tmp_path / name, [0.6, 0.7], method="qtfp", loss=loss)
    ran = deepscan("analyse", "weights", "--run", "a", "--run", "b", "--out", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "0.07" in ran.out
    assert (tmp_path / "out" / "weights.csv").read_text().count("\n") == 3
    assert cv2.imread(str(tmp_path / "out" / "weights.png")) is not None
    assert ran.err.splitlines() == ["in out: weights.csv, weights.png"]


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["attension"], "ANALYSIS cannot be 'attension'", "did you mean 'attention'?"),
        ([], "ANALYSIS is missing", "choose from: attention, collapse"),
        (["cost", "deph=2"], "analysis cost has no option 'deph=2'", ""),
        (["cost", "--engine", "torch"], "unknown option --engine", "analyse --help"),
    ],
)
def test_wrong_options_give_one_error_and_one_hint(words, error, hint, tmp_path):
    ran = deepscan("analyse", *words, cwd=tmp_path)
    lines = ran.refused(ExitCode.USAGE)
    assert error in lines[0]
    assert hint in lines[1]
