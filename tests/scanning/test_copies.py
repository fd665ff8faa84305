"""Test scans of folders with equal files from end to end: records, terminal, page, resuming, verification."""

import shutil
from pathlib import Path

import pytest

import deepscan
from tests import toy
from tests.cli.test_resume import cut_short
from tests.command import SAMPLES, journal
from tests.command import deepscan as command

QUICK = ("--frames", "2", "--device", "cpu")
OWN = {"path", "copied_from", "mtime_ns", "started", "seconds"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return toy.model(tmp_path_factory.mktemp("models") / "toy", explanation=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder in which three files are there twice, one of them broken, and one is there once."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("real_hopper.mp4", "no_face.mp4"):
        for part in ("first", "second"):
            (folder / part).mkdir(exist_ok=True)
            shutil.copy(SAMPLES / name, folder / part / name)
    for part in ("first", "second"):
        (folder / part / "broken.mp4").write_bytes(b"\0" * 100)
    shutil.copy(SAMPLES / "swapped.mp4", folder)
    return folder


def by_origin(records):
    """Return the number of originals and of copies, after comparing each copy with its original."""
    originals = {path: record for path, record in records.items() if "copied_from" not in record}
    copies = [record for record in records.values() if "copied_from" in record]
    for copy in copies:
        original = originals[copy["copied_from"]]
        assert {key: copy[key] for key in copy if key not in OWN} == {
            key: original[key] for key in original if key not in OWN
        }
        assert copy["seconds"].keys() == {"hash", "hash_cpu", "total"}
    return len(originals), len(copies)


@pytest.fixture(scope="module")
def scanned(videos, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("scanned") / "out.jsonl"
    ran = command("scan", videos, "--model", model, *QUICK, "--evidence", "--out", out)
    assert ran.code == 3, ran.err
    return out, ran


def test_each_content_is_scanned_once_and_each_file_has_a_record(scanned):
    out, ran = scanned
    records = journal(out)
    assert by_origin(records) == (4, 3)
    assert {record["status"] for record in records.values()} == {"ok", "no_face", "decode_error"}
    assert "3 videos had the same content as another: their results were copied" in ran.err
    assert [deepscan.Record.from_json(record).to_json() for record in records.values()] == [*records.values()]


def test_the_records_pictures_and_files_of_a_run_with_copies_verify(scanned):
    out, _ = scanned
    records = [record for record in journal(out).values() if record["path"].endswith("hopper.mp4")]
    assert records[0]["pictures"] == records[1]["pictures"] != []
    ran = command("verify", out)
    assert ran.code == 0, ran.out


def test_the_page_names_the_file_that_was_scanned(scanned, videos, tmp_path):
    out, _ = scanned
    assert command("report", out, "--out", tmp_path / "page.html").code == 0
    page = " ".join((tmp_path / "page.html").read_text().split())
    assert "(3 videos are copies of others)" in page
    for record in journal(out).values():
        if "copied_from" in record:
            assert f"a copy of {Path(record['copied_from']).relative_to(videos)}<" in page


@pytest.mark.parametrize("keep", [1, 3, 6])
def test_a_resumed_run_copies_the_records_that_it_kept(scanned, videos, tmp_path, keep):
    for path in (scanned[0], scanned[0].with_suffix(".run.json")):
        shutil.copy(path, tmp_path)
    shutil.copytree(scanned[0].with_suffix(".pictures"), tmp_path / "out.pictures")
    out = tmp_path / "out.jsonl"
    cut_short(out, keep)
    before = journal(out)
    assert command("scan", "--resume", "--out", out).code == 3
    records = journal(out)
    assert len(records) == 7 and before.items() <= records.items()
    # No content is decoded again that an earlier session had decoded.
    assert by_origin(records) == (4, 3)
    assert command("verify", out).code == 0


def test_a_copy_outlives_the_file_that_it_was_copied_from(videos, model, tmp_path):
    folder, out = tmp_path / "videos", tmp_path / "out.jsonl"
    shutil.copytree(videos, folder)
    assert command("scan", folder, "--model", model, *QUICK, "--out", out).code == 3
    copy = next(record for record in journal(out).values() if "copied_from" in record)
    original = copy["copied_from"]
    with open(original, "ab") as file:
        file.write(b"more")
    shutil.copy(copy["path"], folder / "new.mp4")
    assert command("scan", "--resume", "--out", out).code == 3
    records = journal(out)
    assert records[copy["path"]] == copy
    assert records[original]["sha256"] != copy["sha256"] and "copied_from" not in records[original]
    assert records[str(folder / "new.mp4")]["copied_from"] == copy["path"]
    assert command("verify", out).code == 0


def test_a_pipe_and_the_python_api_get_copies_too(videos, model):
    ran = command("scan", videos, "--model", model, *QUICK)
    assert by_origin({record["path"]: record for record in ran.records}) == (4, 3)
    assert "3 videos had the same content" in ran.err
    records = deepscan.scan(videos, model=model, frames=2, device="cpu", workers=2)
    assert by_origin({record.path: record.to_json() for record in records}) == (4, 3)
