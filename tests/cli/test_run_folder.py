"""Scans into run folders from the command line: shards, what is refused, how an interrupted one continues."""

import json
import shlex
import signal
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepscan.errors import ExitCode
from deepscan.scanning.run_folder import RunFolder
from tests import awkward
from tests.command import deepscan, journal, start

QUICK = ("--model", "none", "--frames", "2")
#: Facts that may differ between two scans of the same video.
VARYING = {"run", "started", "seconds"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of six different videos without a face, and a text file with the name of one."""
    folder = tmp_path_factory.mktemp("some videos")
    for number in range(6):
        awkward.video(folder / f"{number}.mp4", count=5 + number)
    (folder / "text.mp4").write_text("no video")
    (folder / "notes.txt").write_text("not scanned")
    return folder


def names(videos):
    return sorted(str(path) for path in videos.glob("*.mp4"))


def records(out):
    """Return the records in a run folder by path."""
    folder = RunFolder.open(str(out))
    found = [record for chunk in folder.chunks() for record in folder.read_part(chunk.name).records()]
    assert len({record["path"] for record in found}) == len(found)
    return {record["path"]: record for record in found}


def facts(found):
    return {
        path: {key: value for key, value in record.items() if key not in VARYING}
        for path, record in found.items()
    }


def test_three_shards_give_the_records_of_one_scan(videos, tmp_path):
    assert deepscan("scan", videos, *QUICK, "--out", tmp_path / "whole.jsonl").code == ExitCode.SOME_FAILED
    out = f"{tmp_path}/run/"
    last = deepscan("scan", videos, *QUICK, "--out", out, "--shard", "3/3")
    assert (last.code, last.out) == (ExitCode.SOME_FAILED, "")
    assert "shard 3/3: 3 videos in 3 chunks, of 7 in the run" in last.err
    assert "other shards still have 4 chunks of the run to scan" in last.err
    assert "skipped in folders: 1 .txt" in last.err
    first = deepscan("scan", videos, *QUICK, "--out", out, "--shard", "1/3")
    assert first.code == ExitCode.OK
    # The run knows its videos and options, and job arrays say which shard this is.
    array = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "3"}
    second = deepscan("scan", "--out", out.rstrip("/"), "--shard", "auto", **array)
    assert second.code == ExitCode.OK, second.err
    assert "the run is complete and checked: 7 videos, one record each" in second.err
    found = records(out)
    assert list(found) == names(videos)
    assert facts(found) == facts(journal(tmp_path / "whole.jsonl"))
    again = deepscan("scan", videos, *QUICK, "--out", out)
    assert again.code == ExitCode.SOME_FAILED
    assert "7 videos already scanned, 0 to scan" in again.err
    assert "in total: 7 videos: 6 no face, 1 unsupported" in again.err


def test_equal_videos_of_a_shard_are_scanned_once(videos, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes((videos / "0.mp4").read_bytes())
    ran = deepscan("scan", tmp_path, *QUICK, "--out", f"{tmp_path}/run/", "--chunk", "1")
    assert ran.code == ExitCode.OK, ran.err
    found = list(records(tmp_path / "run").values())
    assert [record.get("copied_from") for record in found].count(None) == 1
    assert len({record["sha256"] for record in found}) == 1


def test_manifests_are_scanned_with_their_labels(videos, tmp_path):
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"path,label,size\n{videos}/0.mp4,real,\n{videos}/1.mp4,fake,1\nmissing.mp4,,\n")
    ran = deepscan("scan", "--from-list", manifest, *QUICK, "--out", f"{tmp_path}/run/", cwd=tmp_path)
    assert ran.code == ExitCode.SOME_FAILED
    found = records(tmp_path / "run")
    assert [record["status"] for record in found.values()] == ["no_face", "changed", "error"]
    assert list(found)[2] == str(tmp_path / "missing.mp4")
    tables = [pq.read_table(part) for part in (tmp_path / "run" / "parts").iterdir()]
    labels = pa.concat_tables(tables).select(["path", "label"]).to_pylist()
    assert {row["path"]: row["label"] for row in labels} == {
        f"{videos}/0.mp4": "real",
        f"{videos}/1.mp4": "fake",
        str(tmp_path / "missing.mp4"): None,
    }
    local = deepscan("scan", "--from-list", manifest, *QUICK, "--out", "out.jsonl", cwd=tmp_path)
    assert local.code == ExitCode.SOME_FAILED
    assert journal(tmp_path / "out.jsonl").keys() == found.keys()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("video\n/a.mp4\n", "has no column path or uri; its columns are: video"),
        ("path\n/a.mp4\n/a.mp4\n", "names '/a.mp4' twice, in line 2 and line 3"),
        ("path\n", "no video to scan"),
    ],
)
def test_a_manifest_that_is_wrong_leaves_no_run(tmp_path, text, error):
    (tmp_path / "list.csv").write_text(text)
    ran = deepscan("scan", "--from-list", tmp_path / "list.csv", *QUICK, "--out", f"{tmp_path}/run/")
    assert error in ran.refused(ExitCode.USAGE)[0]
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.fixture(scope="module")
def begun(videos, tmp_path_factory):
    """A run folder of which the first of two shards is done."""
    out = tmp_path_factory.mktemp("out") / "run"
    ran = deepscan("scan", videos, *QUICK, "--out", f"{out}/", "--shard", "1/2", "--chunk", "2")
    assert ran.code == ExitCode.OK, ran.err
    return out


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        (("--frames", "4"), ExitCode.CONTRACT, "--frames 2, not 4"),
        (("--model", "convnet"), ExitCode.CONTRACT, "model.name was None, is convnet"),
        (("--chunk", "3"), ExitCode.CONTRACT, "has --chunk 2, not 3"),
        (("{videos}/0.mp4",), ExitCode.CONTRACT, "has other inputs: {videos}, not {videos}/0.mp4"),
        (("--case", "7"), ExitCode.CONTRACT, "--case was not given, is 7"),
        (("--overwrite",), ExitCode.USAGE, "--overwrite does not work with the run folder"),
        (("--retry", "timeout"), ExitCode.USAGE, "--retry does not work with the run folder"),
        (("--evidence",), ExitCode.USAGE, "--evidence does not work with the run folder"),
        (("--verify-inputs",), ExitCode.USAGE, "--verify-inputs does not work with the run folder"),
        (("--shard", "3/2"), ExitCode.USAGE, "shard 3 of 2 does not exist"),
        (("--shard", "auto"), ExitCode.USAGE, "no variable of a job array is set"),
        (("--chunk", "0"), ExitCode.USAGE, "--chunk"),
        (("--fail-on", "fake"), ExitCode.USAGE, "--model none gives none"),
    ],
)
def test_what_differs_from_the_run_is_refused(begun, videos, options, code, error):
    before = sorted(begun.rglob("*"))
    given = [option.format(videos=videos) for option in options]
    ran = deepscan("scan", *given, "--out", f"{begun}/")
    assert error.format(videos=videos) in " ".join(ran.refused(code)).replace("'", "")
    assert sorted(begun.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--out", "out.jsonl", "--shard", "1/2"), "--shard needs a run folder"),
        (("--chunk", "2"), "--chunk needs a run folder"),
        (("--out", "s3://bucket/out.jsonl"), "cannot be written"),
    ],
)
def test_a_shard_needs_a_run_folder(videos, tmp_path, options, error):
    ran = deepscan("scan", videos / "0.mp4", *QUICK, *options, cwd=tmp_path)
    assert error in ran.refused(ExitCode.USAGE)[0]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_exist_cannot_be_continued(tmp_path):
    ran = deepscan("scan", "--out", f"{tmp_path}/none/", "--shard", "1/2")
    assert "no video to scan" in ran.refused(ExitCode.USAGE)[0]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_shard_says_how_to_continue(videos, tmp_path):
    folder, out = tmp_path / "videos", tmp_path / "run"
    folder.mkdir()
    for number in range(60):
        # Different files, so that none gets the record of another.
        content = (videos / "5.mp4").read_bytes()
        (folder / f"{number:02}.mp4").write_bytes(content + b"\0" * number)
    words = ["scan", "--out", f"{out}/", "--shard", "1/1"]
    process = start(*words, folder, *QUICK, "--chunk", "1")
    while not any(out.glob("parts/*.parquet")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    error = process.communicate()[1].decode().splitlines()
    assert process.returncode == ExitCode.TERMINATED
    done = len(list(out.glob("parts/*.parquet")))
    assert 1 <= done < 60
    assert error[-2] == f"error: terminated: {done} of 60 videos are done"
    hint = shlex.split(error[-1].removeprefix("hint: to continue: "))
    assert hint[-5:] == words
    assert not any(path.is_file() for path in (out / "attempts").rglob("*"))
    continued = deepscan(*hint[-5:])
    assert continued.code == ExitCode.OK
    assert f"{done} video" in continued.err and f"already scanned, {60 - done} to scan" in continued.err
    assert len(records(out)) == 60
    sessions = [json.loads(path.read_text()) for path in out.glob("sessions/*.end.json")]
    assert sorted(session["exit_code"] for session in sessions) == [0, 143]


def test_a_list_on_stdin_is_needed_only_to_begin(videos, tmp_path):
    listed = "".join(f"{name}\n" for name in names(videos)[:3]).encode()
    first = deepscan("scan", "-", *QUICK, "--out", f"{tmp_path}/run/", "--shard", "1/2", stdin=listed)
    assert first.code == 0, first.err
    second = deepscan("scan", "--out", f"{tmp_path}/run/", "--shard", "2/2")
    assert second.code == 0, second.err
    assert list(records(tmp_path / "run")) == names(videos)[:3]


def test_objects_are_scanned_into_a_store(videos, s3):
    for path in sorted(videos.glob("*.mp4")):
        s3.put(f"videos/{path.name}", path.read_bytes())
    listed = s3.put("list.csv", f"uri\n{s3.address('missing.mp4')}\n".encode())
    words = ("scan", s3.address("videos/"), "--from-list", listed, *QUICK, "--out", s3.address("run/"))
    first = deepscan(*words, "--shard", "1/2")
    assert first.code == ExitCode.OK, first.err
    second = deepscan(*words, "--shard", "2/2")
    assert second.code == ExitCode.SOME_FAILED, second.err
    assert "the run is complete and checked: 8 videos, one record each" in second.err
    found = records(s3.address("run/"))
    assert list(found) == [*(s3.address(f"videos/{number}.mp4") for number in range(6)), *list(found)[6:]]
    missing = found[s3.address("missing.mp4")]
    assert (missing["status"], missing["detail"]) == ("error", "the object does not exist")
    assert [record["status"] for record in found.values()].count("no_face") == 6
    keys = s3.keys()
    assert not [key for key in keys if key.startswith(("run/attempts/", "run/probes/"))]
    s3.put("videos/6.mp4", b"new")
    # The run keeps its list of videos, and what is done is not read again.
    again = deepscan(*words)
    assert "8 videos already scanned, 0 to scan" in again.err


def test_a_bucket_that_does_not_exist_is_named(videos, s3):
    ran = deepscan("scan", videos, *QUICK, "--out", "s3://no-such-bucket/run/")
    assert "the bucket does not exist" in ran.refused(ExitCode.USAGE)[0]
