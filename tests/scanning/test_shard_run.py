"""Shards of a run folder: who begins it, what is scanned again, and videos that kill their workers."""

import json
import os
import signal
import time

import pytest

from deepscan.errors import ContractError, DeepscanError, ExitCode, UsageError
from deepscan.scanning.attempts import DIED
from deepscan.scanning.chunks import ManifestRow
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.run_audit import AuditError
from deepscan.scanning.run_folder import RunFolder
from deepscan.scanning.runfile import is_unchanged
from deepscan.scanning.worker import require_content
from tests.scanning.fake_worker import Counting, FakeWorker, attempts, job, records, scan, scan_in_child

PATHS = [f"/videos/{number:02}.mp4" for number in range(20)]


def test_one_process_scans_and_seals_a_run(tmp_path):
    listener = Counting()
    summary = scan(job(tmp_path / "run", PATHS, chunk=3), listener=listener)
    assert (summary.outcomes["fake"], summary.owed, summary.sealed) == (20, 0, True)
    assert summary.exit_code(("fake",)) == ExitCode.FOUND_FAKE
    assert sorted(listener.scanned) == PATHS
    assert list(records(tmp_path / "run")) == PATHS
    assert attempts(tmp_path / "run") == []
    (session,) = RunFolder.open(str(tmp_path / "run")).describe()["sessions"]
    assert (session["shard"], session["videos"], session["exit_code"]) == ("1/1", 20, 0)


def test_shards_share_the_chunks_and_the_last_one_seals(tmp_path):
    first, second = Counting(), Counting()
    summary = scan(job(tmp_path / "run", PATHS, (2, 2), 3), listener=second)
    assert (summary.owed, summary.sealed, summary.outcomes["fake"]) == (3, False, 11)
    # The run knows its inputs.
    summary = scan(job(tmp_path / "run", None, (1, 2)), listener=first)
    assert (summary.owed, summary.sealed, summary.outcomes["fake"]) == (0, True, 9)
    assert sorted(first.scanned) + sorted(second.scanned) == PATHS
    assert RunFolder.open(str(tmp_path / "run")).sealed()["count"] == 20


def test_a_chunk_with_a_part_is_not_scanned_again_and_counts(tmp_path):
    scan(job(tmp_path / "run", PATHS, (1, 2), 3))
    listener = Counting()
    summary = scan(job(tmp_path / "run", PATHS), listener=listener)
    assert len(listener.scanned) == 11
    assert (listener.share.rows, listener.share.todo_rows, summary.outcomes["fake"]) == (20, 11, 20)
    again = Counting()
    assert scan(job(tmp_path / "run", PATHS), listener=again).sealed
    assert again.scanned == []


def test_eight_shards_that_begin_together_make_one_run(tmp_path):
    location = tmp_path / "run"
    shards = [scan_in_child(location, PATHS, shard=(number, 8), chunk=1) for number in range(1, 9)]
    for shard in shards:
        shard.join()
    assert [shard.exitcode for shard in shards] == [0] * 8
    assert list(records(location)) == PATHS
    run = json.loads((location / "run.json").read_text())
    assert is_unchanged(run)
    assert len(list((location / "manifest").iterdir())) == len(run["manifest"]["files"]) == 1
    assert (location / "sealed.json").exists()


def test_shards_with_other_parameters_that_begin_together_are_refused(tmp_path):
    location = tmp_path / "run"
    shards = [
        scan_in_child(location, PATHS, shard=(number, 6), chunk=1, frames=8 * (1 + number % 2))
        for number in range(1, 7)
    ]
    for shard in shards:
        shard.join()
    assert sorted(shard.exitcode for shard in shards) == [0, 0, 0, 4, 4, 4]
    won = json.loads((location / "run.json").read_text())["parameters"]["frames"]
    for error in tmp_path.glob("run.*.error"):
        assert f"--frames was {won}, is {24 - won}" in error.read_text()
    assert scan(job(location, PATHS), frames=won).sealed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"paths": PATHS, "named": ("/other",)}, "has other inputs: /videos, not /other"),
        ({"chunk": 4}, "has --chunk 3, not 4"),
    ],
)
def test_other_inputs_and_chunks_are_refused(tmp_path, values, message):
    scan(job(tmp_path / "run", PATHS, (1, 2), 3))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ContractError, match=message):
        scan(job(tmp_path / "run", **values))
    assert sorted(tmp_path.rglob("*")) == before


def test_another_version_is_refused(tmp_path):
    class Other(FakeWorker):
        version = "2"

    scan(job(tmp_path / "run", PATHS, (1, 2), 3))
    with pytest.raises(ContractError, match=r"tool\.version was '1', is '2'"):
        scan(job(tmp_path / "run", PATHS), worker=Other)


def test_a_model_that_nobody_named_is_that_of_the_run_even_if_two_shards_begin_it_together(tmp_path):
    class First(FakeWorker):
        chosen = "first"

    class Second(FakeWorker):
        chosen = "second"

        def open(self):
            if self._earlier is None:
                # Meanwhile, another shard begins the run.
                scan(job(tmp_path / "run", PATHS, (1, 2), 3), model="auto", worker=First)
            super().open()

    assert scan(job(tmp_path / "run", PATHS, (2, 2), 3), model="auto", worker=Second).sealed
    assert RunFolder.open(str(tmp_path / "run")).run["model"]["name"] == "first"
    with pytest.raises(ContractError, match=r"model\.name was 'first', is 'toy'"):
        scan(job(tmp_path / "run", PATHS))


def test_nothing_to_continue_and_nothing_to_scan_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"there is no run in .*run to continue"):
        scan(job(tmp_path / "run"))
    with pytest.raises(UsageError, match="no video to scan"):
        scan(job(tmp_path / "run", []))
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_killed_shard_continues_without_scanning_what_has_a_part(tmp_path):
    location = tmp_path / "run"
    paths = [f"/videos/slow{number:02}.mp4" for number in range(40)]
    process = scan_in_child(location, paths, chunk=2)
    while len(list(location.glob("parts/*.parquet"))) < 4:
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = {path.stem for path in (location / "parts").glob("*.parquet")}
    folder = RunFolder.open(str(location))
    kept = [os.fsdecode(row.path) for chunk in folder.chunks() if chunk.name in done for row in chunk.rows]
    assert 8 <= len(kept) < 40
    listener = Counting()
    assert scan(job(location, paths), listener=listener).sealed
    assert sorted([*listener.scanned, *kept]) == paths
    assert sorted(records(location)) == paths


@pytest.mark.parametrize("chunk", [3, 20])
def test_a_video_that_kills_its_workers_gets_the_only_error(tmp_path, chunk):
    location = tmp_path / "run"
    paths = [*PATHS[:10], "/videos/poison.mp4", *PATHS[10:]]
    codes = []
    while not codes or codes[-1] not in (0, 3):
        process = scan_in_child(location, paths, chunk=chunk)
        process.join()
        codes.append(process.exitcode)
        assert len(codes) < 8
    # Twice with others, twice alone.
    assert codes == [-signal.SIGKILL] * 4 + [0]
    found = records(location)
    assert list(found) == paths
    poison = found.pop("/videos/poison.mp4")
    assert (poison["status"], poison["detail"], poison["score"]) == ("error", DIED, None)
    assert {record["status"] for record in found.values()} == {"ok"}
    assert scan(job(location)).exit_code() == ExitCode.SOME_FAILED


def test_a_shard_that_ends_with_an_error_takes_its_attempts_back(tmp_path):
    location = tmp_path / "run"
    for _ in range(3):
        with pytest.raises(DeepscanError, match="the store is gone"):
            scan(job(location, [*PATHS[:5], "/videos/broken.mp4"], chunk=2))
    assert attempts(location) == []
    assert [session["exit_code"] for session in RunFolder.open(str(location)).describe()["sessions"]] == [
        1
    ] * 3


def test_an_audit_that_fails_ends_the_last_shard_with_an_error(tmp_path):
    location = tmp_path / "run"
    scan(job(location, PATHS, (1, 2), 3))
    part = next((location / "parts").iterdir())
    part.rename(part.with_name("0" * 16 + ".parquet"))
    with pytest.raises(AuditError) as raised:
        scan(job(location, None, (2, 2)))
    assert raised.value.exit_code == ExitCode.INTERNAL
    assert not (location / "sealed.json").exists()


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ({}, None),
        ({"size": 5, "sha256": "a" * 64}, None),
        ({"size": 6}, "it has 5 bytes, not 6 as in the manifest"),
        ({"sha256": "b" * 64}, f"its SHA-256 is not {'b' * 64}, as in the manifest"),
    ],
)
def test_a_video_that_the_manifest_does_not_describe_is_changed(row, detail):
    line = RecordLine(b"/a", "ok", "", "run", sha256="a" * 64, size=5, verdict="fake", score=0.9)
    found = require_content(ManifestRow(b"/a", **row), line)
    if detail is None:
        assert found is line
    else:
        assert (found.status, found.detail, found.score) == ("changed", detail, None)
        assert (found.sha256, found.size) == ("a" * 64, 5)
