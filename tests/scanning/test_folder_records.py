"""Records in a run folder, and in one file made from it, are read like those of a scan into a file."""

import csv
import json
import os
import shutil

import pyarrow.parquet as pq
import pytest

import deepscan
from deepscan.errors import ContractError, UsageError
from deepscan.report.page import write_page
from deepscan.scanning import runfile
from deepscan.scanning.compaction import CompactFile, compact_run
from deepscan.scanning.folder_records import FolderRecords
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.parts import COLUMNS
from deepscan.scanning.reading import open_records
from deepscan.scanning.record_lines import recorded_path
from deepscan.scanning.record_table import TableWriter
from deepscan.scanning.run import run_scan
from deepscan.scanning.run_audit import AuditError
from deepscan.scanning.run_folder import RunFolder
from deepscan.scanning.verification import verify_run
from tests import toy
from tests.command import SAMPLES
from tests.report.made import Page
from tests.scanning.run_folders import as_run_folder

#: In order; one name is not UTF-8.
NAMES = ("broken.mp4", "no_face.mp4", os.fsdecode(b"odd \xff.mp4"), "swapped.mp4", "two_persons.mp4")
BROKEN, NO_FACE, ODD, SWAPPED, PERSONS = NAMES


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Return the records of five videos, two of which fail or have no face, scanned into a CSV file."""
    folder = tmp_path_factory.mktemp("scanned")
    (folder / "videos").mkdir()
    for name in (NO_FACE, SWAPPED, PERSONS):
        shutil.copy(SAMPLES / name, folder / "videos")
    shutil.copy(SAMPLES / "real_hopper.mp4", folder / "videos" / ODD)
    (folder / "videos" / BROKEN).write_bytes(b"\0" * 100)
    options = ScanOptions(model=str(toy.model(folder / "toy", 0.2)), frames=4)
    paths = [os.fsencode(folder / "videos" / name) for name in NAMES]
    run_scan(paths, options, ScanOutput(folder / "out.csv"), command=["scan", "--out", "out.csv"], workers=1)
    return folder / "out.jsonl"


@pytest.fixture
def run(scanned, tmp_path):
    """Return the path of a complete run folder with these records, in three chunks."""
    as_run_folder(scanned, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def half(scanned, tmp_path):
    """Return the path of a run folder whose second chunk has no part."""
    as_run_folder(scanned, tmp_path / "half", without=[1])
    return tmp_path / "half"


def without_run(records):
    """Return the records in the order of paths, without what differs between a file and a run folder."""
    return sorted(({**record, "run": None} for record in records), key=recorded_path)


def kinds(result):
    return [(finding.kind, finding.what) for finding in result.findings]


def part_of(run, index):
    chunk = list(RunFolder.open(str(run)).chunks())[index]
    return run / "parts" / f"{chunk.name}.parquet"


def rewrite(path, change):
    """Replace a part by another valid file: as a careless editor would, not as a scan does."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def uncalibrated(table):
    """Return a part of which each record is edited."""
    lines = table.column("record").to_pylist()
    lines = [line.replace('"calibrated":true', '"calibrated":false') for line in lines]
    return table.set_column(list(COLUMNS).index("record"), table.schema.field("record"), [lines])


def test_a_run_folder_has_the_records_of_the_file(scanned, run):
    expected = list(open_records(scanned))
    records = open_records(run)
    assert without_run(records) == without_run(expected)
    placed = list(records.placed())
    assert [each.done for each in placed] == [1, 2, 3, 4, 5] and records.size() == 5
    backwards = [each.place for each in reversed(placed)]
    assert list(records.at(backwards)) == [each.record for each in reversed(placed)]
    assert records.unfinished() == ""


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_compacted_file_has_the_records_and_verifies(scanned, run, tmp_path, suffix):
    out = tmp_path / f"one{suffix}"
    calls = []
    found = compact_run(
        FolderRecords(str(run)), CompactFile(out), on_progress=lambda *call: calls.append(call)
    )
    assert (found.written, found.rows, found.lacking) == (5, 5, ())
    assert ("parts", 3, 3) in calls and calls[-1] == ("videos", 5, 5)
    written = open_records(out.with_suffix(".jsonl") if suffix == ".csv" else out)
    assert without_run(written) == without_run(open_records(scanned))
    places = [each.place for each in written.placed()]
    assert [record["path"] for record in written.at(places[::-1])] == [r["path"] for r in written][::-1]
    assert verify_run(written).findings == []
    assert verify_run(written).checked["videos"] == (5, 5)
    described = deepscan.read_run(out)
    assert described.records.count == 5 and described.records.table == (
        "one.csv" if suffix == ".csv" else None
    )
    assert len(described.sessions) == 1


def test_the_csv_file_is_that_of_a_scan(scanned, run, tmp_path):
    compact_run(FolderRecords(str(run)), CompactFile(tmp_path / "one.csv"))
    tables = []
    for path in (scanned.with_suffix(".csv"), tmp_path / "one.csv"):
        with path.open(newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
        assert path.read_bytes().count(b"\r") == 0
        tables.append([{**row, "run": ""} for row in rows])
    assert tables[0] == tables[1] and len(tables[0]) == 5


def test_a_parquet_file_keeps_the_columns_of_the_manifest(scanned, tmp_path):
    as_run_folder(scanned, tmp_path / "run", labels={"swapped.mp4": "fake", "no_face.mp4": "real"})
    compact_run(FolderRecords(str(tmp_path / "run")), CompactFile(tmp_path / "one.parquet"))
    table = pq.read_table(tmp_path / "one.parquet")
    assert table.column("label").to_pylist() == [None, "real", None, "fake", None]
    assert table.column("status").to_pylist()[:3] == ["decode_error", "no_face", "ok"]
    labels = list(open_records(tmp_path / "one.parquet").labels())
    assert [label for _, label in labels] == ["real", "fake"]
    assert labels == list(open_records(tmp_path / "run").labels())


def test_many_parts_become_few_row_groups(run, tmp_path, monkeypatch):
    monkeypatch.setattr("deepscan.scanning.record_table.GROUP_ROWS", 4)
    compact_run(FolderRecords(str(run)), CompactFile(tmp_path / "one.parquet"))
    file = pq.ParquetFile(tmp_path / "one.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [4, 1]
    records = open_records(tmp_path / "one.parquet")
    assert [record["path"] for record in records.at([4, 0, 3])] == [
        list(records)[place]["path"] for place in (4, 0, 3)
    ]


def test_an_incomplete_run_is_compacted_only_on_request(half, tmp_path):
    file = CompactFile(tmp_path / "one.jsonl")
    with pytest.raises(AuditError, match=r"parquet is missing: rows 3 to 4") as caught:
        compact_run(FolderRecords(str(half)), file)
    assert "--partial" in caught.value.hint and caught.value.exit_code == 1
    assert not file.records.exists() and not file.run.exists()
    found = compact_run(FolderRecords(str(half)), file, partial=True)
    assert (found.written, found.rows, len(found.lacking)) == (3, 5, 1)
    result = verify_run(file.records)
    assert kinds(result) == [("unchecked", "not complete: 3 of 5 videos of the run")]
    warned = []
    write_page(file.records, tmp_path / "one.html", most=9, warn=warned.append)
    assert warned == ["the run was not complete: 3 of its 5 videos are on this page"]


def test_a_wrong_part_is_left_out_of_a_partial_file(half, tmp_path):
    rewrite(part_of(half, 0), lambda table: table.take([0, 1, 1]))
    found = compact_run(FolderRecords(str(half)), CompactFile(tmp_path / "one.jsonl"), partial=True)
    assert found.written == 1
    assert "row 3 repeats" in found.lacking[0] and "is missing" in found.lacking[1]


def test_a_part_that_was_edited_after_the_seal_is_not_compacted(run, tmp_path):
    rewrite(part_of(run, 1), uncalibrated)
    for partial in (False, True):
        with pytest.raises(ContractError, match="changed after the run ended") as caught:
            compact_run(FolderRecords(str(run)), CompactFile(tmp_path / "one.jsonl"), partial=partial)
        assert "deepscan verify" in caught.value.hint


def test_files_are_not_overwritten_unasked(run, tmp_path):
    (tmp_path / "one.jsonl").write_text("mine")
    for name in ("one.jsonl", "one.csv"):
        with pytest.raises(UsageError, match=r"one\.jsonl already exists"):
            compact_run(FolderRecords(str(run)), CompactFile(tmp_path / name))
    assert (tmp_path / "one.jsonl").read_text() == "mine"
    compact_run(FolderRecords(str(run)), CompactFile(tmp_path / "one.jsonl", overwrite=True))
    assert len(list(open_records(tmp_path / "one.jsonl"))) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [("one.txt", "must end in .jsonl, .csv or .parquet"), ("no/one.csv", "does not exist")],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        CompactFile(tmp_path / name)


def test_an_unchanged_run_verifies(run):
    calls = []
    result = verify_run(run, on_progress=lambda *call: calls.append(call))
    assert result.findings == [] and result.exit_code == 0
    assert result.checked["parts"] == (3, 3)
    assert result.checked["scores, verdicts"] == (5, 5) and result.checked["videos"] == (5, 5)
    assert ("parts", 3, 3) in calls and ("scores", 5, 5) in calls


def test_an_incomplete_run_is_not_verified_fully(half):
    result = verify_run(half)
    assert result.exit_code == 3
    assert result.checked["parts"] == (2, 3) and result.checked["videos"] == (3, 3)
    ((kind, what),) = kinds(result)
    assert kind == "unchecked" and "is missing: rows 3 to 4" in what


@pytest.mark.parametrize(
    ("damage", "what", "other"),
    [
        (lambda path: path.unlink(), "is missing: rows 3 to 4", 0),
        (lambda path: rewrite(path, lambda table: table.take([0, 0])), "row 2 repeats", 0),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "is damaged", 0),
        (lambda path: shutil.copy(path, path.with_name("0" * 16 + ".parquet")), "belongs to no chunk", 0),
        (lambda path: rewrite(path, uncalibrated), "SHA-256 of the parts", 2),
    ],
    ids=["deleted", "doubled", "cut", "foreign", "edited"],
)
def test_damage_to_a_sealed_run_is_found(run, damage, what, other):
    damage(part_of(run, 1))
    result = verify_run(run)
    assert result.exit_code == 4
    assert what in result.findings[0].what and {kind for kind, _ in kinds(result)} == {"mismatch"}
    # Each of two edited records contradicts its own frames too.
    assert len(result.findings) == 1 + other


def test_a_changed_video_is_found(scanned, run, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(scanned.parent / "videos", moved)
    with (moved / "swapped.mp4").open("ab") as file:
        file.write(b"\0")
    (moved / "no_face.mp4").unlink()
    result = verify_run(run, root=moved)
    assert kinds(result) == [("missing", "the video was not found"), ("mismatch", "SHA-256 of the video")]


def test_the_page_of_a_run_folder_shows_its_videos(run, tmp_path):
    warned, alarms, calls = [], [], []
    count = write_page(
        f"{run}/",
        tmp_path / "run.html",
        most=9,
        warn=warned.append,
        alarm=alarms.append,
        on_progress=lambda *call: calls.append(call),
    )
    page = Page(tmp_path / "run.html")
    assert (count, warned, alarms) == (5, [], [])
    assert "swapped.mp4" in page.words and "unchanged since the scan" in page.words
    assert ("videos read", 5, 5) in calls


def test_the_page_of_an_incomplete_run_says_how_much_is_missing(half, tmp_path):
    warned = []
    assert write_page(half, tmp_path / "run.html", most=9, warn=warned.append) == 3
    (line,) = warned
    assert line == "the run is not complete: 3 of 5 videos have records (1 of 3 chunks are missing)"
    assert line in Page(tmp_path / "run.html").words


def test_the_page_warns_of_parts_that_were_changed(run, tmp_path):
    rewrite(part_of(run, 1), uncalibrated)
    alarms = []
    write_page(run, tmp_path / "run.html", most=9, alarm=alarms.append)
    assert alarms == ["the records were changed after the scan"]


def test_a_doubled_row_ends_a_reader(run):
    rewrite(part_of(run, 1), lambda table: table.take([0, 1, 1]))
    records = iter(open_records(run))
    assert [next(records)["status"] for _ in range(2)] == ["decode_error", "no_face"]
    with pytest.raises(ContractError, match="row 3 repeats"):
        next(records)


def test_python_reads_a_run_folder(scanned, run, half, caplog):
    expected = [record["path"] for record in without_run(open_records(scanned))]
    assert [record.path for record in deepscan.read_records(f"{run}/")] == expected
    described = deepscan.read_run(run)
    assert described.records.count == 5 and described.sessions[0].exit_code == 3
    assert caplog.text == ""
    assert len(list(deepscan.read_records(half))) == 3
    assert "3 of 5 videos have records" in caplog.text


def test_folders_and_addresses_that_are_not_runs_are_refused(tmp_path, run):
    with pytest.raises(UsageError, match=r"run\.json is missing"):
        open_records(tmp_path)
    with pytest.raises(UsageError, match="unknown scheme"):
        open_records("floppy://run/")
    described = json.loads((run / "run.json").read_text())
    described["schema"] = 9
    (run / "run.json").write_bytes(runfile.content({**described, runfile.OWN_HASH: None}))
    with pytest.raises(ContractError, match="this version"):
        open_records(run)


def test_a_table_of_others_is_not_read(tmp_path):
    path = tmp_path / "theirs.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(ContractError, match="is damaged"):
        list(open_records(path))
    with path.open("wb") as file:
        TableWriter(file, "run").close()
    assert list(open_records(path)) == []
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["label"]), path)
    with pytest.raises(ContractError, match="other columns"):
        list(open_records(path))
