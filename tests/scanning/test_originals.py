"""Test that records are found again by the content of their videos, in little memory."""

import hashlib
import json

import pytest

from deepscan.scanning import originals
from deepscan.scanning.journal import Journal
from deepscan.scanning.originals import DIGEST, DigestMap, Originals, RecordSpool, line_reader
from deepscan.scanning.record_lines import RecordLine


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def record(content=b"one", status="ok", **more):
    detail = "" if status == "ok" else "why"
    return RecordLine(b"/a.mp4", status, detail, "run", sha256=sha256(content), size=len(content), **more)


def test_each_of_many_digests_is_found_and_the_first_place_counts(monkeypatch):
    monkeypatch.setattr(originals, "RECENT", 7)
    # Digests that end in zeros, which NumPy drops.
    digests = [
        number.to_bytes(DIGEST, byteorder) for number in range(1, 40) for byteorder in ("big", "little")
    ]
    places = DigestMap()
    for place, digest in enumerate(digests):
        places.add(digest, place)
    for digest in digests:
        places.add(digest, 999)
    assert [places.find(digest) for digest in digests] == list(range(len(digests)))
    assert places.find(bytes(DIGEST)) is None and places.find(b"\xff" * DIGEST) is None
    assert len(places) == len(digests)


def test_a_digest_may_get_another_place(monkeypatch):
    monkeypatch.setattr(originals, "RECENT", 2)
    digests = [bytes([number]) * DIGEST for number in range(5)]
    places = DigestMap()
    for place, digest in enumerate([*digests, *reversed(digests)]):
        places.put(digest, place)
    assert [places.find(digest) for digest in digests] == [9, 8, 7, 6, 5]


def test_a_million_digests_take_24_bytes_each():
    places = DigestMap()
    for number in range(originals.RECENT * 2):
        places.add(hashlib.blake2b(number.to_bytes(8, "big"), digest_size=DIGEST).digest(), number)
    assert places._recent == {}
    assert (places._digests.nbytes + places._places.nbytes) / len(places) == 24


def test_a_size_that_was_seen_is_known_and_few_others_seem_to_be():
    found = Originals(lambda place: b"")
    assert not any(found.expect(size) for size in range(1000, 21000, 2))
    assert all(found.expect(size) for size in range(1000, 21000, 2))
    assert sum(found.expect(size) for size in range(1001, 21001, 2)) < 20


@pytest.mark.parametrize("kind", ["journal", "spool"])
def test_a_record_is_read_back_by_its_content(kind, tmp_path):
    first, second = record(b"one"), record(b"two", score=0.5)
    if kind == "journal":
        found, keep = Originals(line_reader(tmp_path / "a.jsonl")), Journal(tmp_path / "a.jsonl")
    else:
        keep = RecordSpool()
        found = Originals(keep.read)
    with keep:
        for each in (first, second):
            found.add(each, keep.append(each.to_json()))
        assert found.find(sha256(b"two")) == second.to_json()
        assert found.find(sha256(b"one")) == first.to_json()
        assert found.find(sha256(b"three")) is None


@pytest.mark.parametrize("status", ["ok", "no_face", "too_short", "unsupported", "decode_error"])
def test_a_result_of_the_content_counts_for_equal_files(status):
    found = Originals(lambda place: json.dumps(record(status=status).to_json()).encode())
    found.add(record(status=status), 0)
    assert found.find(sha256(b"one"))["status"] == status


@pytest.mark.parametrize("status", ["timeout", "changed", "error"])
def test_a_result_of_chance_does_not(status):
    found = Originals(lambda place: json.dumps(record(status=status).to_json()).encode())
    found.add(record(status=status), 0)
    assert found.find(sha256(b"one")) is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", json.dumps(record(b"two").to_json()).encode()])
def test_a_record_that_was_changed_during_the_scan_is_not_copied(line):
    found = Originals(lambda place: line)
    found.add(record(b"one"), 0)
    assert found.find(sha256(b"one")) is None


def test_a_spool_without_space_keeps_no_more_and_what_it_has(monkeypatch):
    with RecordSpool() as spool:
        kept = record().to_json()
        place = spool.append(kept)
        monkeypatch.setattr(originals, "SPOOL_MOST", spool._end)
        assert spool.append(record().to_json()) is None
        assert json.loads(spool.read(place)) == kept

        def full(content):
            raise OSError(28, "no space left")

        monkeypatch.setattr(originals, "SPOOL_MOST", 1 << 30)
        monkeypatch.setattr(spool._file, "write", full)
        assert spool.append(record().to_json()) is None
        assert json.loads(spool.read(place)) == kept
