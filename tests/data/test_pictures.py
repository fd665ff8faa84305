"""Reading an index of face pictures, and the errors of an invalid one."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import FaceVideo, write_benchmark
from deepscan.data.pictures import LabelledPicture, read_pairs_only, read_pictures
from deepscan.errors import MissingError, UsageError

HEADER = "file,label,group,split,source,note\n"


def _folder(tmp_path, rows, header=HEADER):
    for row in rows.splitlines():
        (tmp_path / row.split(",")[0]).write_bytes(b"x")
    (tmp_path / "faces.csv").write_text(header + rows)
    return tmp_path


def test_rows_are_read_in_order(tmp_path):
    folder = _folder(tmp_path, "b.jpg,fake,g1,train,DFDC,x\na.jpg,real,g2,val,web,\n")
    assert read_pictures(folder) == (
        LabelledPicture(folder / "b.jpg", 1, "g1", "train", "DFDC", "b.jpg"),
        LabelledPicture(folder / "a.jpg", 0, "g2", "val", "web", "a.jpg"),
    )


def test_sources_are_selected(tmp_path):
    folder = _folder(tmp_path, "b.jpg,fake,g1,train,DFDC,x\na.jpg,real,g2,val,web,\n")
    assert [picture.source for picture in read_pictures(folder, ["web"])] == ["web"]
    with pytest.raises(UsageError, match="no pictures of FF") as raised:
        read_pictures(folder, ["FF"])
    assert "DFDC, web" in raised.value.hint


def test_optional_metadata_is_read(tmp_path):
    header = "file,label,group,split,source,origin,pair,method,source_face_px\n"
    rows = "a.jpg,fake,g1,train,WEB,some/page,p1,LIA,120\nb.jpg,real,g2,train,DFDC,,,,\n"
    fake, real = read_pictures(_folder(tmp_path, rows, header))
    assert (fake.origin, fake.pair, fake.method, fake.face_px) == ("some/page", "p1", "LIA", 120)
    assert (real.origin, real.pair, real.method, real.face_px) == ("", "", "", 0)


def test_folders_of_reals_are_read_for_pairs_only(tmp_path):
    (tmp_path / "faces" / "web").mkdir(parents=True)
    for name in ("b.PNG", "a.jpg", "notes.txt", "c.webp", "d.tiff"):
        (tmp_path / "faces" / "web" / name).write_bytes(b"x")
    found = read_pairs_only(tmp_path, ["faces/web"])
    assert [picture.path.name for picture in found] == ["a.jpg", "b.PNG", "c.webp", "d.tiff"]
    assert {(picture.label, picture.split, picture.source) for picture in found} == {
        (0, "pairs", "faces/web")
    }
    assert len({picture.group for picture in found}) == 4
    with pytest.raises(MissingError, match="has no pictures"):
        read_pairs_only(tmp_path, ["faces/none"])


def test_a_missing_index_has_a_hint_with_its_columns(tmp_path):
    with pytest.raises(MissingError) as raised:
        read_pictures(tmp_path / "data")
    assert raised.value.exit_code == 5
    assert "file,label,group,split" in raised.value.hint


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ("a.jpg,genuine,g,train,s,\n", HEADER, "line 2: invalid label 'genuine'"),
        ("a.jpg,real,g,train,s,\nb.jpg,real,g,test,s,\n", HEADER, "line 3: .*split 'test'"),
        ("a.jpg,real,g,train,s,\nb.jpg,fake,g,val,s,\n", HEADER, "group 'g' is in both"),
        ("", HEADER, "no pictures"),
        ("a.jpg,real,train\n", "file,label,split\n", "no column 'group'"),
        (
            "a.jpg,fake,g1,train,12.5\n",
            "file,label,group,split,source_face_px\n",
            r"line 2: source_face_px must be .*, not '12\.5'",
        ),
    ],
)
def test_an_invalid_index_is_rejected(tmp_path, rows, header, message):
    with pytest.raises(UsageError, match=message):
        read_pictures(_folder(tmp_path, rows, header))


def test_a_missing_picture_is_named(tmp_path):
    folder = _folder(tmp_path, "a.jpg,real,g,train,s,\n")
    (folder / "a.jpg").unlink()
    with pytest.raises(MissingError, match=r"a\.jpg is missing"):
        read_pictures(folder)


def test_a_picture_validates_label_and_split(tmp_path):
    with pytest.raises(ValueError, match="label"):
        LabelledPicture(tmp_path, 2, "g", "train", "", "v")
    with pytest.raises(ValueError, match="split"):
        LabelledPicture(tmp_path, 1, "g", "test", "", "v")


def test_videos_and_masks_are_read_from_the_index(tmp_path):
    for name in ("a.png", "b.png", "m.png"):
        (tmp_path / name).touch()
    index = tmp_path / "faces.csv"
    head = "file,label,group,split,video,mask\n"
    index.write_text(head + "a.png,real,g,train,v1,\nb.png,fake,g,train,,m.png\n")
    first, second = read_pictures(tmp_path)
    assert (first.video, first.mask) == ("v1", None)
    assert (second.video, second.mask) == ("b.png", tmp_path / "m.png")
    (tmp_path / "m.png").unlink()
    with pytest.raises(MissingError, match=r"m\.png is missing"):
        read_pictures(tmp_path)


def test_without_an_index_the_crops_of_a_benchmark_are_read(tmp_path):
    def make_video(kind, split, name, count=2):
        frames = []
        for number in range(count):
            path = tmp_path / kind / name / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
            frames.append(str(path))
        label = int(not kind.endswith("real"))
        return FaceVideo("FaceForensics++", kind, label, split, name, tuple(frames), compression="c23")

    videos = [
        *(
            make_video("FF-real", split, name)
            for split, name in (("train", "000"), ("val", "001"), ("test", "002"))
        ),
        *(make_video("FF-DF", split, name) for split, name in (("train", "000_003"), ("val", "001_870"))),
    ]
    write_benchmark(tmp_path / "FaceForensics++.json", videos, nested=True)
    pictures = read_pictures(tmp_path)
    assert [(p.label, p.group, p.split) for p in pictures[::2]] == [
        (0, "FaceForensics++/000", "train"),
        (0, "FaceForensics++/001", "val"),
        (1, "FaceForensics++/000", "train"),
        (1, "FaceForensics++/001", "val"),
    ]
    assert len({p.video for p in pictures}) == 4
    assert {p.aligned for p in pictures} == {CropRecipe()}
    assert read_pictures(tmp_path, ["FaceForensics++"]) == pictures
    with pytest.raises(MissingError, match="Celeb-DF-v2"):
        read_pictures(tmp_path, ["Celeb-DF-v2"])
    # In the file of UADFV, every video is in every split.
    everywhere = [replace(video, split=split) for video in videos[:1] for split in ("train", "val")]
    write_benchmark(tmp_path / "UADFV.json", everywhere, nested=True)
    with pytest.raises(UsageError, match="FF-real/000 is in both splits"):
        read_pictures(tmp_path, ["UADFV"])
    shutil.rmtree(tmp_path / "FF-DF" / "000_003")
    with pytest.raises(
        MissingError, match="lists 1 videos whose crops are missing, such as FF-DF/train/000_003"
    ):
        read_pictures(tmp_path)
