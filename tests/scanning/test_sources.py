"""Objects are fetched a few ahead of the scan, in the order in which they arrive."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from deepscan.errors import MissingError, UsageError
from deepscan.scanning.path_spool import PathSpool
from deepscan.scanning.sources import ScanItem, append_item, fetched_items, is_object, listed_items
from deepscan.storage.errors import ObjectError


class Copy:
    """Stub of a copy that counts how often it is closed."""

    def __init__(self, name):
        self.file, self.closed = b"/copy/" + name, 0

    def close(self):
        self.closed += 1


class Fetcher:
    """Stub whose transfers end when the test says so."""

    def __init__(self):
        self.transfers, self.etags, self.most = {}, {}, 0

    def start(self, address, etag):
        self.transfers[address] = future = Future()
        self.etags[address] = etag
        self.most = max(self.most, sum(not each.done() for each in self.transfers.values()))
        return future

    def arrive(self, address, etag="tag"):
        copy = Copy(address.encode())
        found = SimpleNamespace(copy=copy, sha256="00", size=3, etag=etag, seconds=0.5)
        self.transfers[address].set_result(found)
        return copy

    def fail(self, address, problem, detail="words"):
        self.transfers[address].set_exception(ObjectError(problem, detail))


def objects(count):
    return [ScanItem(f"s3://b/{number}".encode()) for number in range(count)]


def test_files_are_yielded_as_they_are_without_a_fetcher():
    items = [
        ScanItem(b"/a"),
        ScanItem(b"/b", failure=("error", "gone")),
        ScanItem(b"s3://b/k", file=b"/copy"),
    ]
    assert list(fetched_items(items, 1)) == items


def test_an_object_is_yielded_with_its_copy_when_it_has_arrived():
    fetcher = Fetcher()
    source = fetched_items([ScanItem(b"s3://b/k", etag="listed")], 1, fetcher=fetcher)
    assert [next(source), next(source)] == [None, None]
    assert fetcher.etags == {"s3://b/k": "listed"}
    copy = fetcher.arrive("s3://b/k")
    item = next(source)
    assert (item.path, item.file, item.sha256, item.size, item.etag, item.seconds) == (
        b"s3://b/k",
        copy.file,
        "00",
        3,
        "tag",
        {"fetch": 0.5},
    )
    item.release()
    assert copy.closed == 1
    assert list(source) == []


def test_objects_come_in_the_order_of_arrival_and_files_do_not_wait_for_them():
    fetcher = Fetcher()
    source = fetched_items([*objects(2), ScanItem(b"/a")], 2, fetcher=fetcher)
    assert next(source).path == b"/a"
    fetcher.arrive("s3://b/1")
    assert next(source).path == b"s3://b/1"
    assert next(source) is None
    fetcher.arrive("s3://b/0")
    assert [item.path for item in source] == [b"s3://b/0"]


@pytest.mark.parametrize(("workers", "most"), [(1, 3), (4, 6), (1000, 32)])
def test_only_a_few_objects_are_under_way_however_many_there_are(workers, most):
    fetcher, taken = Fetcher(), []
    items = (taken.append(item) or item for item in objects(100))
    source = fetched_items(items, workers, fetcher=fetcher)
    assert next(source) is None
    assert len(taken) == fetcher.most == most
    fetcher.arrive("s3://b/0")
    assert next(source).path == b"s3://b/0"
    next(source)
    assert len(taken) == most + 1


def test_nothing_ready_in_the_source_is_passed_on():
    assert list(fetched_items(iter([None, None, ScanItem(b"/a")]), 1)) == [None, None, ScanItem(b"/a")]


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        ("missing", "error"),
        ("forbidden", "error"),
        ("busy", "error"),
        ("truncated", "error"),
        ("no_space", "error"),
        ("failed", "error"),
        ("changed", "changed"),
    ],
)
def test_an_object_that_cannot_be_fetched_fails_alone(problem, status):
    fetcher = Fetcher()
    source = fetched_items([*objects(1), ScanItem(b"/a")], 1, fetcher=fetcher)
    next(source)
    fetcher.fail("s3://b/0", problem)
    assert [item.failure for item in source] == [(status, "words")]


@pytest.mark.parametrize(
    ("problem", "error"),
    [("credentials", UsageError), ("no_bucket", UsageError), ("unreachable", MissingError)],
)
def test_a_problem_of_the_whole_store_ends_the_scan_and_all_transfers(problem, error):
    fetcher = Fetcher()
    source = fetched_items(objects(3), 1, fetcher=fetcher)
    next(source)
    fetcher.fail("s3://b/1", problem)
    with pytest.raises(error, match="'s3://b/1' cannot be read: words"):
        next(source)
    assert fetcher.transfers["s3://b/0"].cancelled()
    assert fetcher.transfers["s3://b/2"].cancelled()


def test_a_web_server_that_cannot_be_reached_does_not_end_the_scan():
    fetcher = Fetcher()
    source = fetched_items([ScanItem(b"https://example.org/a.mp4")], 1, fetcher=fetcher)
    next(source)
    fetcher.fail("https://example.org/a.mp4", "unreachable")
    assert next(source).failure == ("error", "words")


def test_a_scan_that_is_given_up_closes_what_has_arrived_and_cancels_the_rest():
    fetcher = Fetcher()
    source = fetched_items(objects(4), 2, fetcher=fetcher)
    next(source)
    copies = [fetcher.arrive(f"s3://b/{number}") for number in (0, 1)]
    assert next(source).path == b"s3://b/0"
    late = fetcher.arrive("s3://b/2")
    source.close()
    assert [copy.closed for copy in (*copies, late)] == [0, 1, 1], "the first is the scan's"
    assert fetcher.transfers["s3://b/3"].cancelled()


def test_only_addresses_are_objects():
    assert is_object(b"s3://b/k")
    assert not is_object(b"/videos/s3://b/k")
    assert not is_object(b"\xff\xfe.mp4")


def test_items_keep_their_etags_through_a_file():
    paths, etags = PathSpool(), PathSpool()
    items = [
        ScanItem(b"/a"),
        ScanItem(b"s3://b/k", etag="x"),
        ScanItem(b"/b"),
        ScanItem(b"s3://b/l", etag="y"),
    ]
    for item in [*items, ScanItem(b"/c")]:
        append_item(paths, etags, item)
    assert list(listed_items(paths, etags)) == [*items, ScanItem(b"/c")]
