"""Run folders: what is written, what is left to do, and what an audit finds."""

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from deepscan.errors import ContractError, UsageError
from deepscan.scanning import run_folder as module
from deepscan.scanning import runfile
from deepscan.scanning.chunks import ManifestRow, Shard, chunk_name
from deepscan.scanning.parts import COLUMNS, PartRow, write_part
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.run_audit import AuditError, audit_run, seal_run
from deepscan.scanning.run_folder import RunFolder, put_manifest
from deepscan.storage.local_store import LocalStore
from deepscan.storage.object_store import ObjectStore
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
    store = location if hasattr(location, "put_once") else open_store(str(location))
    return RunFolder.begin(store, run, put_manifest(store, rows, chunk))


def content(folder, chunk, rows=None):
    rows = chunk.rows if rows is None else rows
    lines = [
        PartRow(RecordLine(row.path, "error", "stub", folder.run["id"]).to_json(), row.id, row.label)
        for row in rows
    ]
    return write_part(lines, run=folder.run["id"], chunk=chunk.name)


def scan(folder, shard=None):
    """Do what a worker does, without the work."""
    return [folder.put_part(chunk.name, content(folder, chunk)) for chunk in folder.todo(shard)]


@pytest.fixture
def folder(tmp_path):
    return begin(tmp_path / "run")


@pytest.fixture
def done(folder):
    assert all(scan(folder))
    return folder


@pytest.fixture
def part(done):
    """Path of the first part of a complete run."""
    chunk = next(done.chunks())
    return done.store.folder / "parts" / f"{chunk.name}.parquet"


def audit_error(folder):
    with pytest.raises(AuditError) as raised:
        audit_run(folder).require_complete()
    assert raised.value.exit_code == 1
    return raised.value.message


@pytest.mark.parametrize("place", ["local", "memory", "s3"])
def test_a_run_of_two_shards_in_each_kind_of_store(place, request, tmp_path):
    store = {
        "local": lambda: LocalStore(tmp_path / "run"),
        "memory": lambda: ObjectStore("memory://run", MemoryFileSystem(False, skip_instance_cache=True)),
        "s3": lambda: open_store(request.getfixturevalue("s3").address("run/")),
    }[place]()
    assert RunFolder.existing(store) is None
    assert scan(begin(store), Shard(1, 2)) == [True]
    audit = audit_run(RunFolder.open(store))
    assert (audit.done, audit.missing, audit.wrong, audit.done_rows) == (1, 2, 0, 4)
    assert scan(begin(store), Shard(2, 2)) == [True, True]
    folder = RunFolder.open(store)
    assert list(folder.todo()) == []
    seal_run(folder, audit_run(folder))
    assert folder.describe()["records"]["count"] == len(ROWS)
    assert [chunk.rows for chunk in folder.chunks()] == [tuple(ROWS[:4]), tuple(ROWS[4:8]), tuple(ROWS[8:])]


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


def test_a_deleted_part_is_missing(done, part):
    part.unlink()
    assert f"{part.name} is missing: rows 1 to 4" in audit_error(done)
    assert [chunk.name for chunk in done.todo()] == [part.stem]


def rewritten(part, change):
    table = pq.read_table(part)
    changed = change(table)
    pq.write_table(changed, part)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1, 2, 2, 3], "row 4 repeats '/videos/02.mp4'"),
        ([0, 1, 2, 2], "row 4 repeats '/videos/02.mp4'"),
        ([0, 1, 3], "the row of '/videos/02.mp4' is missing"),
        ([3, 2, 1, 0], "its rows are in another order"),
    ],
)
def test_rows_changed_by_hand_are_found(done, part, rows, message):
    rewritten(part, lambda table: table.take(rows))
    assert f"{part.name}: {message}" in audit_error(done)


def test_a_foreign_row_is_found(done, part):
    def renamed(table):
        paths = pa.array(["/videos/00.mp4", "/other.mp4", "/videos/02.mp4", "/videos/03.mp4"])
        return table.set_column(0, "path", paths)

    rewritten(part, renamed)
    assert f"{part.name}: row 2 is '/other.mp4', which does not belong" in audit_error(done)


@pytest.mark.parametrize("file", ["notes.txt", "0123456789abcdef.parquet"])
def test_a_foreign_file_among_the_parts_is_found(done, part, file):
    (part.parent / file).write_bytes(b"foreign")
    assert f"{file} belongs to no chunk" in audit_error(done)


@pytest.mark.parametrize("file", [".DS_Store", ".nfs000000012", ".writing-1-0a"])
def test_a_file_of_the_system_among_the_parts_is_ignored(done, part, file):
    (part.parent / file).write_bytes(b"foreign")
    assert audit_run(done).complete


@pytest.mark.parametrize("length", [0, 3, 500, -1])
def test_a_part_cut_short_is_found(done, part, length):
    part.write_bytes(part.read_bytes()[:length])
    assert f"{part.name} is damaged" in audit_error(done)


def test_a_changed_byte_of_a_record_is_found(done, part):
    content = bytearray(part.read_bytes())
    column = pq.ParquetFile(part).metadata.row_group(0).column(len(COLUMNS) - 1)
    assert column.path_in_schema == "record"
    place = (column.data_page_offset) + column.total_compressed_size // 2
    content[place] ^= 1
    part.write_bytes(content)
    assert f"{part.name} is damaged" in audit_error(done)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("deepscan.parts", "2", "has version 2, not 1"),
        ("deepscan.parts", "", "is not a part of a scan"),
        ("deepscan.run", "f" * 12, "belongs to run ffffffffffff, not"),
        ("deepscan.chunk", "e" * 16, "has the records of chunk eeee"),
    ],
)
def test_a_part_of_another_version_run_or_chunk_is_found(done, part, key, value, message):
    def marked(table):
        metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
        return table.replace_schema_metadata(metadata | {key: value})

    rewritten(part, marked)
    assert f"{part.name} {message}" in audit_error(done)


def test_a_part_with_other_columns_is_found(done, part):
    rewritten(part, lambda table: table.drop_columns(["score"]))
    assert f"{part.name} has other columns" in audit_error(done)


def test_a_part_changed_after_the_seal_is_found(done, part):
    seal_run(done, audit_run(done))
    rewritten(part, lambda table: table.set_column(5, "verdict", pa.array(["fake"] * 4)))
    audit = audit_run(done)
    with pytest.raises(ContractError, match="changed after the run was sealed"):
        seal_run(done, audit)


def test_an_incomplete_run_is_not_sealed(done, part):
    part.unlink()
    with pytest.raises(AuditError):
        seal_run(done, audit_run(done))
    assert done.sealed() is None


def test_the_seal_removes_what_killed_writers_left(done, part):
    left = part.parent / ".writing-1-00000000"
    left.write_bytes(b"half")
    done.store.put_once("attempts/a/1", b"")
    done.store.put_once("attempts/b/1", b"")
    done.store.delete("attempts/a/1")
    seal_run(done, audit_run(done))
    assert not left.exists()
    assert [path.name for path in (done.store.folder / "attempts").iterdir()] == ["b"]


def test_a_damaged_part_is_not_read(done, part):
    part.write_bytes(part.read_bytes()[:500])
    with pytest.raises(
        ContractError, match=rf"{done.store.location}: parts/{part.name} is damaged: [^\n]+[^.]$"
    ):
        done.read_part(part.stem)


def test_of_many_findings_the_error_names_the_first(tmp_path):
    folder = begin(tmp_path / "run", chunk=1)
    assert audit_error(folder).endswith("and 7 more")


def test_other_parameters_cannot_join_a_run(folder, tmp_path):
    with pytest.raises(ContractError, match="--frames was 32, is 16"):
        begin(tmp_path / "run", run={**RUN, "parameters": {"frames": 16}})


def test_another_manifest_cannot_join_a_run(folder, tmp_path):
    with pytest.raises(ContractError, match=r"another manifest \(10 rows then, 9 now\)"):
        begin(tmp_path / "run", rows=ROWS[1:])


def test_the_same_worker_joins_its_run(folder, tmp_path):
    assert begin(tmp_path / "run", run={**RUN, "id": "1" * 12}).run["id"] == folder.run["id"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"run\.json is missing"):
        RunFolder.open(str(tmp_path))


def test_another_manifest_of_the_same_length_cannot_join_a_run(folder, tmp_path):
    with pytest.raises(ContractError, match=r"another manifest \(other rows\)"):
        begin(tmp_path / "run", rows=[*ROWS[:-1], ManifestRow(b"/videos/other.mp4")])


def test_another_label_is_another_manifest(folder, tmp_path):
    with pytest.raises(ContractError, match=r"another manifest"):
        begin(tmp_path / "run", rows=[ManifestRow(row.path, row.id, "fake") for row in ROWS])


def test_chunks_of_another_size_cannot_join_a_run(folder, tmp_path):
    with pytest.raises(ContractError, match="--chunk was 4, is 5"):
        begin(tmp_path / "run", chunk=5)


def test_another_version_cannot_join_a_run(folder, tmp_path):
    run = {**RUN, "tool": {"name": "deepscan", "version": "2"}}
    with pytest.raises(ContractError, match=r"tool.version was '1', is '2'") as raised:
        begin(tmp_path / "run", run=run)
    assert raised.value.exit_code == 4
    assert "--overwrite" not in raised.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:50], "cannot be read"),
        (lambda text: text.replace('"frames": 32', '"frames": 64'), "was edited"),
        (lambda text: "[]", "not written by this version"),
        (lambda text: json.dumps({"id": "0" * 12, "schema": 1}), "does not describe a run folder"),
        (
            lambda text: json.dumps({"id": "0" * 12, "schema": 2, "manifest": {}}),
            "run folder of this version",
        ),
    ],
)
def test_a_damaged_description_is_refused(folder, change, message):
    path = folder.store.folder / "run.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ContractError, match=message):
        RunFolder.open(folder.store)


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda path: path.unlink(), "is missing"), (lambda path: path.write_bytes(b"PAR1"), "was changed")],
)
def test_a_damaged_manifest_is_refused(folder, change, message):
    (file,) = (folder.store.folder / "manifest").iterdir()
    change(file)
    with pytest.raises(ContractError, match=message):
        list(folder.chunks())


def test_workers_that_begin_together_have_one_run(tmp_path):
    runs = [{**RUN, "id": f"{number:012}"} for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda run: begin(tmp_path / "run", run=run), runs))
    assert len({folder.run["id"] for folder in folders}) == 1
    assert len(os.listdir(tmp_path / "run" / "manifest")) == 1


def test_the_identifier_depends_on_parameters_and_manifest_only(tmp_path):
    runs = [
        begin(tmp_path / "a").run["id"],
        begin(tmp_path / "b", run={**RUN, "sessions": [], "custody": {"case": "7"}}).run["id"],
        begin(tmp_path / "c", rows=ROWS[1:]).run["id"],
        begin(tmp_path / "d", run={**RUN, "parameters": {"frames": 16}}).run["id"],
    ]
    assert runs[0] == runs[1]
    assert len(set(runs)) == 3


def test_the_names_of_chunks_do_not_change():
    # A new version that names them differently would scan everything again.
    rows = [
        ManifestRow(b"s3://b/1.mp4", size=5, etag="e"),
        ManifestRow(b"/\xff.mp4", "id", "fake", sha256="0f"),
    ]
    assert chunk_name(rows) == "5dd58b454cf09a6b"
    assert chunk_name([ManifestRow(b"s3://b/1.mp4", "i", "l", 5, "e"), rows[1]]) == chunk_name(rows)
    assert len({chunk_name(rows[:1]), chunk_name(rows[1:]), chunk_name(rows[::-1]), chunk_name(rows)}) == 4


def test_rows_keep_all_that_they_have(tmp_path):
    rows = [ManifestRow(b"s3://b/1.mp4", "id", "fake", 5, "etag", "0f" * 32), ManifestRow(b"/\xff.mp4")]
    assert list(begin(tmp_path, rows=rows).rows()) == rows


def test_a_part_has_flat_columns_and_the_record(done, part):
    (row,) = pq.read_table(part).slice(1, 1).to_pylist()
    record = json.loads(row.pop("record"))
    assert (row["path"], row["id"], row["status"]) == ("/videos/01.mp4", "v1", "error")
    assert record["run"] == done.run["id"]
    assert row["started"].isoformat(timespec="milliseconds") == record["started"].replace("Z", "+00:00")


def test_the_description_has_sessions_and_seal(done):
    done.begin_session({"id": "b", "started": "2026-01-02", "ended": None})
    done.begin_session({"id": "a", "started": "2026-01-03", "ended": None})
    done.end_session({"id": "b", "started": "2026-01-02", "ended": "2026-01-04"})
    run = done.describe()
    assert [(session["id"], session["ended"]) for session in run["sessions"]] == [
        ("b", "2026-01-04"),
        ("a", None),
    ]
    assert run["records"] is None
    assert runfile.is_unchanged(run)


def test_a_shard_reads_only_the_files_of_the_manifest_that_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE_ROWS", 3)
    folder = begin(tmp_path / "run", chunk=4)
    read, files = folder.store.read, []
    monkeypatch.setattr(folder.store, "read", lambda name: files.append(name) or read(name))
    (chunk,) = folder.chunks(Shard(1, 3))
    assert chunk.rows == tuple(ROWS[:4])
    assert [name.split("-")[0] for name in files] == ["manifest/00000", "manifest/00001"]


class Counted:
    """A store that counts its requests."""

    def __init__(self, store):
        self.store, self.location, self.requests = store, store.location, Counter()

    def __getattr__(self, name):
        def call(*arguments):
            self.requests[name] += 1
            return getattr(self.store, name)(*arguments)

        return call


def test_a_chunk_takes_one_request(tmp_path):
    begin(tmp_path / "run", chunk=1)
    store = Counted(LocalStore(tmp_path / "run"))
    assert all(scan(RunFolder.open(store)))
    # run.json and one file of the manifest are read, and the parts are listed once.
    assert store.requests == {"read": 2, "names": 1, "put_once": len(ROWS)}
    store.requests.clear()
    audit_run(RunFolder.open(store))
    assert store.requests == {"read": 2 + len(ROWS), "names": 1}
