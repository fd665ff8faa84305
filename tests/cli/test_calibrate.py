"""`deepscan calibrate` as a user runs it."""

import pytest
import yaml

from deepscan.cards import read_card
from deepscan.errors import ExitCode
from tests import toy
from tests.command import deepscan
from tests.evaluation.replica import benchmark


def test_a_card_gets_thresholds_fitted_on_half_of_the_groups(tmp_path):
    toy.model(tmp_path / "toy")
    kinds = {
        "CelebDFv2_real": {f"r{at}": [5 * at] for at in range(24)},
        "CelebDFv2_fake": {f"f{at}": [130 + 5 * at] for at in range(24)},
    }
    benchmark(tmp_path / "data", "Celeb-DF-v2", kinds)
    rates = ("--false-alarms", "0.2", "--misses", "0.2")
    command = ("calibrate", "--model", "./toy", "--set", "Celeb-DF-v2", "--fit", "isotonic", *rates)
    ran = deepscan(*command, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "Celeb-DF-v2" in ran.out
    assert ran.out.splitlines()[-1].startswith("toy/card.yaml: fake from ")
    found = read_card(tmp_path / "toy").calibration
    assert found.method == "isotonic"
    assert "first half of the groups" in found.data
    assert yaml.safe_load((tmp_path / "toy" / "card.yaml").read_text())["results"]


@pytest.mark.parametrize("beside", [False, True])
def test_the_card_of_a_built_in_model_is_not_changed(beside, tmp_path):
    """Also if there is a folder with its name that is not a model."""
    if beside:
        (tmp_path / "convnet").mkdir()
    ran = deepscan("calibrate", "--model", "convnet", cwd=tmp_path)
    error, hint = ran.refused(ExitCode.USAGE)
    assert "cannot be changed" in error
    assert "--model" in hint


def test_an_unknown_fit_is_refused(tmp_path):
    ran = deepscan("calibrate", "--model", "m", "--fit", "platt", cwd=tmp_path)
    error, hint = ran.refused(ExitCode.USAGE)
    assert error == "error: --fit cannot be 'platt'"
    assert hint == "hint: choose from: temperature, isotonic"
