"""Test that opening a file does no harm, and that changes are noticed."""

import hashlib
import itertools
import os
import socket
from types import SimpleNamespace

import pytest

from deepscan.media.frames import MediaError
from deepscan.media.source import SourceFile


def write(path, suffix, content):
    other = path.with_suffix(suffix)
    other.write_bytes(content)
    return other


def replace(path, content):
    write(path, ".new", content).replace(path)


def number_files(monkeypatch, numbers):
    """Number files and devices like some network file systems: new at each lookup, or all alike."""
    look = itertools.count(1000)

    def numbered(original):
        def stat(*arguments, **options):
            found = original(*arguments, **options)
            fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
            if numbers != "kept":
                fields |= {name: 1 if numbers == "one" else next(look) for name in ("st_ino", "st_dev")}
            return SimpleNamespace(**fields)

        return stat

    monkeypatch.setattr(os, "stat", numbered(os.stat))
    monkeypatch.setattr(os, "fstat", numbered(os.fstat))


def refusal(path):
    with pytest.raises(MediaError) as caught:
        SourceFile(os.fsencode(path))
    assert caught.value.status == "error"
    return caught.value.detail


def test_what_is_not_a_regular_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        # Opening a pipe without a writer would block forever.
        assert refusal(tmp_path / "fifo") == "it is a pipe, not a regular file"
        assert refusal(tmp_path / "socket") == "it is a socket, not a regular file"
    assert refusal(tmp_path) == "it is a folder, not a regular file"
    assert refusal("/dev/zero") == "it is a device, not a regular file"
    assert refusal(tmp_path / "absent") == "the file does not exist"
    assert refusal(tmp_path / "absent" / "file") == "the file does not exist"
    assert refusal(b"a\0b") == "a path cannot hold a NUL byte"


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(b"x")

    def deny(*_):
        raise PermissionError(13, "Permission denied")

    # Not with chmod: root, who often runs tests in containers, may read everything.
    monkeypatch.setattr(os, "open", deny)
    assert refusal(path) == "no permission to read it"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert refusal(tmp_path) == "no permission to read the folder"


def test_digest_and_head(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 5000)
    with SourceFile(os.fsencode(path)) as source:
        assert source.digest() == hashlib.sha256(b"abc" * 5000).hexdigest()
        assert source.size == 15000
        assert source.head(4) == b"abca"
        assert source.change(source.digest()) is None


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda path: path.open("ab").write(b"more"), "its size went from 3 to 7 bytes"),
        (lambda path: path.open("r+b").write(b"xyz"), "its content changed"),
        (lambda path: path.unlink(), "it was removed"),
        (lambda path: replace(path, b"xyz"), "it was replaced"),
        (lambda path: replace(path, b"abcd"), "it was replaced"),
        (lambda path: replace(path, b""), "it was replaced"),
        (lambda path: (path.unlink(), path.mkdir()), "it was replaced"),
        # Opening a pipe without a writer would block forever.
        (lambda path: (path.unlink(), os.mkfifo(path)), "it was replaced"),
        (lambda path: (path.unlink(), path.symlink_to(path.parent / "none")), "it was removed"),
        (lambda path: (path.unlink(), path.symlink_to(write(path, ".other", b"xyz"))), "it was replaced"),
        (lambda path: None, None),
        (lambda path: os.utime(path, (1, 1)), None),
        (lambda path: os.link(path, path.with_suffix(".link")), None),
        (lambda path: replace(path, b"abc"), None),
        (lambda path: (path.unlink(), path.symlink_to(write(path, ".copy", b"abc"))), None),
    ],
)
@pytest.mark.parametrize("numbers", ["kept", "moving", "one"])
def test_only_changes_of_the_content_are_noticed(tmp_path, act, message, numbers, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    number_files(monkeypatch, numbers)
    with SourceFile(os.fsencode(path)) as source:
        digest = source.digest()
        act(path)
        change = source.change(digest)
    assert change is None if message is None else message in change


def test_a_symbolic_link_may_change_its_target_to_a_copy(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(write(link, ".first", b"abc"))
    with SourceFile(os.fsencode(link)) as source:
        digest = source.digest()
        link.unlink()
        link.symlink_to(write(link, ".copy", b"abc"))
        assert source.change(digest) is None
        link.unlink()
        link.symlink_to(write(link, ".other", b"xyz"))
        assert source.change(digest) == "it was replaced by another file while it was read"


def test_a_replacement_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with SourceFile(os.fsencode(path)) as source:
        digest = source.digest()
        replace(path, b"abc")

        def fail(*_):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(os, "open", fail)
        with pytest.raises(MediaError) as caught:
            source.change(digest)
    assert (caught.value.status, caught.value.detail) == ("error", "cannot be read: Too many open files")


def test_closing_twice_leaves_other_descriptors_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    source = SourceFile(os.fsencode(path))
    source.close()
    other = os.open(path, os.O_RDONLY)
    source.close()
    assert os.read(other, 3) == b"abc"
    os.close(other)
