"""Manifests in CSV and Parquet, and the size of chunks."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepscan.errors import UsageError
from deepscan.scanning.chunks import ManifestRow
from deepscan.scanning.manifest import default_chunk, is_table, table_rows

DIGEST = "ab" * 32


def written(tmp_path, content):
    """Write a manifest: text or bytes for CSV, columns for Parquet."""
    if isinstance(content, dict):
        path = tmp_path / "videos.parquet"
        pq.write_table(pa.table(content), path)
    else:
        path = tmp_path / "videos.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(tmp_path, content):
    return list(table_rows(written(tmp_path, content), "/folder"))


def test_every_column_of_a_csv_is_read(tmp_path):
    text = (
        "label,path,size,more,etag,sha256,id\n"
        f'fake,/a/b.mp4,12,x,"""tag""",{DIGEST.upper()},first\n'
        ",clip.mp4,,,,,\n"
        "real,s3://bucket/key.mp4,0,,W/tag,,3\n"
        ',"file:///c/with%20space,comma.mp4",,,,,\n'
    )
    assert read(tmp_path, text) == [
        ManifestRow(b"/a/b.mp4", "first", "fake", 12, "tag", DIGEST),
        ManifestRow(b"/folder/clip.mp4"),
        ManifestRow(b"s3://bucket/key.mp4", "3", "real", 0, "W/tag"),
        ManifestRow(b"/c/with space,comma.mp4"),
    ]


def test_bytes_of_paths_that_are_not_utf_8_and_a_byte_order_mark_are_read(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbfuri,label\r\n/a/\xff.mp4,\xe9\r\n") == [
        ManifestRow(b"/a/\xff.mp4", label="�")
    ]


def test_every_column_of_a_parquet_file_is_read(tmp_path):
    columns = {
        "uri": [b"/a/\xff.mp4", b"s3://bucket/key.mp4"],
        "label": [1, None],
        "size": [12.0, float("nan")],
        "sha256": [None, DIGEST],
        "more": [[1], [2]],
    }
    assert read(tmp_path, columns) == [
        ManifestRow(b"/a/\xff.mp4", label="1", size=12),
        ManifestRow(b"s3://bucket/key.mp4", sha256=DIGEST),
    ]
    assert read(tmp_path, {"path": ["/ä.mp4"]}) == [ManifestRow("/ä.mp4".encode())]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("video,label\n/a,real\n", "no column path or uri; its columns are: video, label"),
        ("", "its columns are: none"),
        ({"video": ["/a"]}, "no column path or uri; its columns are: video"),
        ("path,path\n/a,/b\n", "two columns path"),
        ("path,label\n/a,real\n/b,fake\n/a,fake\n", r"names '/a' twice, in line 2 and line 4"),
        ("path\n/folder/a\na\n", r"names '/folder/a' twice, in line 2 and line 3"),
        ({"path": ["/a", "/b", "/b"]}, r"names '/b' twice, in row 2 and row 3"),
        ("path,size\n/a,12\n/b,many\n", r"line 3 of .*: its size is 'many', which is not a number of bytes"),
        ("path,size\n/a,-1\n", "its size is '-1'"),
        ({"path": ["/a"], "size": [1.5]}, r"row 1 of .*: its size is 1\.5"),
        ("path,sha256\n/a,12ab\n", "line 2 of .*: its sha256 is '12ab', not 64 hexadecimal digits"),
        ("path,label\n,real\n", "line 2 of .*: it has no path"),
        ({"path": ["/a", None]}, "row 2 of .*: it has no path"),
        ({"path": [7]}, "row 1 of .*: its path is 7, which is not text"),
        ("path\n/a\0b\n", "line 2 of .*: its path has a NUL byte"),
        ("path,label\n/a,b,real\n", "line 2 of .* has more fields than the header"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, content)


def test_a_file_of_another_kind_and_a_missing_one_are_refused(tmp_path):
    path = tmp_path / "videos.parquet"
    path.write_text("path\n/a\n")
    with pytest.raises(UsageError, match="is not a Parquet file"):
        list(table_rows(str(path)))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        list(table_rows(str(tmp_path / "other.csv")))


def test_rows_are_read_one_by_one(tmp_path):
    rows = table_rows(written(tmp_path, "path,size\n/a,1\n/b,wrong\n"))
    assert next(rows) == ManifestRow(b"/a", size=1)


def test_a_relative_path_is_relative_to_the_current_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = table_rows(written(tmp_path, "path\nclip.mp4\n"))
    assert next(rows).path == os.fsencode(tmp_path / "clip.mp4")


@pytest.mark.parametrize(("name", "table"), [("a.CSV", True), ("s3://b/a.parquet", True), ("a.txt", False)])
def test_manifests_are_known_by_their_suffix(name, table):
    assert is_table(name) is table


@pytest.mark.parametrize(
    ("rows", "shards", "size"), [(1, 1, 1), (8, 1, 1), (72, 3, 3), (2048, 1, 256), (10**7, 1000, 256)]
)
def test_few_rows_are_cut_into_small_chunks(rows, shards, size):
    assert default_chunk(rows, shards) == size
