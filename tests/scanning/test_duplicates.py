"""Test which videos are decoded when several have equal content, and what the others wait for."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deepscan.media.frames import DecodeReport
from deepscan.media.jobs import DecodeOptions, Ended, FrameReady, Hashed
from deepscan.media.pool import DecodePool
from deepscan.scanning import duplicates
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.originals import Originals, RecordSpool
from deepscan.scanning.pipeline import Pipeline
from deepscan.scanning.sources import ScanItem
from tests import awkward
from tests.media.conftest import STUB
from tests.scanning.test_pipeline import Finder, frames


class Hashing:
    """Stub of a pool: reads files, and asks as a decoding process does. `script` decides what happens when.

    Each name in `script` is a step of that file: it is hashed, then it has a frame, then it ends.
    """

    def __init__(self, script, statuses=None, slots=4):
        self.script, self.statuses, self.slots = list(script), statuses or {}, slots
        self.running, self.asking, self.decoded, self.asked = {}, {}, [], []

    @property
    def idle(self):
        return self.slots - len(self.running)

    def submit(self, job):
        assert self.idle
        self.running[os.path.basename(job.path).decode()] = [job, "hash"]
        if job.ask:
            self.asked.append(job.path)

    def answer(self, job, *, decode):
        name = os.path.basename(job.path).decode()
        if name not in self.asking:
            return
        del self.asking[name]
        if decode:
            self.running[name][1] = "frame"
        else:
            del self.running[name]

    def poll(self, timeout):
        for name in [*self.script, *self.running]:
            if name in self.running and name not in self.asking:
                if name in self.script:
                    self.script.remove(name)
                return [self.step(name, *self.running[name])]
        return []

    def step(self, name, job, stage):
        content = Path(os.fsdecode(job.opened)).read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if stage == "hash":
            self.running[name][1] = "frame"
            if job.ask:
                self.asking[name] = job
            return Hashed(job, sha256, len(content), 5, {"hash": 0.25})
        if stage == "frame":
            self.running[name][1] = "end"
            self.decoded.append(name)
            return FrameReady(job, frames(1)[0], lambda: None)
        del self.running[name]
        statuses = self.statuses.get(name, ["ok"])
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        detail = "" if status == "ok" else "why"
        return Ended(job, DecodeReport(status, detail, (), sha256, len(content), None, "stub", 1, 1, {}, 5))


@pytest.fixture
def scan(tmp_path):
    """Return a function: content of each file, and the stub of a pool -> records, by name."""

    def run(contents, pool, known=()):
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        items = [item(tmp_path / name, known) for name in contents]
        pipeline = Pipeline(ScanOptions(model="none"), pool, Finder(), [], "run", pytest.fail)
        return collected(pipeline, items)

    return run


def item(path, known=()):
    if path.name not in known:
        return ScanItem(os.fsencode(path))
    content = path.read_bytes()
    file, sha256 = os.fsencode(path), hashlib.sha256(content).hexdigest()
    return ScanItem(b"s3://b/" + path.name.encode(), file, sha256, len(content), f"e-{path.name}")


def collected(pipeline, items):
    with RecordSpool() as spool:
        originals = Originals(spool.read)
        found = {}
        for record in pipeline.scan(items, originals=originals):
            originals.add(record, spool.append(record.to_json()))
            assert os.path.basename(record.path).decode() not in found, "each has one record"
            found[os.path.basename(record.path).decode()] = record
        return found


def origins(records):
    return {
        name: record.copied_from and os.path.basename(record.copied_from).decode()
        for name, record in sorted(records.items())
    }


ABC = {"a": b"same", "b": b"same", "c": b"same"}
ORDERS = {
    "one after the other": ("a", "a", "a", "b", "c"),
    "hashed together, first first": ("a", "b", "c", "a", "a"),
    "the first is hashed last": ("c", "b", "a"),
    "one ends before another is hashed": ("a", "b", "a", "a", "c"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_equal_content_is_decoded_once(scan, order):
    pool = Hashing(ORDERS[order])
    records = scan(ABC, pool)
    assert pool.decoded == ["a"]
    assert origins(records) == {"a": None, "b": "a", "c": "a"}
    assert {record.status for record in records.values()} == {"ok"}
    first = records["a"].to_json()
    for name in "bc":
        copy = records[name].to_json()
        own = {"path", "copied_from", "mtime_ns", "started", "seconds"}
        assert {key: copy[key] for key in copy.keys() - own} == {
            key: first[key] for key in first.keys() - own
        }
        assert copy["mtime_ns"] == 5
        assert copy["seconds"].keys() == {"hash", "total"} and copy["seconds"]["hash"] == 0.25
        assert copy["started"] <= first["started"] or copy["seconds"]["total"] < 5


def test_files_of_other_sizes_are_not_asked_and_equal_sizes_are_told_apart(scan):
    pool = Hashing([])
    records = scan({"a": b"one", "b": b"three", "c": b"two", "d": b"two"}, pool)
    assert [os.path.basename(path) for path in pool.asked] == [b"c", b"d"]
    assert origins(records) == {"a": None, "b": None, "c": None, "d": "c"}
    assert sorted(pool.decoded) == ["a", "b", "c"]


@pytest.mark.parametrize("status", ["timeout", "error", "changed"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_file_whose_equal_one_failed_by_chance_is_scanned_itself(scan, status, order):
    pool = Hashing(ORDERS[order], {"a": [status]})
    records = scan(ABC, pool)
    assert records["a"].status == status
    assert (records["b"].status, records["c"].status) == ("ok", "ok")
    # Whether one of the two is a copy of the other depends on the order.
    assert "a" not in origins(records).values()


@pytest.mark.parametrize("status", ["timeout", "error", "changed"])
def test_files_that_all_fail_all_get_their_own_record(scan, status):
    pool = Hashing((), {name: [status] for name in "abc"})
    records = scan(ABC, pool)
    assert {name: record.status for name, record in records.items()} == dict.fromkeys("abc", status)
    assert sorted(pool.decoded) == ["a", "b", "c"]
    assert origins(records) == {"a": None, "b": None, "c": None}


@pytest.mark.parametrize("status", ["decode_error", "unsupported", "too_short"])
def test_a_failure_that_the_content_explains_is_copied(scan, status):
    pool = Hashing((), {"a": [status]})
    records = scan(ABC, pool)
    assert pool.decoded == ["a"]
    assert {record.status for record in records.values()} == {status}
    assert {record.detail for record in records.values()} == {"why"}


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_more_duplicates_than_decoders_end(scan, slots):
    contents = {f"{number:02}": b"%d" % (number % 3) for number in range(30)}
    pool = Hashing((), slots=slots)
    records = scan(contents, pool)
    assert len(records) == 30 and len(pool.decoded) == 3


@pytest.mark.parametrize("slots", [1, 2])
def test_more_failing_duplicates_than_decoders_end(scan, slots):
    contents = {f"{number:02}": b"same" for number in range(12)}
    pool = Hashing((), {f"{number:02}": ["timeout"] for number in range(12)}, slots)
    assert len(scan(contents, pool)) == 12
    assert len(pool.decoded) == 12


def test_while_many_wait_no_other_video_is_begun(scan, monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_WAITING", 2)
    begun = []

    class Counting(Hashing):
        def submit(self, job):
            begun.append(os.path.basename(job.path).decode())
            super().submit(job)

        def poll(self, timeout):
            # The first takes long: it goes on when nothing else can.
            others = [name for name in self.running if name != "a" and name not in self.asking]
            if "a" in self.running and self.running["a"][1] == "end" and others:
                return [self.step(others[0], *self.running[others[0]])]
            if "a" in self.running and self.running["a"][1] == "end":
                assert begun == ["a", "b", "c"], "two wait, and no other is begun"
            return super().poll(timeout)

    pool = Counting((), slots=2)
    records = scan(dict.fromkeys("abcdef", b"same"), pool)
    assert len(records) == 6 and pool.decoded == ["a"]


def test_objects_whose_hash_is_known_are_not_opened(scan):
    pool = Hashing(("a", "a", "a"))
    submitted = []
    submit = pool.submit
    pool.submit = lambda job: (submitted.append(job), submit(job))
    records = scan(ABC, pool, known="abc")
    assert [(job.path, job.sha256) for job in submitted] == [
        (b"s3://b/a", hashlib.sha256(b"same").hexdigest())
    ]
    assert origins(records) == {"a": None, "b": "a", "c": "a"}
    assert (records["b"].etag, records["b"].mtime_ns, records["b"].path) == ("e-b", None, b"s3://b/b")


def test_an_object_and_a_file_of_equal_content_are_decoded_once(scan):
    for known in ("a", "b"):
        pool = Hashing(())
        assert origins(scan({"a": b"same", "b": b"same"}, pool, known)) == {"a": None, "b": "a"}
        assert pool.decoded == ["a"]


def test_a_hash_that_a_list_claims_for_a_file_is_not_relied_on(tmp_path):
    for name, content in (("a", b"one"), ("b", b"two")):
        (tmp_path / name).write_bytes(content)
    claimed = hashlib.sha256(b"one").hexdigest()
    items = [replace(item(tmp_path / name), sha256=claimed) for name in "ab"]
    pool = Hashing(())
    records = collected(Pipeline(ScanOptions(model="none"), pool, Finder(), [], "run", pytest.fail), items)
    assert origins(records) == {"a": None, "b": None}
    assert records["b"].sha256 == hashlib.sha256(b"two").hexdigest()


def test_copies_in_memory_are_released_and_few_of_them_wait(tmp_path):
    for number in range(8):
        (tmp_path / str(number)).write_bytes(b"same")
    released, taken = [], []

    def items():
        for number in range(8):
            taken.append(number)
            one = item(tmp_path / str(number), {str(number)})
            yield replace(one, release=lambda number=number: released.append(number))

    class Slow(Hashing):
        def poll(self, timeout):
            assert len(taken) - len(released) <= 1 + duplicates.MOST_COPIES_WAITING
            return super().poll(timeout)

    pipeline = Pipeline(ScanOptions(model="none"), Slow(()), Finder(), [], "run", pytest.fail)
    assert len(collected(pipeline, items())) == 8
    assert sorted(released) == list(range(8))


def test_a_pipeline_scans_again_after_a_scan_was_given_up_while_decoders_asked(tmp_path):
    first = awkward.video(tmp_path / "0.mp4")
    paths = [Path(shutil.copy(first, tmp_path / f"{number}.mp4")) for number in range(1, 6)]
    items = [ScanItem(os.fsencode(path)) for path in (first, *paths)]
    with DecodePool(DecodeOptions(frames=2), 2) as pool:
        pipeline = Pipeline(ScanOptions(model="none", frames=2), pool, Finder(), [], "run", pytest.fail)
        scan = pipeline.scan(items, originals=Originals(lambda place: b""))
        next(scan)
        scan.close()
        assert len(collected(pipeline, items)) == 6


def test_a_file_whose_first_process_was_killed_is_still_copied(tmp_path, monkeypatch):
    # The stub is a module of the tests, which is importable from the current folder only.
    monkeypatch.chdir(Path(__file__).parents[2])
    first = awkward.video(tmp_path / "pyav-once@4.mp4")
    paths = [first, Path(shutil.copy(first, tmp_path / "second.mp4"))]
    with DecodePool(DecodeOptions(frames=8), 2, command=STUB) as pool:
        pipeline = Pipeline(ScanOptions(model="none", frames=8), pool, Finder(), [], "run", pytest.fail)
        records = collected(pipeline, [ScanItem(os.fsencode(path)) for path in paths])
    assert origins(records) == {"pyav-once@4.mp4": None, "second.mp4": "pyav-once@4.mp4"}
    assert os.path.exists(f"{first}.once")
