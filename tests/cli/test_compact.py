"""Run folders on the command line: `compact`, and the commands that read one as they read a file."""

import json
import os
import shutil

import pytest

from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.run import run_scan
from deepscan.scanning.run_folder import RunFolder
from tests import toy
from tests.command import SAMPLES, deepscan
from tests.scanning.run_folders import as_run_folder

NAMES = ("no_face.mp4", "real_hopper.mp4", "swapped.mp4")
LABELS = {"real_hopper.mp4": "real", "swapped.mp4": "fake", "no_face.mp4": "real"}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Return the records of three videos."""
    folder = tmp_path_factory.mktemp("scanned")
    (folder / "videos").mkdir()
    for name in NAMES:
        shutil.copy(SAMPLES / name, folder / "videos")
    options = ScanOptions(model=str(toy.model(folder / "toy", 0.2)), frames=4)
    paths = [os.fsencode(folder / "videos" / name) for name in NAMES]
    run_scan(paths, options, ScanOutput(folder / "out.jsonl"), command=["scan"], workers=1)
    return folder / "out.jsonl"


@pytest.fixture
def run(scanned, tmp_path):
    as_run_folder(scanned, tmp_path / "run", labels=LABELS)
    return tmp_path / "run"


@pytest.fixture
def half(scanned, tmp_path):
    """Return a run folder that has no records of the last video."""
    as_run_folder(scanned, tmp_path / "half", labels=LABELS, without=[1])
    return tmp_path / "half"


def test_a_complete_run_is_written_and_read_by_all_commands(run, tmp_path):
    ran = deepscan("compact", f"{run}/", "--out", "one.csv", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "one.csv  3 videos\n"), ran.err
    assert {path.name for path in tmp_path.glob("one.*")} == {"one.csv", "one.jsonl", "one.run.json"}
    assert deepscan("verify", "one.jsonl", cwd=tmp_path).code == 0
    for records in ("run/", "one.jsonl"):
        ran = deepscan("report", records, "--overwrite", cwd=tmp_path)
        assert (ran.code, ran.out) == (0, f"{records.split('/')[0].split('.')[0]}.html  3 videos\n"), ran.err
    verified = deepscan("verify", "run/", cwd=tmp_path)
    assert verified.code == 0
    assert "ok  parts             2 of 2 match" in verified.out and "run/: everything matches" in verified.out


def test_labels_of_the_manifest_are_evaluated(run, tmp_path):
    ran = deepscan("eval", "--records", run, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "no_face" in ran.out and "Incomplete" not in ran.out
    lines = [f"{path},{LABELS[os.path.basename(path)]}" for path in paths_of(run)]
    (tmp_path / "run.csv").write_text("\n".join(["file,label", *lines]))
    labelled = deepscan("eval", "--records", run, "--labels", "run.csv", cwd=tmp_path)
    assert labelled.out == ran.out


def paths_of(run):
    return [os.fsdecode(row.path) for row in RunFolder.open(str(run)).rows()]


def test_every_command_says_that_a_run_is_not_complete(half, tmp_path):
    lacking = "the run is not complete: 2 of 3 videos have records (1 of 2 chunks are missing)"
    ran = deepscan("report", half, cwd=tmp_path)
    assert ran.code == 3 and f"warning: {lacking}" in ran.err
    ran = deepscan("eval", "--records", half, cwd=tmp_path)
    assert ran.code == 0 and f"warning: {lacking}" in ran.err
    assert f"Incomplete: {lacking}." in ran.out
    ran = deepscan("verify", half, cwd=tmp_path)
    assert ran.code == 3 and "1 of 2 match" in ran.out and "is missing: row 3" in ran.out
    error, hint = deepscan("compact", half, "--out", "one.jsonl", cwd=tmp_path).refused(1)
    assert "is missing: row 3" in error and "--partial" in hint
    ran = deepscan("compact", half, "--out", "one.jsonl", "--partial", cwd=tmp_path)
    assert ran.code == 3 and "2 of its 3 videos are in one.jsonl" in ran.err
    assert len((tmp_path / "one.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("videos.jsonl", 2, "videos.jsonl is not a run folder"),
        ("none/", 2, "none/ does not exist"),
        (".", 2, ". is not a run folder"),
        ("s4://bucket/run/", 2, "unknown scheme 's4'"),
        ("https://example.org/run/", 2, "cannot be a run folder"),
        ("new", 4, "does not describe a run folder of this version"),
    ],
)
def test_what_is_not_a_run_folder_is_refused(tmp_path, name, code, message):
    (tmp_path / "videos.jsonl").write_text("")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "run.json").write_text(json.dumps({"schema": 2, "id": "x", "manifest": {}}))
    assert message in deepscan("compact", name, "--out", "one.jsonl", cwd=tmp_path).refused(code)[0]


def test_the_file_that_describes_a_run_names_its_folder(run, tmp_path):
    for command in ("report", "verify"):
        assert "the folder of the run: run/" in deepscan(command, "run/run.json", cwd=tmp_path).refused(2)[1]


def test_a_run_in_an_object_store_is_read_like_a_folder(scanned, s3, tmp_path):
    address = s3.address("runs/one/")
    as_run_folder(scanned, address, labels=LABELS)
    environment = {**os.environ, **s3.environment}
    assert (tmp_path / "one.html").exists() is False
    ran = deepscan("report", address, cwd=tmp_path, **environment)
    assert (ran.code, ran.out) == (0, "one.html  3 videos\n"), ran.err
    ran = deepscan("verify", address, cwd=tmp_path, **environment)
    assert ran.code == 0 and "2 of 2 match" in ran.out, ran.out
    ran = deepscan("compact", address, "--out", "one.parquet", cwd=tmp_path, **environment)
    assert ran.code == 0, ran.err
    assert deepscan("verify", "one.parquet", cwd=tmp_path).code == 0
    assert deepscan("eval", "--records", address, cwd=tmp_path, **environment).code == 0
    assert (
        "run.json is missing"
        in deepscan(
            "compact", s3.address("runs/"), "--out", "two.jsonl", cwd=tmp_path, **environment
        ).refused(2)[0]
    )


@pytest.mark.exhaustive
def test_videos_in_an_object_store_are_hashed_again(s3, tmp_path):
    for name in NAMES:
        s3.put(f"in/{name}", (SAMPLES / name).read_bytes())
    model = toy.model(tmp_path / "toy", 0.2)
    environment = {**os.environ, **s3.environment}
    ran = deepscan(
        *("scan", s3.address("in/"), "--model", model, "--frames", "4", "--out", "out.jsonl"),
        cwd=tmp_path,
        **environment,
    )
    assert ran.code == 0, ran.err
    ran = deepscan("verify", "out.jsonl", cwd=tmp_path, **environment)
    assert ran.code == 0 and "videos            3 of 3 match" in ran.out, ran.out
    ran = deepscan("report", "out.jsonl", "--pictures", cwd=tmp_path, **environment)
    assert ran.code == 0 and "data:image/jpeg" in (tmp_path / "out.html").read_text(), ran.err
    s3.put("in/swapped.mp4", b"another")
    s3.delete("in/no_face.mp4")
    ran = deepscan("verify", "out.jsonl", cwd=tmp_path, **environment)
    assert ran.code == 4 and "videos            1 of 3 match" in ran.out, ran.out
    assert f"MISSING: {s3.address('in/no_face.mp4')}" in ran.out
    ran = deepscan("report", "out.jsonl", "--pictures", "--overwrite", cwd=tmp_path, **environment)
    assert ran.code == 3 and "No pictures: the video is not the one that was scanned" in ran.err
    ran = deepscan("verify", "out.jsonl", "--root", SAMPLES, cwd=tmp_path, **environment)
    assert ran.code == 0, ran.out
