"""Addresses of objects, and the file systems behind them."""

import sys

import pytest

from deepscan.errors import MissingError, UsageError
from deepscan.storage.address import (
    filesystem,
    is_address,
    join,
    local_path,
    require_readable_scheme,
    scheme_of,
)


@pytest.mark.parametrize("name", ["s3://b/k", "GS://b/k", "https://a.org/x.mp4", "file:///a", "ftp://a/b"])
def test_an_address_is_not_a_path(name):
    assert is_address(name)


@pytest.mark.parametrize(
    "name", ["clip.mp4", "/a/b", "./s3://b/k", "C:/a", "C://a", "s3:/b/k", "a b://c", ""]
)
def test_a_path_is_not_an_address(name):
    assert not is_address(name)


def test_the_scheme_is_in_lower_case():
    assert scheme_of("S3://Bucket/Key") == "s3"
    with pytest.raises(ValueError, match="not an address"):
        scheme_of("clip.mp4")


def test_parts_are_joined_with_one_slash():
    assert join("s3://b/run/", "parts", "a.parquet") == join("s3://b/run", "/parts/", "a.parquet")
    assert join("s3://b/run/", "parts") == "s3://b/run/parts"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///videos/a%20b.mp4", "/videos/a b.mp4"),
        ("file://localhost/a", "/a"),
        ("file:///100%25.mp4", "/100%.mp4"),
        ("file:///a#b?c.mp4", "/a#b?c.mp4"),
    ],
)
def test_a_file_address_is_a_path(address, path):
    assert local_path(address) == path


def test_a_file_on_another_machine_is_refused():
    with pytest.raises(UsageError, match="names the machine 'nas'"):
        local_path("file://nas/a.mp4")


@pytest.mark.parametrize("address", ["ftp://a.org/b.mp4", "rtsp://camera/1"])
def test_an_unknown_scheme_is_refused(address):
    with pytest.raises(UsageError, match="unknown scheme"):
        require_readable_scheme(address)


@pytest.mark.parametrize("address", ["https://www.youtube.com/watch?v=1", "https://youtu.be/1"])
def test_a_page_of_a_player_is_refused(address):
    with pytest.raises(UsageError, match="page of a player") as refused:
        require_readable_scheme(address)
    assert "yt-dlp" in refused.value.hint


@pytest.mark.parametrize(
    ("address", "missing", "hint"),
    [
        ("s3://b/k", "fsspec", "deepscan-forensics[store]"),
        ("s3://b/k", "s3fs", "deepscan-forensics[store]"),
        ("gs://b/k", "gcsfs", " gcsfs"),
        ("az://b/k", "adlfs", " adlfs"),
    ],
)
def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch, address, missing, hint):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingError, match=f"{address[:2]}.* needs the package '{missing}'") as raised:
        require_readable_scheme(address)
    assert hint in raised.value.hint


def test_objects_of_the_test_server_are_read(s3):
    address = s3.put("a/b c.bin", b"content")
    assert filesystem(address).cat_file(address) == b"content"
    assert filesystem(address) is filesystem(s3.address())
