"""Test which records of a run are kept when it is resumed."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from deepscan.errors import UsageError
from deepscan.scanning import resume
from deepscan.scanning.journal import JournalEntry
from deepscan.scanning.recorded import RecordedEntries
from deepscan.scanning.resume import plan
from deepscan.storage.errors import ObjectError


def scanned(path, status="ok", content=None):
    content = path.read_bytes() if content is None else content
    return entry(path, status, hashlib.sha256(content).hexdigest(), len(content))


def entry(path, status="ok", sha256=None, size=None, **more):
    return JournalEntry(0, 0, os.fsencode(path), status, None, sha256, size, "run", **more)


#: A time of modification, and when a scan began at least that much later, in seconds since 1970.
MODIFIED, LATER = 1_700_000_000, 3


def timed(path, after=LATER, **more):
    """Give a file a time of modification; return a record that has it, of a scan that began later."""
    os.utime(path, ns=(0, MODIFIED * 10**9 + 7))
    started = datetime.fromtimestamp(MODIFIED + after, UTC).isoformat()
    return replace(scanned(path, **more), mtime_ns=MODIFIED * 10**9 + 7, started=started)


@pytest.fixture
def videos(tmp_path):
    paths = [tmp_path / f"{name}.mp4" for name in "abc"]
    for path in paths:
        path.write_bytes(path.name.encode() * 10)
    return paths


def split(paths, records, **options):
    planned = plan([os.fsencode(path) for path in paths], RecordedEntries(records), **options)
    assert (
        len(planned.kept)
        == len(list(planned.kept))
        == len([planned.kept[at] for at in range(len(planned.kept))])
    )
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


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were hashed."""
    names = []

    def unchanged(path, record):
        names.append(os.path.basename(path))
        return real(path, record)

    real = resume._unchanged
    monkeypatch.setattr(resume, "_unchanged", unchanged)
    return names


def test_a_file_with_the_recorded_size_and_time_is_kept_without_reading_it(videos, hashed):
    records = [timed(path) for path in videos]
    # Its content no longer has the recorded hash, which shows that it is not read.
    videos[0].write_bytes(b"x" * records[0].size)
    os.utime(videos[0], ns=(0, records[0].mtime_ns))
    assert split(videos, records) == ([str(path) for path in videos], [])
    assert hashed == []


def test_with_another_time_the_hash_decides(videos, hashed):
    records = [timed(path) for path in videos]
    for path in videos[:2]:
        os.utime(path, ns=(0, MODIFIED * 10**9 + 8))
    videos[1].write_bytes(b"x" * records[1].size)
    assert split(videos, records) == ([str(videos[0]), str(videos[2])], [b"b.mp4"])
    assert sorted(hashed) == [b"a.mp4", b"b.mp4"]


def test_with_another_size_the_time_proves_nothing(videos):
    record = timed(videos[0])
    videos[0].write_bytes(b"x" * (record.size + 1))
    os.utime(videos[0], ns=(0, record.mtime_ns))
    assert split(videos[:1], [record]) == ([], [b"a.mp4"])


def test_all_files_are_hashed_on_request(videos, hashed):
    records = [timed(path) for path in videos]
    videos[0].write_bytes(b"x" * records[0].size)
    os.utime(videos[0], ns=(0, records[0].mtime_ns))
    kept, todo = split(videos, records, verify_inputs=True)
    assert (kept, todo) == ([str(videos[1]), str(videos[2])], [b"a.mp4"])
    assert len(hashed) == 3


@pytest.mark.parametrize(
    "record",
    [
        lambda path: timed(path, after=1),
        lambda path: timed(path, status="changed"),
        lambda path: replace(timed(path), mtime_ns=None),
        lambda path: replace(timed(path), started=""),
    ],
    ids=["modified just before", "changed", "earlier version", "start unknown"],
)
def test_a_time_that_proves_nothing_is_not_relied_on(videos, hashed, record):
    split(videos[:1], [record(videos[0])])
    assert hashed == [b"a.mp4"]


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
    assert list(plan([path], RecordedEntries([record])).todo) == []


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


@pytest.fixture
def objects(s3):
    """Addresses of three objects, and the ETag of each."""
    addresses = [s3.put(f"{name}.mp4", name.encode()) for name in "abc"]
    return {address: hashlib.md5(address[-5:-4].encode()).hexdigest() for address in addresses}


@pytest.fixture
def asked(monkeypatch):
    """The addresses that a store was asked for."""
    addresses = []

    def info(address):
        addresses.append(address)
        return real(address)

    real = resume.object_info
    monkeypatch.setattr(resume, "object_info", info)
    return addresses


def of_object(address, etag, content, status="ok"):
    return entry(address, status, hashlib.sha256(content).hexdigest(), 1, etag=etag)


def test_an_object_with_the_recorded_etag_is_kept_without_asking_for_it(objects, asked):
    records = [of_object(address, etag, b"?") for address, etag in objects.items()]
    listed = [etag.encode() for etag in objects.values()]
    assert split(objects, records, etags=listed) == (list(objects), [])
    assert split(objects, records, etags=[b"other", *listed[1:]]) == (list(objects)[1:], [b"a.mp4"])
    assert asked == [], "the listing has all ETags"


def test_an_object_that_was_not_listed_is_asked_for_its_etag(s3, objects, asked):
    records = [of_object(address, etag, b"?") for address, etag in objects.items()]
    assert split(objects, records) == (list(objects), [])
    assert sorted(asked) == list(objects)
    s3.put("b.mp4", b"other")
    s3.delete("c.mp4")
    kept, todo = split(objects, records)
    assert (kept, todo) == ([next(iter(objects))], [b"b.mp4", b"c.mp4"])


def test_objects_are_never_read_unless_their_content_must_be_verified(objects, monkeypatch):
    contents = dict(zip(objects, (b"a", b"b", b"?"), strict=True))
    records = [of_object(address, objects[address], content) for address, content in contents.items()]
    with monkeypatch.context() as patched:
        patched.delattr(resume, "fetch_object")
        split(objects, records)
    assert split(objects, records, verify_inputs=True) == (list(objects)[:2], [b"c.mp4"])


def test_the_record_of_an_object_that_could_not_be_read_is_kept_until_it_can(s3):
    here, gone = s3.put("here.mp4", b"x"), s3.address("gone.mp4")
    records = [entry(here, "error"), entry(gone, "error")]
    assert split([here, gone], records) == ([gone], [b"here.mp4"])


def test_an_object_that_changed_during_its_scan_is_scanned_again(objects):
    address, etag = next(iter(objects.items()))
    record = of_object(address, etag, b"a", status="changed")
    assert split([address], [record], etags=[etag.encode()]) == ([], [b"a.mp4"])


def test_etags_of_the_objects_that_are_left_are_kept_for_their_transfer(objects, tmp_path):
    local = tmp_path / "a.mp4"
    local.write_bytes(b"x")
    paths = [os.fsencode(local), *map(os.fsencode, objects)]
    planned = plan(paths, RecordedEntries([]), etags=[b"", *(etag.encode() for etag in objects.values())])
    assert [item.etag for item in planned.items()] == [None, *objects.values()]


def test_a_store_that_cannot_be_read_ends_the_plan(monkeypatch):
    def info(address):
        raise ObjectError("credentials", "the credentials are not accepted")

    monkeypatch.setattr(resume, "object_info", info)
    with pytest.raises(UsageError, match="credentials are not accepted"):
        split(["s3://b/a.mp4"], [of_object("s3://b/a.mp4", "x", b"a")])
