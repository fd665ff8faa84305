"""Test sequences and sets of many paths against lists and sets."""

import tracemalloc

import pytest

from deepscan.scanning import path_spool
from deepscan.scanning.path_spool import PathSet, PathSpool

PATHS = [b"", b"/a.mp4", b"/caf\xe9\n.mp4", b"/\xff", b"x" * 5000, *(b"/v/%d.mp4" % at for at in range(40))]


@pytest.mark.parametrize("memory", [1 << 20, 64])
def test_a_spool_is_a_sequence_in_memory_and_in_a_file(monkeypatch, memory):
    monkeypatch.setattr(path_spool, "MEMORY", memory)
    monkeypatch.setattr(path_spool, "BLOCK", 7)
    spool = PathSpool()
    assert (len(spool), list(spool), spool[:3]) == (0, [], [])
    for path in PATHS:
        spool.append(path)
    assert len(spool) == len(PATHS)
    assert list(spool) == PATHS
    for part in (slice(None), slice(2, 5), slice(-3, None), slice(9, 3), slice(None, None, -4)):
        assert spool[part] == PATHS[part]
    assert [spool[at] for at in (0, 4, -1)] == [PATHS[at] for at in (0, 4, -1)]
    with pytest.raises(IndexError):
        spool[len(PATHS)]
    assert PATHS[3] in spool and b"/absent" not in spool


def test_a_spool_may_grow_while_it_is_read():
    spool = PathSpool()
    spool.append(b"a")
    paths = iter(spool)
    assert next(paths) == b"a"
    spool.append(b"b")
    assert list(spool) == [b"a", b"b"]


def test_a_set_knows_recent_and_earlier_paths(monkeypatch):
    monkeypatch.setattr(path_spool, "RECENT", 10)
    known = PathSet()
    assert [known.add(path) for path in PATHS] == [True] * len(PATHS)
    assert [known.add(path) for path in PATHS] == [False] * len(PATHS)
    assert known.add(b"/v/40.mp4")


def test_digests_that_begin_or_end_with_zeros_are_told_apart(monkeypatch):
    class Zeros:
        def __init__(self, path, digest_size):
            self.path, self.size = path, digest_size

        def digest(self):
            return self.path.ljust(self.size, b"\0")

    monkeypatch.setattr(path_spool, "RECENT", 2)
    monkeypatch.setattr(path_spool.hashlib, "blake2b", Zeros)
    known = PathSet()
    paths = [b"", b"a", b"\0a", b"a\0a", b"b", b"\0\0a"]
    assert [known.add(path) for path in paths] == [True] * 6
    assert [known.add(path) for path in paths] == [False] * 6


def test_many_paths_take_little_memory(monkeypatch):
    monkeypatch.setattr(path_spool, "MEMORY", 1 << 16)
    monkeypatch.setattr(path_spool, "RECENT", 1000)
    spool, known = PathSpool(), PathSet()
    tracemalloc.start()
    try:
        for number in range(30_000):
            path = b"/storage/videos/of/a/platform/%010d.mp4" % number
            known.add(path)
            spool.append(path)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 30_000 < 40, "bytes for each path"
