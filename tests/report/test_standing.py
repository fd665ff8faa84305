"""Test that a page warns first if records were changed after the scan."""

import json

import pytest

from deepscan.cards import sha256_of
from deepscan.report.page import write_page
from deepscan.report.standing import read_standing
from deepscan.scanning import runfile
from deepscan.scanning.reading import open_records
from tests import toy
from tests.command import SAMPLES, deepscan
from tests.report.made import Page, described, journal, video


def sealed(folder, *records, sha256=None):
    path = journal(folder, *records)
    seal = {"count": len(records), "bytes": path.stat().st_size, "sha256": sha256 or sha256_of(path)}
    (folder / "a.run.json").write_text(json.dumps({**described(), "records": seal}))
    return path


def made(path):
    write_page(path, path.with_suffix(".html"), most=9)
    return Page(path.with_suffix(".html"))


def test_unchanged_records_are_said_to_be_unchanged(tmp_path):
    page = made(sealed(tmp_path, video()))
    assert "unchanged since the scan" in page.words
    assert not page.all("div", role="alert")


def test_changed_records_are_reported_first_and_no_verdict_is_coloured(tmp_path):
    page = made(sealed(tmp_path, video(), sha256="00" * 32))
    assert len(page.all("div", role="alert")) == 1
    assert page.words.index("were changed after the scan") < page.words.index("A verdict is a reason")
    assert [attrs["class"] for attrs in page.all("body")] == ["unsure"]
    assert "deepscan verify a.jsonl" in page.words


@pytest.mark.parametrize(
    ("file", "old", "new", "subject", "on_page"),
    [
        ("a.jsonl", '"bytes":', '"bytes": ', "the records were", "These records were changed"),
        ("a.run.json", '"id": ', '"more": 1, "id": ', "the run's file was", "describes the run was edited"),
    ],
)
def test_a_page_of_changed_files_is_not_a_silent_success(tmp_path, file, old, new, subject, on_page):
    path = sealed(tmp_path, video())
    run = runfile.read(tmp_path / "a.run.json")
    runfile.write(run, tmp_path / "a.run.json")
    assert deepscan("report", path, "--out", tmp_path / "before.html").code == 0
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    ran = deepscan("report", path)
    assert ran.code == 4
    assert f"warning: {subject} changed after the scan" in ran.err
    page = Page(path.with_suffix(".html"))
    assert on_page in page.words
    assert [attrs["class"] for attrs in page.all("body")] == ["unsure"]


def test_a_run_without_a_hash_is_mentioned_without_an_alarm(tmp_path):
    path = journal(tmp_path, video(), run=described())
    assert read_standing(open_records(path)).kind == "open"
    page = made(path)
    assert "has no hash of these records" in page.words
    assert not page.all("body", **{"class": "unsure"})


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Return the records of a real scan with a toy model that calls every face fake."""
    folder = tmp_path_factory.mktemp("scanned")
    model = toy.model(folder / "toy", bias=8.0)
    out = folder / "a.jsonl"
    ran = deepscan("scan", SAMPLES / "real_hopper.mp4", "--model", model, "--frames", "4", "--out", out)
    assert ran.code == 0, ran.err
    return folder


def test_an_edited_verdict_is_listed_first_with_the_recomputed_one(scanned):
    path = scanned / "a.jsonl"
    whole = path.read_text()
    assert read_standing(open_records(path)).kind == "whole"
    path.write_text(whole.replace('"verdict":"fake"', '"verdict":"no_evidence"'))
    try:
        page = made(path)
    finally:
        path.write_text(whole)
    assert "changed: the record says no evidence, its own frames give fake" in page.words
    assert "the overall score is" not in page.words, "nothing is concluded from it"
    assert "In 1 record, the verdict or other values differ" in page.words
