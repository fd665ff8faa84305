"""Test which files a command line names."""

import io
import os

import pytest

from deepscan.errors import UsageError
from deepscan.scanning import paths
from deepscan.scanning.paths import collect


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


ADDRESSES = [
    ("https://example.org/a/clip.mp4", "curl"),
    ("HTTP://example.org/clip.mp4", "curl"),
    ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "yt-dlp"),
    ("youtu.be/dQw4w9WgXcQ", "yt-dlp"),
    ("www.youtube.com/watch?v=dQw4w9WgXcQ", "yt-dlp"),
    ("s3://bucket/clip.mp4", "aws s3 cp"),
    ("gs://bucket/clip.mp4", "gcloud storage cp"),
    ("az://container/clip.mp4", "azcopy"),
    ("file:///videos/clip.mp4", "only the path"),
]


@pytest.mark.parametrize(("address", "remedy"), ADDRESSES)
def test_an_address_must_be_downloaded_first(address, remedy):
    with pytest.raises(UsageError, match="cannot be scanned") as refused:
        collect([address])
    assert remedy in refused.value.hint
    with pytest.raises(UsageError, match="path 2 of the list"):
        collect([], [io.BytesIO(f"nowhere.mp4\n{address}\n".encode())])


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
