"""`deepscan report`: the page of a real scan, and input that it refuses."""

import json
from dataclasses import replace

import pytest

from tests import toy
from tests.command import SAMPLES, deepscan
from tests.report.made import Page, described, journal, video


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Records of two models that disagree, with explanations, and their page."""
    folder = tmp_path_factory.mktemp("scan")
    models = [
        toy.model(folder / name, bias, explanation=True) for name, bias in (("fake", 4.0), ("clear", -4.0))
    ]
    named = [part for model in models for part in ("--model", model)]
    out = folder / "out.jsonl"
    ran = deepscan("scan", SAMPLES, *named, "--frames", "3", "--explain", "--out", out)
    assert ran.code == 0, ran.err
    made = deepscan("report", out)
    assert made.code == 0, made.err
    # There is no progress for a task of one second.
    assert made.err == ""
    assert made.out == f"{folder / 'out.html'}  5 videos\n"
    return out, Page(folder / "out.html")


def test_the_page_of_a_scan_says_what_its_records_say(scanned):
    out, page = scanned
    records = [json.loads(line) for line in out.read_text().splitlines()]
    for record in records:
        assert record["sha256"] in page.text
        assert record["path"].rpartition("/")[2] in page.text
    # each of the five has four frames of a person at most, and both models are in every chart
    charted = [track for record in records for track in record["tracks"] if track["sightings"] > 1]
    assert len(page.all("polyline")) == 3 * len(charted) > 0
    faces = sum(min(3, track["sightings"]) for record in records for track in record["tracks"])
    # three maps per model, one per colour channel, of the three highest faces of each person
    assert len(page.all("image")) == 6 * faces
    judged = [record for record in records if record["verdict"]]
    assert f"agree with the overall verdict on 0 of {len(judged)} videos" in page.words
    assert "the models disagree on person 1" in page.words
    run = json.loads(out.with_suffix(".run.json").read_text())
    assert " ".join(run["sessions"][0]["command"]) in page.words


def test_the_run_file_has_the_thresholds(scanned):
    run = json.loads(scanned[0].with_suffix(".run.json").read_text())
    assert run["models"]["fake"]["calibration"] == toy.CALIBRATION.to_json()
    assert run["models"]["fake"]["error_rates"] == [], "its card states none, which is not that it has none"


def test_a_run_with_isotonic_calibration_can_be_resumed(tmp_path):
    knots = ((0.1, 0.2), (0.9, 0.8))
    fitted = replace(toy.CALIBRATION, method="isotonic", knots=knots)
    model = toy.model(tmp_path / "toy", calibration=fitted)
    options = ("--model", model, "--frames", "2", "--out", tmp_path / "out.jsonl")
    assert deepscan("scan", SAMPLES / "real_hopper.mp4", *options).code == 0
    again = deepscan("scan", SAMPLES / "real_hopper.mp4", SAMPLES / "swapped.mp4", *options, "--resume")
    assert again.code == 0, again.err


def test_an_existing_page_is_replaced_only_with_overwrite(scanned, tmp_path):
    out, _ = scanned
    page = tmp_path / "page.html"
    page.write_text("mine")
    ran = deepscan("report", out, "--out", page)
    assert "--overwrite" in ran.refused(2)[1]
    assert page.read_text() == "mine"
    assert deepscan("report", out, "--out", page, "--overwrite", "--videos", "1").code == 0
    assert len(Page(page).all("article")) == 1


@pytest.mark.parametrize(
    ("name", "content", "code", "hint"),
    [
        ("none.jsonl", None, 2, "scan --out wrote"),
        (".", None, 2, "scan --out wrote"),
        ("a.csv", "path\n", 2, "FILE.jsonl that scan"),
        ("a.run.json", "{}", 2, "FILE.jsonl that scan"),
        ("a.jsonl", '{"schema": 0}\n', 4, "scan again"),
    ],
)
def test_files_without_records_are_refused_with_a_hint(tmp_path, name, content, code, hint):
    if content is not None:
        (tmp_path / name).write_text(content)
    assert hint in deepscan("report", tmp_path / name).refused(code)[1]
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("out", ["none/a.html", "a.jsonl", "a.run.json", "-", "folder.html"])
def test_other_files_are_not_overwritten(tmp_path, out):
    path = journal(tmp_path, video(), run=described())
    (tmp_path / "folder.html").mkdir()
    before = path.read_bytes()
    ran = deepscan("report", path, "--out", tmp_path / out, "--overwrite")
    assert "--out" in " ".join(ran.refused(2))
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl", "a.run.json", "folder.html"]


def test_a_link_is_followed(tmp_path):
    path = journal(tmp_path, video(), run=described())
    (tmp_path / "link.html").symlink_to("page.html")
    assert deepscan("report", path, "--out", tmp_path / "link.html").code == 0
    assert (tmp_path / "link.html").is_symlink()
    assert len(Page(tmp_path / "page.html").all("article")) == 1


def test_a_page_without_the_runs_file_is_incomplete_and_says_so(tmp_path):
    path = journal(tmp_path, video())
    ran = deepscan("report", path)
    assert ran.code == 3
    (warning,) = ran.err.splitlines()
    assert warning.startswith("warning: a.run.json, which describes the run, is not next to the records")
    assert warning.removeprefix("warning: ") in Page(tmp_path / "a.html").words
