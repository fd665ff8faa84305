"""Test that the journal survives crashes and has only one writer."""

import contextlib
import json

import pytest

from deepscan.errors import ContractError, DeepscanError, UsageError
from deepscan.files import atomic_write, exclusive_lock
from deepscan.scanning.journal import Journal, entries, lines, read_journal
from deepscan.scanning.record_lines import RecordLine


def line(path: bytes, **changes):
    return RecordLine(**{"path": path, "status": "ok", "detail": "", "run": "r", **changes}).to_json()


def paths(journal):
    return [record["path"] for _, _, record in read_journal(journal)]


def test_a_record_is_on_disk_before_the_next_one_is_written(tmp_path):
    path = tmp_path / "out.jsonl"
    with Journal(path) as journal:
        journal.append(line(b"a"))
        assert paths(path) == ["a"]
        journal.append(line(b"b"))
        assert paths(path) == ["a", "b"]


def test_an_incomplete_last_line_is_dropped_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "out.jsonl"
    whole = json.dumps(line(b"a")) + "\n"
    path.write_text(whole + whole[:37])
    assert paths(path) == ["a"]


@pytest.mark.parametrize("middle", ["{broken", '{"schema": 99, "path": "x", "status": "ok"}', "[]", '"text"'])
def test_a_wrong_line_in_the_middle_is_refused(tmp_path, middle):
    path = tmp_path / "out.jsonl"
    path.write_text(f"{json.dumps(line(b'a'))}\n{middle}\n{json.dumps(line(b'b'))}\n")
    with pytest.raises(ContractError, match="line 2"):
        paths(path)


@pytest.mark.parametrize("content", ["my thesis, without a newline", "a,b\n1,2\n"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "out.jsonl"
    path.write_text(content)
    with pytest.raises(ContractError, match="not a record"):
        paths(path)


def test_selected_lines_of_the_file_replace_it_atomically(tmp_path):
    path = tmp_path / "out.jsonl"
    with Journal(path) as journal:
        for name in (b"a", b"b", b"c"):
            journal.append(line(name))
    chosen = [entry for entry in entries(path) if entry.path != b"b"]
    with Journal(path, lines(path, chosen)) as journal:
        journal.append(line(b"new"))
    assert paths(path) == ["a", "c", "new"]
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_an_entry_has_the_fields_used_to_resume(tmp_path):
    path = tmp_path / "out.jsonl"
    with Journal(path) as journal:
        journal.append(line(b"bad\xff", sha256="00", size=7, verdict="fake", score=0.9))
    (entry,) = entries(path)
    assert (entry.path, entry.status, entry.verdict) == (b"bad\xff", "ok", "fake")
    assert (entry.sha256, entry.size, entry.run) == ("00", 7, "r")
    assert (entry.offset, entry.length) == (0, path.stat().st_size)


def test_an_output_has_one_owner_at_a_time(tmp_path):
    path = tmp_path / "out.jsonl"
    with exclusive_lock(path), pytest.raises(ContractError, match="another run"), exclusive_lock(path):
        pass
    with exclusive_lock(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_left_behind_by_a_killed_run_does_not_block(tmp_path):
    (tmp_path / ".out.jsonl.lock").touch()
    with exclusive_lock(tmp_path / "out.jsonl"):
        pass


def test_a_missing_folder_is_a_usage_error(tmp_path):
    with (
        pytest.raises(UsageError, match="cannot be written"),
        exclusive_lock(tmp_path / "nowhere" / "out.jsonl"),
    ):
        pass


def test_a_failed_replacement_leaves_the_file_unchanged(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("before")
    with pytest.raises(DeepscanError, match="No space"), atomic_write(path) as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]


def test_a_full_disk_is_reported_as_such(tmp_path, monkeypatch):
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    monkeypatch.setattr("deepscan.scanning.journal.atomic_write", lambda path: contextlib.nullcontext())
    with pytest.raises(DeepscanError, match="No space") as caught, Journal(tmp_path / "out.jsonl") as journal:
        journal.append(line(b"a"))
    assert "--resume" in caught.value.hint
