"""`scan --explain`: what each score is based on, in the record."""

import csv
import json

import numpy as np
import pytest

from tests import toy
from tests.command import SAMPLES, deepscan, journal
from tests.terminal import at_a_terminal

HOPPER = SAMPLES / "real_hopper.mp4"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return toy.model(tmp_path_factory.mktemp("models") / "toy", explanation=True)


def scan(video, model, *more):
    return deepscan("scan", video, "--model", model, "--frames", "3", *more)


def test_every_scored_face_is_explained_and_nothing_else_changes(model):
    (plain,) = scan(SAMPLES / "two_persons.mp4", model).records
    (explained,) = scan(SAMPLES / "two_persons.mp4", model, "--explain").records
    scored = [frame for frame in explained["frames"] if frame["score"] is not None]
    assert len(scored) == 6
    for frame in scored:
        explanation = frame.pop("explanation")
        assert frame["score"] == pytest.approx(1 / (1 + np.exp(-explanation["mean"])), abs=1e-5)
        assert explanation["patches"]["grid"] == 4
    assert explained["frames"] == plain["frames"]
    assert explained.keys() == plain.keys()


def test_a_frame_without_a_face_has_nothing_to_explain(model):
    (record,) = scan(SAMPLES / "no_face.mp4", model, "--explain").records
    assert all("explanation" not in frame for frame in record["frames"])


def test_the_embedded_model_maps_the_score_of_each_position():
    (record,) = deepscan("scan", HOPPER, "--frames", "1", "--explain").records
    (track,) = record["tracks"]
    margins = record["frames"][0]["explanation"]["margins"]
    low, high = margins["range"]
    places = low + np.array(margins["maps"]) * (high - low) / 255
    assert places.shape == (1, margins["grid"] ** 2)
    # the logit of the score is their mean; rounding changes each by at most half a step
    logit = np.log(track["raw"] / (1 - track["raw"]))
    assert places.mean() == pytest.approx(logit, abs=0.5 * (high - low) / 255 + 1e-3)


def test_a_model_without_explanations_is_reported_once(tmp_path):
    bare = toy.model(tmp_path / "bare")
    ran = scan(SAMPLES, bare, "--explain")
    assert ran.code == 0
    assert ran.err.count("cannot explain its scores") == 1
    assert all(
        frame["explanation"] == {}
        for record in ran.records
        for frame in record["frames"]
        if frame["score"] is not None
    )


def test_a_table_warns_that_it_shows_no_explanations(model, tmp_path):
    arguments = ("scan", SAMPLES / "no_face.mp4", "--model", model, "--frames", "1", "--explain")
    shown = at_a_terminal("-m", "deepscan", *arguments).screen
    assert "add --out FILE" in " ".join(shown.split())
    shown = at_a_terminal("-m", "deepscan", *arguments, "--out", tmp_path / "out.jsonl").screen
    assert "name a file" not in shown


def test_a_resumed_run_keeps_explaining(model, tmp_path):
    out = tmp_path / "out.csv"
    assert scan(HOPPER, model, "--explain", "--out", out).code == 0
    run = json.loads((tmp_path / "out.run.json").read_text())
    assert run["parameters"]["explain"] is True
    assert run["model"]["evidence"] == ["mean", "patches"]
    # Options that are not repeated come from the run.
    assert scan(HOPPER, model, "--out", out, "--resume").code == 0
    plain = tmp_path / "plain.jsonl"
    assert scan(HOPPER, model, "--out", plain).code == 0
    ran = scan(HOPPER, model, "--explain", "--out", plain, "--resume")
    assert "--explain off, not on" in ran.refused(4)[0]
    (record,) = journal(tmp_path / "out.jsonl").values()
    assert record["frames"][0]["explanation"]
    with out.open(newline="") as file:
        assert "explanation" not in next(csv.reader(file))


def test_without_a_model_there_is_nothing_to_explain():
    ran = deepscan("scan", HOPPER, "--model", "none", "--explain")
    assert "explain has no effect without a model" in ran.refused(2)[0]
