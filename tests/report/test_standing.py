"""Records that were changed after their run ended: the page says so before anything else."""

import json

import pytest

from deepscan.cards import sha256_of
from deepscan.report.page import write_page
from deepscan.report.standing import read_standing
from deepscan.scanning import runfile
from tests import toy
from tests.command import SAMPLES, deepscan
from tests.report.made import Page, described, journal, video


def sealed(folder, *records, stated=None):
    path = journal(folder, *records)
    seal = {"count": len(records), "bytes": path.stat().st_size, "sha256": stated or sha256_of(path)}
    (folder / "a.run.json").write_text(json.dumps({**described(), "records": seal}))
    return path


def made(path):
    write_page(path, path.with_suffix(".html"), most=9)
    return Page(path.with_suffix(".html"))


def test_records_as_their_run_left_them_are_said_to_be_so(tmp_path):
    page = made(sealed(tmp_path, video()))
    assert "as its run left it" in page.words
    assert not page.all("div", role="alert")


def test_changed_records_are_warned_of_first_and_no_verdict_is_coloured(tmp_path):
    page = made(sealed(tmp_path, video(), stated="00" * 32))
    assert len(page.all("div", role="alert")) == 1
    assert page.words.index("were changed after their run ended") < page.words.index("A verdict is a reason")
    assert [attrs["class"] for attrs in page.all("body")] == ["unsure"]
    assert "deepscan verify a.jsonl" in page.words


@pytest.mark.parametrize(
    ("file", "old", "new", "words", "page_words"),
    [
        ("a.jsonl", '"bytes":', '"bytes": ', "the records were", "These records were changed"),
        ("a.run.json", '"id": ', '"more": 1, "id": ', "the run's file was", "describes the run was changed"),
    ],
)
def test_a_page_of_what_was_changed_is_no_quiet_success(tmp_path, file, old, new, words, page_words):
    path = sealed(tmp_path, video())
    run = runfile.read(tmp_path / "a.run.json")
    runfile.write(run, tmp_path / "a.run.json")
    assert deepscan("report", path, "--out", tmp_path / "before.html").code == 0
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    ran = deepscan("report", path)
    assert ran.code == 4
    assert f"warning: {words} changed after the scan" in ran.err
    page = Page(path.with_suffix(".html"))
    assert page_words in page.words
    assert [attrs["class"] for attrs in page.all("body")] == ["unsure"]


def test_a_run_without_a_hash_is_no_alarm_but_is_said(tmp_path):
    path = journal(tmp_path, video(), run=described())
    assert read_standing(path).kind == "open"
    page = made(path)
    assert "states no hash of these records" in page.words
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


def test_a_verdict_that_was_edited_stands_first_with_what_its_frames_give(scanned):
    path = scanned / "a.jsonl"
    whole = path.read_text()
    assert read_standing(path).kind == "whole"
    path.write_text(whole.replace('"verdict":"fake"', '"verdict":"no_evidence"'))
    try:
        page = made(path)
    finally:
        path.write_text(whole)
    assert "changed: the record says no evidence, its own frames give fake" in page.words
    assert "together they score" not in page.words, "nothing is concluded from it"
    assert "Of 1 record the verdict or the figures are not what its own frames give" in page.words
