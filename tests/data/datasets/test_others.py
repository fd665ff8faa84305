"""The other data sets, as they are unpacked, renamed and half downloaded."""

import json
import shutil

import pytest

from deepscan.data.datasets import DATASETS, DF40_METHODS, names_of
from deepscan.errors import MissingError, UsageError

from .faceforensics_replicas import DEEPERFORENSICS, YOUTUBE, df40
from .replica import lay, put, sequence
from .replicas import DFDC, DFDCP, FFIW, WILDDEEPFAKE, celeb_df


def given(name, root):
    return [(v.kind, v.split, v.name) for v in DATASETS.get(name).videos(root)]


def paths(name, root):
    return {(v.kind, v.split, v.name): v.path for v in DATASETS.get(name).videos(root)}


def gone(name, root):
    return {key for key, path in paths(name, root).items() if not path.exists()}


def test_celeb_df_may_have_its_videos_a_folder_lower_and_another_spelling(tmp_path):
    root = celeb_df(2).write(tmp_path)
    before = given("Celeb-DF-v2", root)
    (root / "YouTube-real").rename(root / "moved")
    (root / "Youtube-real").mkdir()
    (root / "moved").rename(root / "Youtube-real" / "videos")
    assert given("Celeb-DF-v2", root) == before
    assert paths("Celeb-DF-v2", root)["CelebDFv2_real", "test", "00170"].exists()


def test_celeb_df_never_trains_on_what_it_tests(tmp_path):
    found = given("Celeb-DF-v1", celeb_df(1).write(tmp_path))
    train, tested = ({name for _, split, name in found if split == s} for s in ("train", "test"))
    assert not train & tested


@pytest.mark.parametrize("line", ["1 Elsewhere/00170.mp4", "YouTube-real", "1 YouTube-real/"])
def test_celeb_df_refuses_a_list_of_other_folders(tmp_path, line):
    root = celeb_df(2).write(tmp_path)
    (root / "List_of_testing_videos.txt").write_text(f"{line}\n")
    with pytest.raises(UsageError, match="no folder of Celeb-DF-v2"):
        given("Celeb-DF-v2", root)


def test_dfdc_reads_labels_of_either_file(tmp_path):
    root = DFDC.write(tmp_path)
    before = given("DFDC", root)
    (root / "test" / "labels.csv").unlink()
    said = {"b.mp4": {"is_fake": 0}, "a.mp4": {"is_fake": 1}, "c.mp4": {"is_fake": True}}
    said |= {"d.mp4": {"label": "REAL"}, "e.mp4": {"label": "FAKE"}, "f.mp4": {"is_fake": False}}
    (root / "test" / "metadata.json").write_text(json.dumps(said))
    assert given("DFDC", root) == before


def test_dfdc_needs_no_more_than_its_tests(tmp_path):
    root = DFDC.write(tmp_path)
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "validation")
    assert [split for _, split, _ in given("DFDC", root)] == ["test"] * 6


def test_dfdc_archives_may_unpack_into_folders_of_their_name(tmp_path):
    root = DFDC.write(tmp_path)
    before = given("DFDC", root), gone("DFDC", root)
    for number, name in ((2, "dfdc_train_part_02"), (10, "dfdc_train_part_10")):
        part = root / "train" / f"dfdc_train_part_{number}"
        (root / "moved").mkdir()
        part.rename(root / "moved" / f"dfdc_train_part_{number}")
        (root / "moved").rename(root / name)
    assert (given("DFDC", root), gone("DFDC", root)) == before


@pytest.mark.parametrize("rows", ["a.mp4,2", "a.mp4,", ",1", "a.mp4,1\na.mp4,0"])
def test_dfdc_refuses_labels_that_are_none_or_two(tmp_path, rows):
    root = DFDC.write(tmp_path)
    (root / "test" / "labels.csv").write_text(f"filename,label\n{rows}\n")
    with pytest.raises(UsageError, match=r"labels\.csv cannot be read"):
        given("DFDC", root)


def test_the_preview_may_lie_in_the_folder_of_its_archive_and_a_folder_lower(tmp_path):
    root = DFDCP.write(tmp_path / "dfdc_preview_set")
    before = given("DFDCP", root), gone("DFDCP", root)
    for part in ("original_videos", "method_A", "method_B"):
        (root / part).rename(root / "moved")
        (root / part).mkdir()
        (root / "moved").rename(root / part / "videos")
    assert (given("DFDCP", tmp_path), gone("DFDCP", tmp_path)) == before


def test_videos_of_one_name_in_several_folders_are_told_apart(tmp_path):
    files = {f"original_videos/{who}/clip.mp4": {"label": "real", "set": "train"} for who in ("1", "2")}
    lay(tmp_path, dict.fromkeys(files, "real") | {"dataset.json": json.dumps(files)})
    found = paths("DFDCP", tmp_path)
    assert [name for _, _, name in found] == ["clip", "clip~2"]
    assert found["DFDCP_Real", "train", "clip~2"] == tmp_path / "original_videos" / "2" / "clip.mp4"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("method_C/1/a.mp4", {"label": "fake", "set": "train"}),
        ("method_A/1/a.mp4", {"label": "fake", "set": "extra"}),
        ("method_A/1/a.mp4", {"label": "perhaps", "set": "train"}),
        ("method_A/1/a.mp4", {"label": "fake"}),
    ],
)
def test_the_preview_refuses_what_it_does_not_know(tmp_path, file, said):
    (tmp_path / "dataset.json").write_text(json.dumps({file: said}))
    with pytest.raises(UsageError, match=r"dataset\.json cannot be read"):
        given("DFDCP", tmp_path)


def test_uadfv_takes_whole_videos_before_crops_beside_them(tmp_path):
    lay(tmp_path, put("real", "0000") | put("fake", "0000_fake") | sequence("real/frames/0000", "real"))
    assert {video.frames for video in DATASETS.get("UADFV").videos(tmp_path)} == {()}
    (tmp_path / "real" / "0000.mp4").unlink()
    (cut,) = {v.path for v in DATASETS.get("UADFV").videos(tmp_path) if v.frames}
    assert cut == tmp_path / "real" / "frames" / "0000"


@pytest.mark.parametrize("beside", [False, True])
def test_deeperforensics_takes_its_reals_from_faceforensics_near_it(tmp_path, beside):
    root = DEEPERFORENSICS.write(tmp_path / "DeeperForensics-1.0")
    before = given("DeeperForensics-1.0", root)
    other = (tmp_path if beside else root) / "FaceForensics++"
    other.mkdir()
    (root / "original_sequences").rename(other / "original_sequences")
    assert given("DeeperForensics-1.0", root) == before
    real = paths("DeeperForensics-1.0", root)["DF_real", "test", "953"]
    assert real == other / YOUTUBE / "c23" / "videos" / "953.mp4" and real.exists()


def test_deeperforensics_never_takes_its_sources_for_reals(tmp_path):
    root = DEEPERFORENSICS.write(tmp_path)
    shutil.rmtree(root / "original_sequences")
    with pytest.raises(MissingError, match="DeeperForensics"):
        given("DeeperForensics-1.0", root)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    root = WILDDEEPFAKE.write(tmp_path)
    frames = {v.name: [f.name for f in v.frames] for v in DATASETS.get("WildDeepfake").videos(root)}
    assert frames["0_real_103"] == ["8.png", "9.png", "10.png", "11.png"]


@pytest.mark.parametrize("packed", ["3.tar.gz", "3.TAR"])
def test_wilddeepfake_is_not_measured_on_a_part(tmp_path, packed):
    root = WILDDEEPFAKE.write(tmp_path)
    (root / "fake_test" / packed).write_text("")
    with pytest.raises(MissingError, match="is not unpacked") as raised:
        given("WildDeepfake", root)
    assert f"tar -xf {packed}" in raised.value.hint


@pytest.mark.parametrize("named", ["{} {}", "{}/{}"])
def test_wilddeepfake_folders_may_be_named_as_its_page_has_them(tmp_path, named):
    root = WILDDEEPFAKE.write(tmp_path)
    before = given("WildDeepfake", root)
    for word in ("real", "fake"):
        for split in ("train", "test"):
            new = root / named.format(word, split)
            new.parent.mkdir(exist_ok=True)
            (root / f"{word}_{split}").rename(new)
    assert given("WildDeepfake", root) == before


def test_wilddeepfake_can_be_tested_without_its_training_part(tmp_path):
    root = WILDDEEPFAKE.write(tmp_path)
    shutil.rmtree(root / "real_train")
    shutil.rmtree(root / "fake_train")
    assert {split for _, split, _ in given("WildDeepfake", root)} == {"test"}


def test_ffiw_masks_belong_to_its_fakes(tmp_path):
    root = FFIW.write(tmp_path)
    masks = {(v.kind, v.name): v.mask for v in DATASETS.get("FFIW").videos(root) if v.mask}
    places = {"a": "train", "d": "test", "f": "test"}
    assert masks == {
        ("FFIW_Fake", name): root / "target_mask" / split / f"{name}.mp4" for name, split in places.items()
    }


def test_ffiw_may_be_given_its_two_releases(tmp_path):
    root = FFIW.write(tmp_path / "whole")
    before = given("FFIW", root)
    two = tmp_path / "two"
    tests = two / "FFIW10K-v1-release-test" / "FFIW10K-v1-release-test"
    for folder in ("source", "target"):
        (tests / folder).mkdir(parents=True)
        (root / folder / "test").rename(tests / folder / "test")
    root.rename(two / "FFIW10K-v1-release")
    assert given("FFIW", two) == before
    assert [split for _, split, _ in given("FFIW", tests)] == ["test"] * 7


def test_folders_may_hold_splits_videos_sequences_and_pictures_of_any_name(tmp_path):
    files = {
        "train/real/Zoë am See.MP4": "",
        "train/fake/名前/10.png": "",
        "train/fake/名前/9.jpg": "",
        "validation/REAL/deep/er/clip.mov": "",
        "validation/fake/face.jpeg": "",
    }
    lay(tmp_path, files)
    found = list(DATASETS.get("folders").videos(tmp_path))
    assert [(v.kind, v.split, v.name, [f.name for f in v.frames]) for v in found] == [
        ("real", "train", "Zoë am See", []),
        ("fake", "train", "名前", ["9.jpg", "10.png"]),
        ("real", "val", "deep_er_clip", []),
        ("fake", "val", "face", ["face.jpeg"]),
    ]


def test_videos_that_differ_in_their_suffix_alone_are_two(tmp_path):
    lay(tmp_path, dict.fromkeys(("real/a.mp4", "real/a.avi", "real/a_b.mp4", "real/a/b.mp4"), ""))
    (tmp_path / "fake").mkdir()
    found = {name: path for (_, _, name), path in paths("folders", tmp_path).items()}
    assert found == {
        "a_b": tmp_path / "real" / "a" / "b.mp4",
        "a": tmp_path / "real" / "a.avi",
        "a~2": tmp_path / "real" / "a.mp4",
        "a_b~2": tmp_path / "real" / "a_b.mp4",
    }


def test_folders_with_nothing_in_either_are_missing_their_videos(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "fake").mkdir()
    with pytest.raises(MissingError, match="holds no video"):
        given("folders", tmp_path)


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    lay(tmp_path, put("elsewhere/clips", "far") | put("root/real", "near", gone="broken"))
    (tmp_path / "root" / "fake").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "clips" / "up").symlink_to(tmp_path / "elsewhere")
    # A link that leads nowhere is a video that cannot be opened, not one that nobody hears of.
    assert [name for *_, name in given("folders", tmp_path / "root")] == ["broken", "near", "clips_far"]


@pytest.mark.parametrize("place", ["DF40", "."])
@pytest.mark.parametrize(("domain", "folder"), [("ff", "ffpp"), ("cdf", "cdfv2")])
def test_df40_and_its_reals_may_lie_side_by_side(tmp_path, domain, folder, place):
    root = df40(f"rddm_{domain}").write(tmp_path)
    before = given(f"rddm_{domain}", root)
    (root / "DF40").mkdir()
    (root / "rddm").rename(root / "DF40" / "RDDM")
    (root / "DF40" / "RDDM" / domain).rename(root / "DF40" / "RDDM" / folder)
    assert given(f"rddm_{domain}", root / place) == before


def test_df40_puts_videos_against_videos_and_faces_against_faces(tmp_path):
    root = df40("fomm_ff").write(tmp_path)
    assert all(v.frames for v in DATASETS.get("fomm_ff").videos(root) if v.name != "002")
    shutil.rmtree(root / "fomm")
    lay(root, put("fomm/ff/videos", "953_974"))
    home = root / "FaceForensics++" / YOUTUBE / "c23" / "videos"
    shutil.rmtree(home)
    with pytest.raises(MissingError, match="holds no video, and the fakes are videos"):
        given("fomm_ff", root)
    lay(home, put(".", "953 974 071 001 002"))
    found = list(DATASETS.get("fomm_ff").videos(root))
    assert [(v.name, v.path.suffix, v.frames) for v in found] == [
        ("953", ".mp4", ()),
        ("974", ".mp4", ()),
        ("001", ".mp4", ()),
        ("002", ".mp4", ()),
        ("953_974", ".mp4", ()),
    ]


def test_masks_and_landmarks_beside_crops_are_no_sequences(tmp_path):
    root = df40("fomm_ff").write(tmp_path)
    before = given("fomm_ff", root)
    for folder in sorted((root / "fomm" / "ff" / "frames").iterdir()):
        folder.rename(root / "fomm" / "ff" / folder.name)
    lay(root, sequence("fomm/ff/masks/953_974", "blank", "blank"))
    assert given("fomm_ff", root) == before
    lay(tmp_path / "own", sequence("real/masks", "blank") | put("fake", "a"))
    # In plain folders it is a name like any other.
    assert given("folders", tmp_path / "own") == [("real", "test", "masks"), ("fake", "test", "a")]


def test_what_is_typed_need_not_be_written_as_in_benchmark_files():
    assert {
        text: names_of(text) for text in ("ff++", "celeb-df-v2", "dfd", "wdf", "dfdc-preview", "DFo")
    } == {
        "ff++": ("FaceForensics++",),
        "celeb-df-v2": ("Celeb-DF-v2",),
        "dfd": ("DeepFakeDetection",),
        "wdf": ("WildDeepfake",),
        "dfdc-preview": ("DFDCP",),
        "DFo": ("DeeperForensics-1.0",),
    }
    assert all(names_of(name) == (name,) and names_of(name.lower()) == (name,) for name in DATASETS.names)


def test_df40_means_every_method_in_both_domains():
    assert len(DF40_METHODS) == len(set(DF40_METHODS)) == 31
    assert len(names_of("df40")) == 62
    assert names_of("DF40-cdf") == tuple(f"{method}_cdf" for method in DF40_METHODS)


def test_an_unknown_data_set_gets_its_likeness_or_a_list_to_choose_from():
    with pytest.raises(UsageError, match="unknown data set 'FF-DG'") as raised:
        names_of("FF-DG")
    assert "'FF-DF'" in raised.value.hint
    with pytest.raises(UsageError) as raised:
        names_of("imagenet")
    assert "Celeb-DF-v2" in raised.value.hint and "df40" in raised.value.hint
