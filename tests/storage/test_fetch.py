"""Fetching whole objects: what arrives, what goes wrong, and that nothing is left behind."""

import hashlib
import os
import threading
import time

import pytest

from deepscan.errors import UsageError
from deepscan.storage import address as addresses
from deepscan.storage.copies import CopySpace, require_scratch
from deepscan.storage.errors import ObjectError
from deepscan.storage.fetch import Fetcher
from deepscan.storage.listing import list_objects
from tests.storage.moto import CREDENTIALS
from tests.storage.web import Web, content, endless, redirect, s3_error, silent, status, truncated

pytest.importorskip("s3fs")
#: Seconds in which a test's transfer must end.
SOON = 30


@pytest.fixture
def web():
    with Web().running() as server:
        yield server


class Pauses:
    """Waits of a fetcher that take no time, on a clock that they advance."""

    def __init__(self):
        self.slept, self.began = [], time.monotonic()

    def clock(self):
        return time.monotonic() - self.began + sum(self.slept)

    async def sleep(self, seconds):
        self.slept.append(seconds)


def fetch(address, etag=None, *, space=None, pauses=None):
    pauses = pauses or Pauses()
    fetcher = Fetcher(space or CopySpace(), clock=pauses.clock, sleep=pauses.sleep)
    return fetcher.start(address, etag).result(SOON)


def failure(address, etag=None, **options):
    with pytest.raises(ObjectError) as raised:
        fetch(address, etag, **options)
    return raised.value


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def read(found):
    with open(found.copy.file, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "key", ["a.mp4", "a b#?%41&=+.mp4", "ünï/ code\u3042.mp4", "deep//er/./x", "v/?versionId=1"]
)
def test_an_object_arrives_whole_with_its_digest_and_etag(s3, key):
    body = os.urandom(3_000_000)
    s3.put(key, body)
    found = fetch(s3.address(key))
    assert read(found) == body
    assert found.sha256 == hashlib.sha256(body).hexdigest()
    assert (found.size, found.etag) == (len(body), hashlib.md5(body).hexdigest())
    assert found.copy.in_memory
    found.copy.close()


def test_a_copy_in_memory_cannot_be_altered(s3):
    found = fetch(s3.put("a", b"content"))
    with pytest.raises(OSError), open(found.copy.file, "r+b", buffering=0) as file:
        file.write(b"other")
    assert read(found) == b"content"
    found.copy.close()


def test_an_empty_object_arrives(s3):
    found = fetch(s3.put("a", b""))
    assert (found.size, read(found)) == (0, b"")
    found.copy.close()


def test_an_object_that_changed_since_it_was_listed_is_not_taken(s3):
    address = s3.put("a", b"first")
    etag = fetch(address).etag
    assert read(fetch(address, etag)) == b"first"
    s3.put("a", b"second")
    assert failure(address, etag).problem == "changed"


@pytest.mark.parametrize(("bucket", "problem"), [("", "missing"), ("no-", "no_bucket")])
def test_what_does_not_exist_is_named(s3, bucket, problem):
    assert failure(f"s3://{bucket}{s3.name}/none").problem == problem


@pytest.fixture
def fake_s3(web, monkeypatch, tmp_path):
    """A store whose answers are given."""
    for name, value in {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": web.url.rstrip("/"),
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    return web


@pytest.mark.parametrize(
    ("code", "number", "problem"),
    [
        ("AccessDenied", 403, "forbidden"),
        ("InvalidObjectState", 403, "forbidden"),
        ("ExpiredToken", 400, "credentials"),
        ("SignatureDoesNotMatch", 403, "credentials"),
        ("PreconditionFailed", 412, "changed"),
    ],
)
def test_a_refusal_of_a_store_is_not_tried_again(fake_s3, code, number, problem):
    fake_s3.put("b/k", s3_error(code, number))
    assert failure("s3://b/k").problem == problem
    assert fake_s3.asked["GET", "/b/k"] == 1


def test_without_credentials_the_store_is_not_asked(fake_s3, monkeypatch):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert failure("s3://b/k").problem == "credentials"


def test_a_storm_of_503_is_waited_out_with_growing_pauses(fake_s3):
    storm = [s3_error("SlowDown", 503)] * 3 + [status(503), s3_error("InternalError", 500)]
    fake_s3.put("b/k", *storm, content(b"content"))
    pauses = Pauses()
    assert read(fetch("s3://b/k", pauses=pauses)) == b"content"
    assert fake_s3.asked["GET", "/b/k"] == 6, "no library repeats requests as well"
    assert len(pauses.slept) == 5
    for number, pause in enumerate(pauses.slept):
        assert 0.125 * 2**number <= pause <= 0.25 * 2**number


def test_a_store_that_stays_busy_is_given_up(fake_s3):
    fake_s3.put("b/k", s3_error("SlowDown", 503))
    pauses = Pauses()
    assert failure("s3://b/k", pauses=pauses).problem == "busy"
    assert 110 < sum(pauses.slept) < 145


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_body_that_ends_early_is_fetched_again_from_its_beginning(fake_s3, scheme):
    address = fake_s3.put("b/k", truncated(b"x" * 100_000, 50_000), content(b"content"))
    before = descriptors()
    found = fetch("s3://b/k" if scheme == "s3" else address)
    assert (read(found), found.sha256) == (b"content", hashlib.sha256(b"content").hexdigest())
    found.copy.close()
    assert copies_left(before) == []


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_body_that_always_ends_early_is_given_up(fake_s3, scheme):
    address = fake_s3.put("b/k", truncated(b"x" * 1000, 500))
    assert failure("s3://b/k" if scheme == "s3" else address).problem == "truncated"
    assert fake_s3.asked["GET", "/b/k"] == 3


def copies_left(before):
    """Return the copies that are open and were not before."""
    links = []
    for descriptor in descriptors() - before:
        try:
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return [link for link in links if "memfd" in link or "deleted" in link]


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_server_that_does_not_answer_is_given_up(fake_s3, monkeypatch, scheme):
    monkeypatch.setattr(addresses, "READ_TIMEOUT", 0.3)
    monkeypatch.setattr(addresses, "_opened", addresses._opened.__wrapped__)
    address = fake_s3.put("b/k", silent(fake_s3))
    found = failure("s3://b/k" if scheme == "s3" else address)
    assert (found.problem, "does not answer" in found.detail) == ("unreachable", True)


def test_a_server_that_cannot_be_reached_is_named(monkeypatch, fake_s3):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert failure("s3://b/k").problem == "unreachable"
    assert failure("http://127.0.0.1:1/a.mp4").problem == "unreachable"


def test_a_server_that_sends_too_slowly_is_given_up(web, monkeypatch):
    address = web.put("a.mp4", endless(web, b"x", 0.05))
    pauses = Pauses()
    pauses.began -= 3600
    monkeypatch.setattr("deepscan.storage.fetch._PATIENCE", -3600.0)
    found = failure(address, pauses=pauses)
    assert (found.problem, "kB per second" in found.detail) == ("failed", True)


def test_a_file_of_a_web_server_arrives_as_it_is(web):
    found = fetch(web.put("a.mp4", content(b"content", ETag='"tag"')))
    assert (read(found), found.etag) == (b"content", "tag")
    assert web.headers["Accept-Encoding"] == "identity"
    assert fetch(web.url + "a.mp4", "tag").etag == "tag"
    assert web.headers["If-Match"] == '"tag"'


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("a.mp4?X-Signature=a%2Fb%2bc%3D&x=%7E", "/a.mp4?X-Signature=a%2Fb%2bc%3D&x=%7E"),
        ("a.mp4?name=a b", "/a.mp4?name=a+b"),
        ("a.mp4#t=10", "/a.mp4"),
        ("ü.mp4", "/%C3%BC.mp4"),
        ("100%.mp4", "/100%25.mp4"),
    ],
)
def test_a_web_address_is_sent_as_it_is_unless_it_must_be_encoded(web, address, sent):
    web.put(sent[1:].partition("?")[0], content(b"content"))
    assert read(fetch(web.url + address)) == b"content"
    assert web.target == sent


@pytest.mark.parametrize("tag", ['"other"', 'W/"other"'])
def test_a_web_server_that_ignores_the_condition_does_not_hide_a_change(web, tag):
    address = web.put("a.mp4", content(b"content", ETag=tag))
    assert failure(address, "tag").problem == "changed"


def test_a_weak_etag_is_compared_but_not_sent(web):
    address = web.put("a.mp4", content(b"content", ETag='W/"tag"'))
    assert fetch(address).etag == 'W/"tag"'
    assert fetch(address, 'W/"tag"').etag == 'W/"tag"'
    assert "If-Match" not in web.headers


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (status(404), "missing"),
        (status(410), "missing"),
        (status(403), "forbidden"),
        (status(401), "credentials"),
    ],
)
def test_a_refusal_of_a_web_server_is_named(web, answer, problem):
    assert failure(web.put("a.mp4", answer)).problem == problem


def test_a_redirect_is_followed_but_not_a_circle(web):
    target = web.put("new.mp4", content(b"content"))
    found = fetch(web.put("old.mp4", redirect(target)))
    assert (read(found), found.address) == (b"content", web.url + "old.mp4")
    circle = web.put("circle.mp4", redirect(web.url + "circle.mp4"))
    assert failure(circle).detail == "it redirects too often"


def test_a_web_server_is_given_up_sooner_than_a_store(web):
    address, pauses = web.put("a.mp4", status(503)), Pauses()
    assert failure(address, pauses=pauses).problem == "busy"
    assert sum(pauses.slept) < 60


def test_a_large_object_is_copied_into_a_nameless_file(s3, tmp_path):
    body = os.urandom(2_000_000)
    found = fetch(s3.put("a", body), space=CopySpace(tmp_path, in_memory=1_000_000))
    assert (found.copy.in_memory, read(found)) == (False, body)
    assert os.readlink(found.copy.file).startswith(str(tmp_path).encode())
    assert list(tmp_path.iterdir()) == [], "a killed process leaves nothing"
    found.copy.close()


def test_an_object_that_turns_out_to_be_large_moves_from_memory_to_a_file(web, tmp_path):
    body = os.urandom(3_000_000)

    def chunked(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True

    space = CopySpace(tmp_path, in_memory=1_000_000)
    found = fetch(web.put("a.mp4", chunked), space=space)
    assert (found.copy.in_memory, read(found)) == (False, body)
    assert found.sha256 == hashlib.sha256(body).hexdigest()
    found.copy.close()


def test_copies_in_memory_have_a_bound_together(s3, tmp_path):
    address = s3.put("a", b"x" * 600_000)
    space = CopySpace(tmp_path, all_in_memory=1_000_000)
    first, second = fetch(address, space=space), fetch(address, space=space)
    assert (first.copy.in_memory, second.copy.in_memory) == (True, False)
    first.copy.close()
    first.copy.close()
    third = fetch(address, space=space)
    assert third.copy.in_memory
    assert space._left == 400_000
    second.copy.close()
    third.copy.close()


def test_a_full_disk_fails_the_object_only(s3, tmp_path, monkeypatch):
    address = s3.put("a", b"x" * 600_000)

    def full(self, view):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deepscan.storage.copies._write_all", full)
    found = failure(address, space=CopySpace(tmp_path, in_memory=1000))
    assert (found.problem, "No space left on device" in found.detail) == ("no_space", True)
    assert str(tmp_path) not in found.detail, "no name of this machine"


def test_a_missing_scratch_folder_fails_before_the_scan(tmp_path):
    with pytest.raises(UsageError, match=r"--scratch .* is not a folder"):
        require_scratch(tmp_path / "none", "--scratch")
    require_scratch(tmp_path, "--scratch")


def test_a_transfer_that_is_cancelled_leaves_nothing(web):
    before, threads = descriptors(), threading.active_count()
    address = web.put("a.mp4", endless(web))
    pauses = Pauses()
    transfer = Fetcher(CopySpace(), clock=pauses.clock, sleep=pauses.sleep).start(address)
    wait_until(lambda: copies_left(before))
    transfer.cancel()
    wait_until(lambda: not copies_left(before))
    assert threading.active_count() <= threads + 3  # fsspec's, the server's, and one for names of hosts


def wait_until(condition):
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class OtherStore:
    """Google's and Azure's stores are read through fsspec alone; this is one in memory."""

    def __init__(self, monkeypatch):
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
        from fsspec.implementations.memory import MemoryFileSystem

        self.files = MemoryFileSystem()
        self.files.store.clear()
        self.opened = AsyncFileSystemWrapper(self.files)
        self.opened._strip_protocol = lambda address: address.partition("://")[2]
        self.during = lambda: None
        monkeypatch.setattr(self.opened, "_info", self._info)
        monkeypatch.setattr(self.opened, "_get_file", self._get_file)
        for module in ("fetch", "listing"):
            monkeypatch.setattr(f"deepscan.storage.{module}.filesystem", lambda address: self.opened)

    def put(self, path, body):
        self.files.pipe_file(f"/{path}", body)
        return f"gs://{path}"

    async def _info(self, path):
        body = self.files.cat_file(path)
        return {**self.files.info(path), "etag": hashlib.md5(body).hexdigest()}

    async def _get_file(self, path, target):
        with open(target, "wb") as file:
            file.write(self.files.cat_file(path))
        self.during()


@pytest.fixture
def other(monkeypatch):
    return OtherStore(monkeypatch)


def test_an_object_of_another_store_arrives_through_fsspec(other):
    body = os.urandom(100_000)
    found = fetch(other.put("b/v/a.mp4", body))
    assert (read(found), found.sha256) == (body, hashlib.sha256(body).hexdigest())
    assert (found.size, found.etag) == (len(body), hashlib.md5(body).hexdigest())
    found.copy.close()
    assert failure("gs://b/none").problem == "missing"


def test_an_object_of_another_store_must_not_change(other):
    address = other.put("b/a.mp4", b"first")
    assert failure(address, "other").problem == "changed"
    other.during = lambda: other.put("b/a.mp4", b"other")
    assert failure(address, hashlib.md5(b"first").hexdigest()).problem == "changed"


def test_the_objects_of_another_store_are_listed_folder_by_folder(other):
    for path in ("b/v/a.mp4", "b/v/deep/c.mp4", "b/other.mp4"):
        other.put(path, b"x")
    assert [info.address for info in list_objects("gs://b/v/")] == ["gs://b/v/a.mp4", "gs://b/v/deep/c.mp4"]
