"""Test the pictures of a page: stored or from the videos, within the limit, never of other videos."""

import base64
import json
import shutil

import pytest

from deepscan.report.page import VideoSources, write_page
from deepscan.report.pictures import PagePicture, PictureRoom, VideoPictures
from deepscan.scanning.telling import MAX_FACES
from tests.command import deepscan
from tests.report.made import Page, journal, video
from tests.scanning.test_pictures import ODD, folder, out, records

__all__ = ["folder", "out"]


def jpegs(page, tag="image"):
    images = (attrs.get("href") or "" for attrs in page.all(tag))
    return [base64.b64decode(href.partition(",")[2]) for href in images if href.startswith("data:image/jpeg")]


def write(out, **more):
    """Return the page of some records, and the warnings about their pictures."""
    warnings = []
    write_page(out, out.with_suffix(".html"), most=9, warn=warnings.append, **more)
    return Page(out.with_suffix(".html")), warnings


def test_the_page_shows_each_picture_of_the_scan_once(out):
    page, warnings = write(out)
    kept = [path.read_bytes() for path in out.with_suffix(".pictures").iterdir()]
    assert sorted(jpegs(page)) == sorted(kept)
    assert warnings == []
    shown = [attrs["aria-label"] for attrs in page.all("svg") if "photo" in (attrs.get("class") or "")]
    tracks = sum(len(record["tracks"]) for record in records(out))
    for label, times in (("The whole frame", 1), ("The face as the model saw it", 1), ("Patches", 3)):
        assert sum(text.startswith(label) for text in shown) == times * MAX_FACES * tracks
    # A picture that is drawn twice is stored once.
    names = {attrs["id"] for attrs in page.all("image") if "id" in attrs}
    uses = {attrs["href"] for attrs in page.all("use")}
    assert uses
    assert uses <= {f"#{name}" for name in names}
    assert "--pictures" not in page.text


def test_the_box_is_where_the_record_has_the_face(out):
    page, _ = write(out)
    record = next(record for record in records(out) if "two_persons" in record["path"])
    boxes = [tuple(float(attrs[key]) for key in ("x", "y")) for attrs in page.all("rect", **{"class": "own"})]
    pictured = {
        (picture["index"], picture["track"]) for picture in record["pictures"] if picture["kind"] == "face"
    }
    for line in record["frames"]:
        if (line["index"], line["track"]) in pictured:
            assert tuple(line["box"][:2]) in boxes


def test_names_in_a_page_with_pictures_are_text(out):
    page, _ = write(out)
    assert not page.all("img")
    assert ODD in page.text
    assert len(page.all("script")) == 1


def test_a_changed_picture_is_not_shown(out):
    changed = records(out)[0]
    path = out.with_suffix(".pictures") / changed["pictures"][0]["file"]
    path.write_bytes(path.read_bytes() + b"\0")
    page, (warning,) = write(out)
    assert "was changed" in warning
    assert warning.partition(": ")[0] == changed["path"]
    assert path.read_bytes() not in jpegs(page)
    others = [picture for record in records(out)[1:] for picture in record["pictures"]]
    assert len(jpegs(page)) == len(others)
    assert "No pictures: picture" in page.words


def test_a_missing_folder_of_pictures_is_reported_once(out):
    shutil.rmtree(out.with_suffix(".pictures"))
    page, warnings = write(out)
    assert warnings == ["out.pictures, the folder of pictures, is not next to the records"]
    assert "No pictures:" not in page.words
    assert f"deepscan report {out} --pictures --overwrite" in page.words


def test_pictures_from_the_videos_are_those_a_scan_would_have_stored(folder, out):
    kept, _ = write(out)
    shutil.rmtree(out.with_suffix(".pictures"))
    bare = [{key: value for key, value in record.items() if key != "pictures"} for record in records(out)]
    out.write_text("".join(json.dumps(record) + "\n" for record in bare))
    page, warnings = write(out, sources=VideoSources())
    assert warnings == []
    assert len(jpegs(page)) == len(jpegs(kept))
    # Frames are identical; faces are cut by landmarks that the record has rounded.
    assert len(set(jpegs(page)) & set(jpegs(kept))) >= len(page.all("figure", **{"class": "whole"})) / 2
    moved, _ = write(out, sources=VideoSources(folder / "videos"))
    assert jpegs(moved) == jpegs(page)


def test_no_picture_is_taken_from_a_video_other_than_the_scanned_one(folder, out, tmp_path):
    (tmp_path / "moved").mkdir()
    for path in (folder / "videos").iterdir():
        shutil.copy(path, tmp_path / "moved")
    with (tmp_path / "moved" / ODD).open("ab") as file:
        file.write(b"\0")
    page, (warning,) = write(out, sources=VideoSources(tmp_path / "moved"))
    assert "not the one that was scanned" in warning
    assert warning.startswith(str(folder / "videos" / ODD))
    (article,) = (
        part for part in page.source.split("<article")[1:] if "swapped" in part or "&lt;img" in part
    )
    assert "not the one that was scanned" in article
    assert "image/jpeg" not in article
    assert jpegs(page), "the other video's pictures are shown"
    (tmp_path / "moved" / ODD).unlink()
    ran = deepscan("report", out, "--pictures", "--root", tmp_path / "moved", "--overwrite")
    assert ran.code == 3
    assert "the video was not found" in ran.err


def test_a_page_without_pictures_says_how_to_add_them(tmp_path):
    path = journal(tmp_path, video())
    write_page(path, tmp_path / "a.html", most=1)
    page = Page(tmp_path / "a.html")
    (command,) = (line for line in page.text.splitlines() if "deepscan report" in line)
    assert command.endswith(f"deepscan report {path} --pictures --overwrite")
    write_page(path, tmp_path / "my page.html", most=1)
    assert f"--out '{tmp_path}/my page.html'" in Page(tmp_path / "my page.html").text


def test_a_page_takes_pictures_until_it_is_full():
    def pictures(length):
        return VideoPictures({0: PagePicture("x" * length, 1, 1, 1.0, ())})

    room = PictureRoom(100)
    shown = [room.admit(pictures(length)).characters for length in (60, 30, 20, 10)]
    assert shown == [60, 30, 0, 0], "the first ones, without a gap"
    assert room.full


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--root", "."), "--root needs --pictures"),
        (("--pictures", "--root", "no"), "no is not a folder"),
    ],
)
def test_the_folder_of_the_videos_is_only_accepted_with_pictures(out, options, message):
    assert message in deepscan("report", out, *options).refused(2)[0]
