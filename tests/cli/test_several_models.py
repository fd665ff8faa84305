"""`scan --model A --model B`: the same faces, the scores of each model, a joint verdict."""

import csv
import json
import re

import pytest

from deepscan.errors import UsageError
from deepscan.scanning.fusion import select_model
from tests import toy
from tests.command import SAMPLES, deepscan, journal
from tests.terminal import at_a_terminal

HOPPER = SAMPLES / "real_hopper.mp4"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models that call everything fake, one that finds nothing, one without calibration."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "fake": toy.model(folder / "fake", 4.0, explanation=True),
        "also": toy.model(folder / "also", 5.0, side=48),
        "clear": toy.model(folder / "clear", -4.0, side=48),
        "raw": toy.model(folder / "raw", 6.0, calibration=None),
    }


def scan(video, *named, more=()):
    options = [part for model in named for part in ("--model", model)]
    return deepscan("scan", video, *options, "--frames", "3", *more)


@pytest.mark.parametrize("video", ["two_persons.mp4", "no_face.mp4"])
def test_each_model_gives_the_same_scores_as_alone(models, video):
    named = ("fake", "clear", "raw")
    (together,) = scan(SAMPLES / video, *(models[name] for name in named), more=["--explain"]).records
    assert [model["name"] for model in together["models"]] == sorted(named)
    for name in named:
        (own,) = scan(SAMPLES / video, models[name], more=["--explain"]).records
        seen = select_model(together, name)
        assert seen.keys() == own.keys()
        for key in own.keys() - {"run", "started", "seconds", "warnings"}:
            assert seen[key] == own[key], key
        assert select_model(own, name) == own
    with pytest.raises(UsageError, match="no scores of a model 'other'"):
        select_model(together, "other")


def test_a_joint_verdict_and_the_disagreement(models):
    (record,) = scan(HOPPER, models["fake"], models["clear"]).records
    assert record["model"] == {"name": "clear+fake", "method": "fused"}
    assert (record["verdict"], record["calibrated"]) == ("inconclusive", True)
    assert record["warnings"] == ["the models disagree on track 0: fake by fake; no_evidence by clear"]
    (track,) = record["tracks"]
    assert record["score"] == track["score"]
    assert min(one["score"] for one in track["scores"].values()) < track["score"]
    assert all(set(frame["scores"]) == {"clear", "fake"} for frame in record["frames"])


@pytest.mark.parametrize(
    ("named", "code"),
    [(["fake", "also"], 10), (["fake", "clear"], 0), (["fake", "raw"], 10), (["clear", "raw"], 0)],
)
def test_the_exit_code_depends_on_the_joint_verdict(models, named, code):
    ran = scan(HOPPER, *(models[name] for name in named), more=["--fail-on", "fake"])
    assert ran.code == code, ran.err


def test_a_run_is_resumed_with_the_same_models_in_any_order(models, tmp_path):
    out = tmp_path / "out.csv"
    assert scan(HOPPER, models["fake"], models["clear"], more=["--out", out]).code == 0
    run = json.loads((tmp_path / "out.run.json").read_text())
    assert (run["model"]["name"], set(run["models"]), set(run["engines"])) == (
        "clear+fake",
        {"fake", "clear"},
        {"fake", "clear"},
    )
    again = scan(SAMPLES, models["clear"], models["fake"], more=["--out", out, "--resume"])
    assert again.code == 0, again.err
    assert "1 video already scanned" in again.err
    for others in ([models["fake"]], [models["fake"], models["also"]]):
        ran = scan(SAMPLES, *others, more=["--out", out, "--resume"])
        assert "model.name was 'clear+fake'" in ran.refused(4)[0]
    assert len({record["model"]["name"] for record in journal(tmp_path / "out.jsonl").values()}) == 1
    with out.open(newline="") as file:
        rows = {row["path"].rsplit("/", 1)[-1]: row for row in csv.DictReader(file)}
    hopper = rows["real_hopper.mp4"]
    assert float(hopper["score:clear"]) < float(hopper["score"]) < float(hopper["score:fake"])
    assert (hopper["verdict:clear"], hopper["verdict:fake"]) == ("no_evidence", "fake")
    assert rows["no_face.mp4"]["score:fake"] == ""


def test_a_run_is_not_resumed_with_a_changed_model(models, tmp_path):
    changing, out = toy.model(tmp_path / "mine", 1.0), tmp_path / "out.jsonl"
    assert scan(HOPPER, models["fake"], changing, more=["--out", out]).code == 0
    changing.rename(tmp_path / "old")
    ran = scan(HOPPER, models["fake"], toy.model(changing, 2.0), more=["--out", out, "--resume"])
    assert "models.mine.files" in ran.refused(4)[0]


def test_two_models_with_the_same_name_are_refused(models, tmp_path):
    other = toy.model(tmp_path / "fake", 1.0)
    for second in (other, models["fake"]):
        assert "two models have the name 'fake'" in scan(HOPPER, models["fake"], second).refused(2)[0]


def test_model_none_cannot_be_combined(models):
    assert (
        "model 'none' cannot be combined with other models"
        in scan(HOPPER, models["fake"], "none").refused(2)[0]
    )


def test_a_terminal_shows_each_verdict_and_the_agreement(models):
    arguments = ["scan", HOPPER, "--frames", "1", "--model", models["fake"], "--model", models["also"]]
    shown = at_a_terminal("-m", "deepscan", *arguments, columns=120, NO_COLOR="1").screen
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"fake +0\.9\d +2/2 +", plain)
    assert re.search(r"also 0\.9\d fake, fake 0\.9\d fake", plain)
    assert "the models agree on 1 of 1 video" in shown


def test_records_of_several_models_are_evaluated_for_each(models, tmp_path):
    out, labels = tmp_path / "scan.jsonl", tmp_path / "labels.csv"
    assert scan(SAMPLES, models["fake"], models["clear"], more=["--out", out]).code == 0
    rows = [f"{path},{'fake' if 'swapped' in path else 'real'}" for path in journal(out)]
    labels.write_text("\n".join(["file,label", *rows]) + "\n")
    command = ("eval", "--records", out, "--labels", labels)
    for named in ([], ["--model", "fake"]):
        ran = deepscan(*command, *named, "--out", tmp_path / "".join(named))
        assert ran.code == 0, ran.err
    assert "no scores of a model 'other'" in deepscan(*command, "--model", "other").refused(2)[0]
