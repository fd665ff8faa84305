"""`deepscan train`: requirements, output and files."""

import sys

import pytest
import typer
from typer.testing import CliRunner

from deepscan.cli.train import train
from deepscan.errors import ContractError, MissingError, UsageError, install_hint
from deepscan.models.lookup import load_card
from deepscan.training import session
from tests.training.conftest import TINY, write_index


def _run(*arguments):
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path, monkeypatch, crops):
    """A data set whose pictures have already been cropped."""
    folder = tmp_path / "data"
    folder.mkdir()
    files = [f"{row}.png" for row in range(96)]
    for name in files:
        (folder / name).write_bytes(b"")
    write_index(folder / "faces.csv", crops, files, source="DFDC")
    monkeypatch.setattr(session, "prepare_crops", lambda *args, **kwargs: crops)
    return folder


@pytest.fixture
def tiny(data, tmp_path):
    return [
        "--recipe",
        "qtfp-compact",
        "--data",
        data,
        "--out",
        tmp_path / "made",
        "--threads",
        1,
        "--device",
        "cpu",
        *TINY,
        "epochs=2",
    ]


def test_it_writes_a_model_folder_and_prints_its_path(tiny, tmp_path):
    done = _run("--progress", "plain", *tiny)
    assert done.exit_code == 0, done.exception
    assert done.stdout.startswith(f"{tmp_path / 'made'}  auc ")
    assert len(done.stdout.splitlines()) == 1
    lines = [line for line in done.stderr.splitlines() if "AUC" in line]
    assert [line.split()[3] for line in lines] == ["1/2", "2/2"]
    assert all(word in lines[0] for word in ("loss", "images/s", " left"))
    card = load_card(tmp_path / "made")
    assert (card.name, card.method, card.trained["seed"]) == ("made", "qtfp", 1024)
    assert "research" in card.trained["terms"]
    assert card.trained["crops"] == 56


def test_resuming_a_finished_run_publishes_the_same_model(tiny, tmp_path):
    assert _run("--progress", "none", *tiny).exit_code == 0
    first = load_card(tmp_path / "made")
    done = _run("--progress", "none", *tiny, "--resume")
    assert done.exit_code == 0, done.exception
    assert done.stderr == ""
    second = load_card(tmp_path / "made")
    assert (second.files["torch"], second.golden, second.calibration) == (
        first.files["torch"],
        first.golden,
        first.calibration,
    )
    assert isinstance(_run(*tiny, "--resume", "--seed", 7).exception, ContractError)


@pytest.mark.usefixtures("quick_publishing")
def test_the_card_has_the_command_without_resume_and_finish(tiny, tmp_path, monkeypatch):
    words = ["deepscan", "train", "--out", "my model", "--resume", "--finish", "epochs=2"]
    monkeypatch.setattr(sys, "argv", words)
    assert _run("--progress", "none", *tiny).exit_code == 0
    trained = load_card(tmp_path / "made").trained
    assert trained["command"] == "deepscan train --out 'my model' epochs=2"


def test_without_data_the_hint_says_what_to_put_where(tmp_path):
    error = _run("--data", tmp_path).exception
    assert isinstance(error, MissingError)
    assert str(tmp_path) in error.hint
    assert "faces.csv" in error.hint


def test_a_misspelt_key_is_a_usage_error_with_a_hint(tmp_path):
    error = _run("--data", tmp_path, "epoch=3").exception
    assert isinstance(error, UsageError)
    assert "epochs" in error.hint


@pytest.mark.parametrize("module", ["torch", "sklearn"])
def test_without_the_extra_the_hint_names_it(monkeypatch, tmp_path, module):
    monkeypatch.setitem(sys.modules, module, None)
    error = _run("--data", tmp_path).exception
    assert isinstance(error, MissingError)
    assert module in error.message
    assert error.hint == install_hint("torch")
