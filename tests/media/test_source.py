"""Files are opened without harm, and changes noticed."""

import hashlib
import os
import socket

import pytest

from deepscan.media.frames import MediaError
from deepscan.media.source import Source


def refusal(path):
    with pytest.raises(MediaError) as caught:
        Source(os.fsencode(path))
    assert caught.value.status == "error"
    return caught.value.detail


def test_what_is_no_file_is_named_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        # Opening a pipe that nobody writes to would block here for ever.
        assert refusal(tmp_path / "fifo") == "it is a pipe, not a file"
        assert refusal(tmp_path / "socket") == "it is a socket, not a file"
    assert refusal(tmp_path) == "it is a folder, not a file"
    assert refusal("/dev/zero") == "it is a device, not a file"
    assert refusal(tmp_path / "absent") == "there is no such file"
    assert refusal(tmp_path / "absent" / "file") == "there is no such file"
    assert refusal(b"a\0b") == "a path cannot hold a NUL byte"


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(b"x")

    def deny(*_):
        raise PermissionError(13, "Permission denied")

    # Not by chmod: root, as whom tests run in containers, may read everything.
    monkeypatch.setattr(os, "open", deny)
    assert refusal(path) == "no permission to read it"


def test_digest_and_head(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 5000)
    with Source(os.fsencode(path)) as source:
        assert source.digest() == hashlib.sha256(b"abc" * 5000).hexdigest()
        assert source.size == 15000
        assert source.head(4) == b"abca"
        assert source.change(source.digest()) is None


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda path: path.open("ab").write(b"more"), "its size went from 3 to 7 bytes"),
        (lambda path: path.open("r+b").write(b"xyz"), "its content changed"),
        (lambda path: path.unlink(), "it was removed"),
        (
            lambda path: (path.with_suffix(".b").write_bytes(b"abc"), path.with_suffix(".b").replace(path)),
            "replaced",
        ),
    ],
)
def test_changes_are_noticed(tmp_path, act, words):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with Source(os.fsencode(path)) as source:
        digest = source.digest()
        act(path)
        assert words in source.change(digest)


def test_closing_twice_leaves_other_descriptors_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    source = Source(os.fsencode(path))
    source.close()
    other = os.open(path, os.O_RDONLY)
    source.close()
    assert os.read(other, 3) == b"abc"
    os.close(other)
