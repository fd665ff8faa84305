"""Stores: an object is written once, completely or not at all, whoever writes it."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from deepscan.errors import ContractError, DeepscanError, UsageError
from deepscan.storage import object_store as module
from deepscan.storage.local_store import LocalStore
from deepscan.storage.object_store import ObjectStore
from deepscan.storage.store import open_store, require_put_once

#: Writes objects as soon as a line arrives, and prints which of them it wrote.
WRITER = """
import json, sys
from deepscan.storage.store import open_store
location, mark, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
store = open_store(location)
store.exists("warm")
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([n for n in range(count) if store.put_once(f"parts/{n}", mark * 100_000)]))
"""
#: Dies after it has written an object, before the object has its name.
CRASH = """
import os, signal, sys
from deepscan.storage.store import open_store
os.link = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
open_store(sys.argv[1]).put_once("parts/a", b"half")
"""


class Ignoring(MemoryFileSystem):
    """A store that ignores the condition of a write."""

    def pipe_file(self, path, value, mode="overwrite", **options):
        super().pipe_file(path, value)


class Answer(OSError):
    """What a file system raises for an answer of S3 or Azure."""

    def __init__(self, code):
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Failing(MemoryFileSystem):
    """A store whose first writes fail; the object of the last failure is written all the same if `lost`."""

    def __init__(self, *failures, lost=False):
        super().__init__(global_store=False, skip_instance_cache=True)
        self.failures, self.lost = list(failures), lost

    def pipe_file(self, path, value, mode="overwrite", **options):
        if not self.failures:
            return super().pipe_file(path, value, mode)
        failure = self.failures.pop(0)
        if self.lost and not self.failures:
            super().pipe_file(path, value, mode)
        raise failure


def memory():
    files = MemoryFileSystem(global_store=False, skip_instance_cache=True)
    return ObjectStore("memory://run", files)


@pytest.fixture(params=["local", "file", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3").address("run/"))
    return {
        "local": lambda: open_store(str(tmp_path / "run")),
        "file": lambda: open_store(f"file://{tmp_path}/run/"),
        "memory": memory,
    }[request.param]()


def run(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
        **options,
    )


def test_an_object_is_written_once(store):
    require_put_once(store)
    assert not store.exists("parts/a")
    assert store.put_once("parts/a", b"first")
    assert not store.put_once("parts/a", b"second")
    assert store.read("parts/a") == b"first"
    assert store.exists("parts/a")


def test_names_are_those_of_one_folder(store):
    assert list(store.names("parts")) == []
    for name in ("parts/a", "parts/b", "parts-not/c", "run.json", "parts/below/d"):
        store.put_once(name, b"x")
    assert sorted(store.names("parts")) == ["a", "b"]
    assert sorted(store.names_below("parts")) == ["a", "b", "below/d"]
    assert list(store.names_below("attempts")) == []


def test_a_missing_object_cannot_be_read(store):
    with pytest.raises(FileNotFoundError):
        store.read("parts/a")
    store.delete("parts/a")


def test_a_deleted_object_can_be_written_again(store):
    store.put_once("attempts/a/1", b"first")
    store.delete("attempts/a/1")
    assert store.put_once("attempts/a/1", b"second")
    assert store.read("attempts/a/1") == b"second"


def test_the_probe_leaves_nothing(store):
    require_put_once(store)
    left = os.listdir(store.folder) if isinstance(store, LocalStore) else list(store.names(""))
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["local", "s3"])
def test_of_two_processes_exactly_one_writes_each_object(place, request, tmp_path):
    location = str(tmp_path / "run")
    if place == "s3":
        location = request.getfixturevalue("s3").address("run/")
    count = 60
    writers = [run(WRITER, location, mark, str(count)) for mark in "ab"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [set(json.loads(writer.communicate(timeout=120)[0])) for writer in writers]
    assert not won[0] & won[1]
    assert won[0] | won[1] == set(range(count))
    store = open_store(location)
    for name in range(count):
        assert store.read(f"parts/{name}") == (b"a" if name in won[0] else b"b") * 100_000
    assert sorted(map(int, store.names("parts"))) == list(range(count))


@pytest.mark.slow
def test_a_writer_killed_before_its_object_has_a_name_leaves_no_object(tmp_path):
    crashed = run(CRASH, str(tmp_path))
    crashed.communicate(timeout=60)
    assert crashed.returncode == -9
    store = LocalStore(tmp_path)
    assert len(os.listdir(tmp_path / "parts")) == 1
    assert list(store.names("parts")) == []
    assert store.put_once("parts/a", b"whole")
    store.remove_leftovers("parts")
    assert os.listdir(tmp_path / "parts") == ["a"]


def test_a_writer_whose_temporary_file_was_removed_has_lost(tmp_path, monkeypatch):
    store, link = LocalStore(tmp_path), os.link

    def link_late(*names):
        LocalStore(tmp_path).put_once("parts/a", b"first")
        store.remove_leftovers("parts")
        link(*names)

    def link_once(*names):
        monkeypatch.setattr(os, "link", link)
        link_late(*names)

    monkeypatch.setattr(os, "link", link_once)
    assert not store.put_once("parts/a", b"second")
    assert store.read("parts/a") == b"first"


def test_a_link_whose_reply_was_lost_counts_as_written(tmp_path, monkeypatch):
    link = os.link

    def linked(*names):
        link(*names)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", linked)
    assert LocalStore(tmp_path).put_once("parts/a", b"content")


def test_on_a_full_disk_nothing_is_written(tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = LocalStore(tmp_path)
    with pytest.raises(DeepscanError, match="cannot be written: No space left") as raised:
        store.put_once("parts/a", b"content")
    assert raised.value.exit_code == 1
    assert os.listdir(tmp_path / "parts") == []


def test_a_disk_without_hard_links_is_refused(tmp_path, monkeypatch):
    def refused(source, target):
        raise OSError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(ContractError, match="no hard links"):
        require_put_once(LocalStore(tmp_path))


@pytest.mark.parametrize(
    "files", [Ignoring(False, skip_instance_cache=True), LocalFileSystem()], ids=["ignores", "checks-first"]
)
def test_a_store_without_conditional_writes_is_refused(files, tmp_path):
    store = ObjectStore(f"{tmp_path}/run", files)
    with pytest.raises(ContractError, match="has no conditional writes") as raised:
        require_put_once(store)
    assert raised.value.exit_code == 4
    assert not files.exists(f"{tmp_path}/run") or files.find(f"{tmp_path}/run") == []


@pytest.mark.parametrize("lost", [False, True])
def test_a_busy_store_is_asked_again(lost):
    store = ObjectStore("memory://run", Failing(Answer("SlowDown"), Answer("503"), lost=lost))
    assert store.put_once("parts/a", b"content") is not lost
    assert store.read("parts/a") == b"content"


@pytest.mark.parametrize("failure", [Answer("412"), Answer("PreconditionFailed"), FileExistsError("a")])
def test_a_condition_that_fails_means_that_the_object_exists(failure):
    # Azure's file system raises it while it handles an answer with the status 409.
    failure.__context__ = Answer("409")
    assert not ObjectStore("memory://run", Failing(failure)).put_once("parts/a", b"content")


def test_a_store_that_refuses_conditions_is_refused():
    with pytest.raises(ContractError, match="has no conditional writes"):
        require_put_once(ObjectStore("memory://run", Failing(Answer("NotImplemented"))))


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (Answer("AccessDenied"), UsageError, "'memory://run/parts/a' cannot be written: no permission"),
        (Answer("ExpiredToken"), UsageError, "cannot be written: the credentials are not accepted"),
        (Answer("Odd"), DeepscanError, "cannot be written: Answer: Odd"),
    ],
)
def test_why_an_object_cannot_be_written(failure, error, message):
    with pytest.raises(error, match=message):
        ObjectStore("memory://run", Failing(failure)).put_once("parts/a", b"content")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("https://example.org/run/", "nothing can be written"),
        ("ftp://example.org/run/", "nothing can be written"),
        (__file__, "is not a folder"),
    ],
)
def test_where_nothing_can_be_written_is_refused(location, message):
    with pytest.raises(UsageError, match=message):
        open_store(location)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other", "parts/../../other"])
def test_names_stay_in_the_store(name, tmp_path):
    with pytest.raises(ValueError, match="is not the name of an object"):
        open_store(str(tmp_path)).put_once(name, b"")


def test_a_bucket_that_does_not_exist_ends_the_run(s3):
    store = open_store("s3://no-such-bucket-of-ours/run/")
    with pytest.raises(UsageError, match="bucket does not exist"):
        require_put_once(store)


def test_each_operation_takes_one_request(s3, s3_requests):
    store = open_store(s3.address("run/"))
    for operation, expected in (
        (lambda: store.put_once("parts/a", b"1"), {"put_object": 1}),
        (lambda: store.put_once("parts/a", b"2"), {"put_object": 1}),
        (lambda: store.read("parts/a"), {"get_object": 1}),
        (lambda: store.exists("parts/a"), {"head_object": 1}),
        (lambda: list(store.names("parts")), {"list_objects_v2": 1}),
        (lambda: list(store.names_below("parts")), {"list_objects_v2": 1}),
        (lambda: store.delete("parts/a"), {"delete_object": 1}),
    ):
        s3_requests.clear()
        operation()
        assert s3_requests == expected


def test_the_mark_of_a_folder_is_not_an_object(s3):
    s3.put("run/parts/", b"")
    s3.put("run/parts/a", b"")
    store = open_store(s3.address("run"))
    assert list(store.names("parts")) == list(store.names_below("parts")) == ["a"]


def test_more_names_than_a_page_are_all_listed(s3, s3_requests, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 7)
    for number in range(20):
        s3.put(f"run/parts/{number:02}", b"")
    found = list(open_store(s3.address("run/")).names("parts"))
    assert sorted(found) == [f"{number:02}" for number in range(20)]
    assert s3_requests == {"list_objects_v2": 3}
