"""Test which records of a run are kept when it is resumed."""

import hashlib
import os

import pytest

from deepscan.scanning import resume
from deepscan.scanning.journal import JournalEntry
from deepscan.scanning.resume import plan


def scanned(path, status="ok", content=None):
    content = path.read_bytes() if content is None else content
    return entry(path, status, hashlib.sha256(content).hexdigest(), len(content))


def entry(path, status="ok", sha256=None, size=None):
    return JournalEntry(0, 0, os.fsencode(path), status, None, sha256, size, "run")


@pytest.fixture
def videos(tmp_path):
    paths = [tmp_path / f"{name}.mp4" for name in "abc"]
    for path in paths:
        path.write_bytes(path.name.encode() * 10)
    return paths


def split(paths, records, **options):
    planned = plan([os.fsencode(path) for path in paths], records, **options)
    return [os.fsdecode(kept.path) for kept in planned.kept], [
        os.path.basename(path) for path in planned.todo
    ]


def test_recorded_videos_are_kept_and_the_rest_is_scanned(videos):
    kept, todo = split(videos, [scanned(videos[0])])
    assert kept == [str(videos[0])]
    assert todo == [b"b.mp4", b"c.mp4"]


def test_a_changed_file_is_scanned_again_even_at_the_same_size(videos):
    record = scanned(videos[0])
    videos[0].write_bytes(b"x" * record.size)
    assert split(videos, [record]) == ([], [b"a.mp4", b"b.mp4", b"c.mp4"])


def test_a_status_to_retry_is_scanned_again(videos):
    records = [scanned(videos[0], "timeout"), scanned(videos[1], "decode_error"), scanned(videos[2])]
    assert split(videos, records, retry={"timeout"}) == ([str(videos[1]), str(videos[2])], [b"a.mp4"])


def test_the_record_of_an_unreadable_file_is_kept_until_it_can_be_read(tmp_path):
    path = tmp_path / "late.mp4"
    record = entry(path, "error")
    assert split([path], [record]) == ([str(path)], [])
    path.write_bytes(b"here now")
    assert split([path], [record]) == ([], [b"late.mp4"])


def test_a_named_pipe_is_not_opened(tmp_path):
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    record = entry(path, "error")
    assert split([path], [record]) == ([str(path)], [])


def test_the_last_of_two_records_of_a_path_counts(videos):
    kept, todo = split(videos[:1], [scanned(videos[0], "timeout"), scanned(videos[0])])
    assert kept == [str(videos[0])]
    assert todo == []


def test_records_of_videos_that_are_not_named_are_kept(videos):
    kept, todo = split(videos[1:2], [scanned(videos[0])])
    assert kept == [str(videos[0])]
    assert todo == [b"b.mp4"]


def test_an_undecodable_name_is_found_again(tmp_path):
    path = os.fsencode(tmp_path) + b"/bad\xff.mp4"
    with open(path, "wb") as file:
        file.write(b"content")
    record = entry(path, "ok", hashlib.sha256(b"content").hexdigest(), 7)
    assert list(plan([path], [record]).todo) == []


def test_many_videos_are_planned_in_their_order_and_each_once(monkeypatch, tmp_path):
    monkeypatch.setattr(resume, "_CHECKED_AHEAD", 1)
    monkeypatch.setattr(resume, "usable_cpus", lambda: 1)
    paths = [tmp_path / f"{number:03}.mp4" for number in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
    records = [scanned(path) for path in paths[::2]]
    for path in paths[::6]:
        path.write_bytes(b"changed")
    kept, todo = split([*paths, *paths[:5]], records)
    left = [path for at, path in enumerate(paths) if at % 2 or at % 6 == 0]
    assert kept == [str(path) for path in paths if path not in left]
    assert todo == [os.fsencode(path.name) for path in left]
