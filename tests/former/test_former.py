"""Files written by an earlier version can still be read; see README.md in this folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deepscan.data.crops import crop_cache
from deepscan.data.crops.crop_cache import prepare_crops
from deepscan.data.pictures import read_pictures
from deepscan.engines.scorer import Scorer
from deepscan.errors import ExitCode
from deepscan.faces.face_filter import FaceFilter
from deepscan.faces.looks import Looks
from deepscan.models.lookup import load_card
from deepscan.training.loop import train
from deepscan.training.processes import Processes
from deepscan.training.recipe import load_recipe
from deepscan.version import __version__
from deepscan.versions import source_commit
from tests.command import SAMPLES, deepscan

from .pictures import write_pictures

FORMER = Path(__file__).parent
MODEL = FORMER / "model"
#: Values of a recipe that have been renamed since.
RENAMED: dict[str, object] = {"schedule": "wsd"}


@pytest.fixture
def recipe():
    return load_recipe("fft", FORMER / "recipe.yaml", ("crop.resize=null", "lr=0.004"))


@pytest.fixture
def crops(tmp_path, recipe, monkeypatch):
    """The crops of the former cache."""
    write_pictures(tmp_path / "pictures")
    shutil.copytree(FORMER / "cache", tmp_path / "cache")
    monkeypatch.setattr(crop_cache, "cut_all", lambda *args: pytest.fail("the cache was not found"))
    return prepare_crops(read_pictures(tmp_path / "pictures"), recipe.crop, tmp_path / "cache")


def test_a_recipe_gives_the_same_settings(recipe):
    assert recipe.to_json() == json.loads((FORMER / "recipe.json").read_text()) | RENAMED


def test_a_cache_of_crops_is_found(crops, tmp_path):
    assert crops.crops.shape == (24, 16, 16, 3)
    assert crops.labels.tolist() == [0, 1] * 12
    for row, path in enumerate(sorted((tmp_path / "pictures").glob("*.ppm"))):
        picture = np.frombuffer(path.read_bytes()[-16 * 16 * 3 :], np.uint8).reshape(16, 16, 3)
        assert np.abs(crops.crops[row].astype(int) - picture).max() <= 1


def test_an_interrupted_run_resumes_with_the_same_result(recipe, crops, tmp_path):
    shutil.copytree(FORMER / "run", tmp_path / "run")
    processes = Processes(0, 1, torch.device("cpu"))
    network, state = train(recipe, crops, tmp_path / "run", processes=processes, resume=True)
    assert [row["epoch"] for row in state.history] == [1, 2, 3]
    for name, value in load_file(MODEL / "model.safetensors").items():
        torch.testing.assert_close(network.state_dict()[name], value, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_card_loads_and_its_golden_score_matches(engine):
    card = load_card(MODEL)
    assert (card.method, card.license, card.trained["seed"]) == ("fft", "Apache-2.0", 1024)
    # The scorer checks the golden score.
    scorer = Scorer(card, engine=engine, device="cpu")
    assert scorer.score(np.full((1, 16, 16, 3), 128, np.uint8)).shape == (1,)


@pytest.fixture
def scan(tmp_path):
    """The records of a scan, with today's paths of its videos and today's version of the tool."""
    for name in ("scan.jsonl", "scan.run.json"):
        text = (FORMER / "scan" / name).read_text().replace("@ROOT@", str(SAMPLES.parent))
        (tmp_path / name).write_text(text)
    path = tmp_path / "scan.run.json"
    run = json.loads(path.read_text())
    tool = run["tool"] | {"version": __version__, "commit": source_commit()}
    described = {"face_filter": FaceFilter.describe(), "looks": Looks.describe()}
    path.write_text(json.dumps(run | described | {"tool": tool}))
    return tmp_path / "scan.jsonl"


def test_a_journal_is_resumed(scan):
    lines = scan.read_text().splitlines(keepends=True)
    scan.write_text("".join(lines[:2]) + lines[2][:100])
    videos = [SAMPLES / Path(json.loads(line)["path"]).name for line in lines]
    ran = deepscan(
        "scan", *videos, "--model", MODEL, "--frames", "2", "--device", "cpu", "--resume", "--out", scan
    )
    assert ran.code == 0, ran.err
    now = scan.read_text().splitlines(keepends=True)
    assert now[:2] == lines[:2]
    (former, resumed) = (json.loads(line) for line in (lines[2], now[2]))
    assert set(resumed) >= set(former)
    assert resumed["path"] == former["path"]
    assert resumed["score"] == pytest.approx(former["score"], abs=1e-6)
    assert len(now) == 3


def test_a_journal_of_a_version_without_face_filter_is_not_resumed(scan):
    path = scan.with_suffix(".run.json")
    run = json.loads(path.read_text())
    path.write_text(json.dumps({key: run[key] for key in run if key not in ("face_filter", "looks")}))
    video = json.loads(scan.read_text().splitlines()[0])["path"]
    ran = deepscan(
        "scan", video, "--model", MODEL, "--frames", "2", "--device", "cpu", "--resume", "--out", scan
    )
    (error, _) = ran.refused(ExitCode.CONTRACT)
    assert "it was made by a version without face filter; it was made by a version without looks" in error


def test_a_journal_without_the_face_filters_threshold_is_not_resumed(scan):
    path = scan.with_suffix(".run.json")
    run = json.loads(path.read_text())
    assert run["face_filter"].pop("least") == FaceFilter().least
    path.write_text(json.dumps(run))
    video = json.loads(scan.read_text().splitlines()[0])["path"]
    ran = deepscan(
        "scan", video, "--model", MODEL, "--frames", "2", "--device", "cpu", "--resume", "--out", scan
    )
    (error, _) = ran.refused(ExitCode.CONTRACT)
    assert "it was made by a version that did not record face_filter.least" in error


def test_report_reads_a_journal(scan):
    ran = deepscan("report", scan)
    assert ran.code == 0, ran.err
    assert "two_persons.mp4" in scan.with_suffix(".html").read_text()


def test_eval_reads_a_journal(scan):
    labels = scan.with_name("labels.csv")
    named = zip(("no_face", "real_hopper", "two_persons"), ("real", "real", "fake"), strict=True)
    rows = "".join(f"{SAMPLES / name}.mp4,{label}\n" for name, label in named)
    labels.write_text(f"file,label\n{rows}")
    ran = deepscan("eval", "--records", scan, "--labels", labels)
    assert ran.code == 0, ran.err
    assert "auc" in ran.out.lower()
