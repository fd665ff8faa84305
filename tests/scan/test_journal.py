"""The journal survives crashes and refuses company."""

import json

import pytest

from deepscan.errors import ContractError, UsageError
from deepscan.scan.journal import Journal, read_journal
from deepscan.scan.records import Record


def line(path: bytes, **changes):
    return Record(**{"path": path, "status": "ok", "detail": "", "run": "r", **changes}).to_json()


def test_a_record_is_on_disk_before_the_next_one_comes(tmp_path):
    path = tmp_path / "out.jsonl"
    with Journal(path) as journal:
        journal.append(line(b"a"))
        assert [record["path"] for record in read_journal(path)] == ["a"]
        journal.append(line(b"b"))
        assert [record["path"] for record in read_journal(path)] == ["a", "b"]


def test_a_torn_last_line_is_dropped_and_the_rest_stands(tmp_path):
    path = tmp_path / "out.jsonl"
    whole = json.dumps(line(b"a")) + "\n"
    path.write_text(whole + whole[:37])
    assert [record["path"] for record in read_journal(path)] == ["a"]


@pytest.mark.parametrize("middle", ["{broken", '{"schema": 99, "path": "x", "status": "ok"}', "[]", '"text"'])
def test_a_wrong_line_in_the_middle_is_no_journal(tmp_path, middle):
    path = tmp_path / "out.jsonl"
    path.write_text(f"{json.dumps(line(b'a'))}\n{middle}\n{json.dumps(line(b'b'))}\n")
    with pytest.raises(ContractError, match="line 2"):
        read_journal(path)


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("my thesis, without a newline")
    with pytest.raises(ContractError, match="not a journal"):
        read_journal(path)


def test_kept_records_come_first_and_replace_the_file_whole(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("what was here before\n")
    with Journal(path, [line(b"kept")]) as journal:
        journal.append(line(b"new"))
    assert [record["path"] for record in read_journal(path)] == ["kept", "new"]
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_two_runs_do_not_write_one_journal(tmp_path):
    path = tmp_path / "out.jsonl"
    with Journal(path) as journal:
        journal.append(line(b"a"))
        with pytest.raises(ContractError, match="another run"):
            Journal(path, [])
        journal.append(line(b"b"))
    assert len(read_journal(path)) == 2


def test_a_folder_that_is_not_there_is_the_users_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        Journal(tmp_path / "nowhere" / "out.jsonl")
