"""Test which files a command line names."""

import io
import os

import pytest

from deepscan.errors import UsageError
from deepscan.scanning import paths
from deepscan.scanning.paths import collect
from deepscan.scanning.sources import listed_items


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(inputs, root):
    return [os.path.relpath(path, os.fsencode(root)).decode() for path in inputs.paths]


def test_folders_give_known_suffixes_in_order_and_count_the_rest(tmp_path):
    touch(*(tmp_path / name for name in ("b.MP4", "a.mkv", "sub/c.gif", "x.txt", "README")))
    inputs = collect([str(tmp_path)])
    assert names(inputs, tmp_path) == ["a.mkv", "b.MP4", "sub/c.gif"]
    assert inputs.skipped == {".txt": 1, "no suffix": 1}


def test_a_named_file_is_scanned_whatever_its_suffix(tmp_path):
    touch(tmp_path / "evidence.bin")
    assert names(collect([str(tmp_path / "evidence.bin")]), tmp_path) == ["evidence.bin"]


def test_a_file_with_two_names_is_taken_once_but_a_copy_is_not(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / "copy.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    inputs = collect(
        [str(tmp_path / "a.mp4"), str(tmp_path), str(tmp_path / "." / ".." / tmp_path.name / "a.mp4")]
    )
    assert names(inputs, tmp_path) == ["a.mp4", "copy.mp4"]
    assert inputs.repeated == 3


def test_a_loop_of_folders_ends_and_a_loop_of_links_is_an_input(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "one.mp4").symlink_to("two.mp4")
    (tmp_path / "two.mp4").symlink_to("one.mp4")
    inputs = collect([str(tmp_path)])
    assert "a.mp4" in names(inputs, tmp_path)
    assert any(name in names(inputs, tmp_path) for name in ("one.mp4", "two.mp4"))
    assert inputs.skipped == {"linked folders": 1}, "skipped folders are counted"


def test_a_named_path_that_does_not_exist_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        collect([str(tmp_path / "nowhere")])


def test_a_missing_path_in_a_list_stays_an_input(tmp_path):
    missing = os.fsencode(tmp_path / "gone.mp4")
    assert list(collect([], [io.BytesIO(missing + b"\n")]).paths) == [missing]


@pytest.mark.parametrize(("null", "separator"), [(False, b"\n"), (False, b"\r\n"), (True, b"\0")])
def test_lists_are_split_at_lines_or_nul(null, separator):
    listed = separator.join([b"a b.mp4", b"'q'.mp4", b""])
    named = [os.path.basename(path) for path in collect([], [io.BytesIO(listed)], null=null).paths]
    assert named == [b"a b.mp4", b"'q'.mp4"]


def test_nul_separated_names_keep_newlines_and_undecodable_bytes():
    listed = b"new\nline.mp4\0bad\xff.mp4\0"
    named = [os.path.basename(path) for path in collect([], [io.BytesIO(listed)], null=True).paths]
    assert named == [b"new\nline.mp4", b"bad\xff.mp4"]


@pytest.mark.parametrize("part", [1, 3, 5, 100])
def test_a_nul_separated_list_may_be_cut_anywhere_while_it_is_read(monkeypatch, part):
    monkeypatch.setattr(paths, "_LIST_PART", part)
    listed = io.BytesIO(b"a.mp4\0\0bcdef.mp4\0g")
    named = [os.path.basename(path) for path in collect([], [listed], null=True).paths]
    assert named == [b"a.mp4", b"bcdef.mp4", b"g"]


def test_an_unannounced_nul_separated_list_is_refused():
    with pytest.raises(UsageError) as caught:
        collect([], [io.BytesIO(b"a.mp4\0b.mp4\0")])
    assert "--null" in caught.value.hint


def test_paths_are_absolute_so_that_a_run_can_be_resumed_from_anywhere(tmp_path, monkeypatch):
    touch(tmp_path / "v" / "a.mp4")
    monkeypatch.chdir(tmp_path / "v")
    assert list(collect(["."]).paths) == list(collect([str(tmp_path)]).paths)


def test_a_folder_in_a_list_is_walked(tmp_path):
    touch(tmp_path / "in" / "a.mp4")
    assert names(collect([], [io.BytesIO(os.fsencode(tmp_path / "in"))]), tmp_path) == ["in/a.mp4"]


REFUSED = [
    ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "yt-dlp"),
    ("youtu.be/dQw4w9WgXcQ", "yt-dlp"),
    ("www.youtube.com/watch?v=dQw4w9WgXcQ", "yt-dlp"),
    ("ftp://example.org/clip.mp4", "s3://"),
    ("s3:/bucket/clip.mp4", "'s3://bucket/clip.mp4'"),
    ("www.example.org/clip.mp4", "'https://www.example.org/clip.mp4'"),
    ("https://me:secret@example.org/clip.mp4", ".netrc"),
]


@pytest.mark.parametrize(("address", "remedy"), REFUSED)
def test_an_address_that_cannot_be_fetched_is_refused(address, remedy):
    with pytest.raises(UsageError) as refused:
        collect([address])
    assert remedy in refused.value.hint
    with pytest.raises(UsageError, match="path 2 of the list") as refused:
        collect([], [io.BytesIO(f"nowhere.mp4\n{address}\n".encode())])
    assert "secret" not in refused.value.message


def test_a_file_address_is_a_path(tmp_path):
    touch(tmp_path / "a b.mp4")
    address = f"file://{tmp_path}/a%20b.mp4"
    assert names(collect([address]), tmp_path) == ["a b.mp4"]
    assert names(collect([], [io.BytesIO(f"{address}\n".encode())]), tmp_path) == ["a b.mp4"]
    with pytest.raises(UsageError, match="does not exist"):
        collect([f"file://{tmp_path}/none.mp4"])


def test_web_addresses_are_taken_without_asking_their_server():
    inputs = collect(["https://example.org/a.mp4", "https://example.org/a.mp4", "http://example.org/a.mp4"])
    assert list(inputs.paths) == [b"https://example.org/a.mp4", b"http://example.org/a.mp4"]
    assert inputs.repeated == 1


def test_the_objects_below_a_prefix_are_taken_by_suffix_with_their_etags(s3):
    for key in ("v/a.mp4", "v/deep/b.MOV", "v/notes.txt", "v/folder/", "other.mp4"):
        s3.put(key, b"x")
    inputs = collect([s3.address("v/")])
    assert list(inputs.paths) == [s3.address("v/a.mp4").encode(), s3.address("v/deep/b.MOV").encode()]
    assert inputs.skipped == {".txt": 1}
    assert list(inputs.etags) == [b"9dd4e461268c8034f5c8564e155c67a6"] * 2


def test_a_bucket_is_a_prefix(s3):
    s3.put("a.mp4", b"x")
    assert list(collect([f"s3://{s3.name}"]).paths) == [s3.address("a.mp4").encode()]


def test_keys_that_differ_only_in_slashes_are_different_objects(s3):
    for key in ("v//a.mp4", "v/a.mp4", "v/./a.mp4"):
        s3.put(key, b"x")
    assert len(collect([s3.address("v/")]).paths) == 3


def test_etags_stay_with_their_objects_among_files(tmp_path, s3):
    touch(tmp_path / "local.mp4")
    s3.put("a.mp4", b"x")
    listed = f"{tmp_path}/local.mp4\n{s3.address('a.mp4')}\n{s3.address('')}\n".encode()
    s3.put("b.mp4", b"y")
    inputs = collect([], [io.BytesIO(listed)])
    items = list(listed_items(inputs.paths, inputs.etags))
    assert [(item.path.rpartition(b"/")[2], bool(item.etag)) for item in items] == [
        (b"local.mp4", False),
        (b"a.mp4", False),
        (b"b.mp4", True),
    ]


@pytest.mark.parametrize(
    ("key", "message", "hint"),
    [
        ("v/none.mp4", "does not exist", "check the address"),
        ("v", "does not exist", "/v/'"),
        ("none/", "no objects below", "check the prefix"),
    ],
)
def test_an_object_that_is_named_must_exist(s3, key, message, hint):
    s3.put("v/a.mp4", b"x")
    with pytest.raises(UsageError, match=message) as refused:
        collect([s3.address(key)])
    assert hint in refused.value.hint


@pytest.mark.parametrize("key", ["a.mp4", "v/"])
def test_a_bucket_that_does_not_exist_is_named(s3, key):
    with pytest.raises(UsageError, match="bucket does not exist"):
        collect([f"s3://no-{s3.name}/{key}"])


def test_an_object_in_a_list_need_not_exist(s3):
    assert len(collect([], [io.BytesIO(s3.address("none.mp4").encode())]).paths) == 1


@pytest.mark.parametrize("name", ["a:b/c.mp4", "www/clip.mp4", "no:colon.mp4", "12:30/clip.mp4"])
def test_a_name_that_only_looks_like_an_address_is_a_path(name):
    with pytest.raises(UsageError, match="does not exist"):
        collect([name])


def test_a_file_with_the_name_of_an_address_is_scanned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "s3:" / "clip.mp4")
    assert names(collect(["s3://clip.mp4"]), tmp_path) == ["s3:/clip.mp4"]


def test_paths_in_a_list_are_relative_to_the_given_folder(tmp_path):
    touch(tmp_path / "a.mp4")
    assert names(collect([], [io.BytesIO(b"a.mp4\n")], folder=str(tmp_path)), tmp_path) == ["a.mp4"]
