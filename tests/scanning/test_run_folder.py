"""Run folders: what is written, what is left to do, and what an audit finds."""

import pyarrow.parquet as pq
import pytest

from deepscan.errors import ContractError, UsageError
from deepscan.scanning.chunks import ManifestRow, Shard
from deepscan.scanning.parts import PartRow, write_part
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.run_audit import AuditError, audit_run, seal_run
from deepscan.scanning.run_folder import RunFolder, put_manifest
from deepscan.storage.store import open_store

ROWS = [ManifestRow(f"/videos/{number:02}.mp4".encode(), id=f"v{number}") for number in range(10)]
RUN = {
    "schema": 1,
    "id": "0" * 12,
    "tool": {"name": "deepscan", "version": "1"},
    "custody": {},
    "parameters": {"frames": 32},
    "sessions": [],
    "records": None,
}


def begin(location, rows=ROWS, chunk=4, run=RUN):
    return RunFolder.begin(str(location), run, put_manifest(open_store(str(location)), rows, chunk))


def content(folder, chunk, rows=None):
    rows = chunk.rows if rows is None else rows
    lines = [
        PartRow(RecordLine(row.path, "error", "stub", folder.run["id"]).to_json(), row.id, row.label)
        for row in rows
    ]
    return write_part(lines, run=folder.run["id"], chunk=chunk.name)


@pytest.fixture
def folder(tmp_path):
    return begin(tmp_path / "run")


@pytest.fixture
def done(folder):
    for chunk in folder.chunks():
        assert folder.put_part(chunk.name, content(folder, chunk))
    return folder


def test_what_is_left_to_do_becomes_less_with_each_part(folder):
    chunks = list(folder.chunks())
    assert [len(chunk.rows) for chunk in chunks] == [4, 4, 2]
    assert list(folder.todo()) == chunks
    folder.put_part(chunks[1].name, content(folder, chunks[1]))
    assert list(folder.todo()) == [chunks[0], chunks[2]]


def test_shards_share_all_chunks(folder):
    shares = [list(folder.chunks(Shard(number, 2))) for number in (1, 2)]
    assert [*shares[0], *shares[1]] == list(folder.chunks())


def test_a_complete_run_is_sealed(done):
    audit = audit_run(done)
    assert audit.complete and audit.done_rows == len(ROWS)
    seal_run(done, audit)
    seal_run(done, audit_run(done))
    assert done.describe()["records"]["count"] == len(ROWS)
    assert [record["path"] for chunk in done.chunks() for record in done.read_part(chunk.name).records()] == [
        row.path.decode() for row in ROWS
    ]


def test_a_deleted_part_is_missing(done, tmp_path):
    chunk = next(done.chunks())
    (tmp_path / "run" / "parts" / f"{chunk.name}.parquet").unlink()
    with pytest.raises(AuditError, match=f"{chunk.name}.parquet is missing: rows 1 to 4"):
        audit_run(done).require_complete()


def test_a_row_doubled_by_hand_is_found(done, tmp_path):
    chunk = next(done.chunks())
    path = tmp_path / "run" / "parts" / f"{chunk.name}.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take([0, 1, 2, 2, 3]), path)
    with pytest.raises(AuditError, match=f"{chunk.name}.parquet: row 4 repeats '/videos/02.mp4'"):
        audit_run(done).require_complete()


def test_other_parameters_cannot_join_a_run(folder, tmp_path):
    with pytest.raises(ContractError, match="--frames was 32, is 16"):
        begin(tmp_path / "run", run={**RUN, "parameters": {"frames": 16}})


def test_another_manifest_cannot_join_a_run(folder, tmp_path):
    with pytest.raises(ContractError, match="10 rows then, 9 now"):
        begin(tmp_path / "run", rows=ROWS[1:])


def test_the_same_worker_joins_its_run(folder, tmp_path):
    assert begin(tmp_path / "run", run={**RUN, "id": "1" * 12}).run["id"] == folder.run["id"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"run\.json is missing"):
        RunFolder.open(str(tmp_path))
