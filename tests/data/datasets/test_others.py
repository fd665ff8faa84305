"""The other data sets, with renamed, nested and incomplete downloads."""

import json
import shutil

import pytest

from deepscan.data.datasets import DATASETS, DF40_METHODS, names_of
from deepscan.errors import MissingError, UsageError

from .faceforensics_replicas import DEEPERFORENSICS, YOUTUBE, df40
from .replica import lay, put, sequence
from .replicas import DFDC, DFDCP, FFIW, WILDDEEPFAKE, celeb_df


def listed(name, root):
    return [(v.kind, v.split, v.name) for v in DATASETS.get(name).videos(root)]


def paths(name, root):
    return {(v.kind, v.split, v.name): v.path for v in DATASETS.get(name).videos(root)}


def missing(name, root):
    return {key for key, path in paths(name, root).items() if not path.exists()}


def test_celeb_df_accepts_a_subfolder_videos_and_another_spelling(tmp_path):
    root = celeb_df(2).write(tmp_path)
    before = listed("Celeb-DF-v2", root)
    (root / "YouTube-real").rename(root / "moved")
    (root / "Youtube-real").mkdir()
    (root / "moved").rename(root / "Youtube-real" / "videos")
    assert listed("Celeb-DF-v2", root) == before
    assert paths("Celeb-DF-v2", root)["CelebDFv2_real", "test", "00170"].exists()


def test_celeb_df_train_and_test_are_disjoint(tmp_path):
    found = listed("Celeb-DF-v1", celeb_df(1).write(tmp_path))
    train, tested = ({name for _, split, name in found if split == s} for s in ("train", "test"))
    assert not train & tested


@pytest.mark.parametrize("line", ["1 Elsewhere/00170.mp4", "YouTube-real", "1 YouTube-real/"])
def test_celeb_df_rejects_a_list_of_other_folders(tmp_path, line):
    root = celeb_df(2).write(tmp_path)
    (root / "List_of_testing_videos.txt").write_text(f"{line}\n")
    with pytest.raises(UsageError, match="names no folder of Celeb-DF-v2"):
        listed("Celeb-DF-v2", root)


def test_dfdc_reads_labels_from_either_file(tmp_path):
    root = DFDC.write(tmp_path)
    before = listed("DFDC", root)
    (root / "test" / "labels.csv").unlink()
    entry = {"b.mp4": {"is_fake": 0}, "a.mp4": {"is_fake": 1}, "c.mp4": {"is_fake": True}}
    entry |= {"d.mp4": {"label": "REAL"}, "e.mp4": {"label": "FAKE"}, "f.mp4": {"is_fake": False}}
    (root / "test" / "metadata.json").write_text(json.dumps(entry))
    assert listed("DFDC", root) == before


def test_dfdc_needs_only_the_test_part(tmp_path):
    root = DFDC.write(tmp_path)
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "validation")
    assert [split for _, split, _ in listed("DFDC", root)] == ["test"] * 6


def test_dfdc_archives_may_add_a_folder_of_their_name(tmp_path):
    root = DFDC.write(tmp_path)
    before = listed("DFDC", root), missing("DFDC", root)
    for number, name in ((2, "dfdc_train_part_02"), (10, "dfdc_train_part_10")):
        part = root / "train" / f"dfdc_train_part_{number}"
        (root / "moved").mkdir()
        part.rename(root / "moved" / f"dfdc_train_part_{number}")
        (root / "moved").rename(root / name)
    assert (listed("DFDC", root), missing("DFDC", root)) == before


@pytest.mark.parametrize("rows", ["a.mp4,2", "a.mp4,", ",1", "a.mp4,1\na.mp4,0"])
def test_dfdc_rejects_missing_and_conflicting_labels(tmp_path, rows):
    root = DFDC.write(tmp_path)
    (root / "test" / "labels.csv").write_text(f"filename,label\n{rows}\n")
    with pytest.raises(UsageError, match=r"labels\.csv cannot be read"):
        listed("DFDC", root)


def test_the_preview_accepts_the_folder_of_its_archive_and_a_subfolder_videos(tmp_path):
    root = DFDCP.write(tmp_path / "dfdc_preview_set")
    before = listed("DFDCP", root), missing("DFDCP", root)
    for part in ("original_videos", "method_A", "method_B"):
        (root / part).rename(root / "moved")
        (root / part).mkdir()
        (root / "moved").rename(root / part / "videos")
    assert (listed("DFDCP", tmp_path), missing("DFDCP", tmp_path)) == before


def test_videos_of_the_same_name_in_several_folders_are_distinguished(tmp_path):
    files = {f"original_videos/{who}/clip.mp4": {"label": "real", "set": "train"} for who in ("1", "2")}
    lay(tmp_path, dict.fromkeys(files, "real") | {"dataset.json": json.dumps(files)})
    found = paths("DFDCP", tmp_path)
    assert [name for _, _, name in found] == ["clip", "clip~2"]
    assert found["DFDCP_Real", "train", "clip~2"] == tmp_path / "original_videos" / "2" / "clip.mp4"


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("method_C/1/a.mp4", {"label": "fake", "set": "train"}),
        ("method_A/1/a.mp4", {"label": "fake", "set": "extra"}),
        ("method_A/1/a.mp4", {"label": "perhaps", "set": "train"}),
        ("method_A/1/a.mp4", {"label": "fake"}),
    ],
)
def test_the_preview_rejects_unknown_methods_sets_and_labels(tmp_path, file, entry):
    (tmp_path / "dataset.json").write_text(json.dumps({file: entry}))
    with pytest.raises(UsageError, match=r"dataset\.json cannot be read"):
        listed("DFDCP", tmp_path)


def test_uadfv_prefers_videos_to_crops(tmp_path):
    lay(tmp_path, put("real", "0000") | put("fake", "0000_fake") | sequence("real/frames/0000", "real"))
    assert {video.frames for video in DATASETS.get("UADFV").videos(tmp_path)} == {()}
    (tmp_path / "real" / "0000.mp4").unlink()
    (crops,) = {v.path for v in DATASETS.get("UADFV").videos(tmp_path) if v.frames}
    assert crops == tmp_path / "real" / "frames" / "0000"


@pytest.mark.parametrize("beside", [False, True])
def test_deeperforensics_finds_its_reals_in_a_nearby_faceforensics(tmp_path, beside):
    root = DEEPERFORENSICS.write(tmp_path / "DeeperForensics-1.0")
    before = listed("DeeperForensics-1.0", root)
    other = (tmp_path if beside else root) / "FaceForensics++"
    other.mkdir()
    (root / "original_sequences").rename(other / "original_sequences")
    assert listed("DeeperForensics-1.0", root) == before
    real = paths("DeeperForensics-1.0", root)["DF_real", "test", "953"]
    assert real == other / YOUTUBE / "c23" / "videos" / "953.mp4" and real.exists()


def test_deeperforensics_never_uses_its_sources_as_reals(tmp_path):
    root = DEEPERFORENSICS.write(tmp_path)
    shutil.rmtree(root / "original_sequences")
    with pytest.raises(MissingError, match="DeeperForensics"):
        listed("DeeperForensics-1.0", root)


def test_frames_are_sorted_by_number(tmp_path):
    root = WILDDEEPFAKE.write(tmp_path)
    frames = {v.name: [f.name for f in v.frames] for v in DATASETS.get("WildDeepfake").videos(root)}
    assert frames["0_real_103"] == ["8.png", "9.png", "10.png", "11.png"]


@pytest.mark.parametrize("packed", ["3.tar.gz", "3.TAR"])
def test_wilddeepfake_rejects_packed_archives(tmp_path, packed):
    root = WILDDEEPFAKE.write(tmp_path)
    (root / "fake_test" / packed).write_text("")
    with pytest.raises(MissingError, match="is not unpacked") as raised:
        listed("WildDeepfake", root)
    assert f"tar -xf {packed}" in raised.value.hint


@pytest.mark.parametrize("named", ["{} {}", "{}/{}"])
def test_wilddeepfake_folders_may_have_the_names_on_its_page(tmp_path, named):
    root = WILDDEEPFAKE.write(tmp_path)
    before = listed("WildDeepfake", root)
    for word in ("real", "fake"):
        for split in ("train", "test"):
            new = root / named.format(word, split)
            new.parent.mkdir(exist_ok=True)
            (root / f"{word}_{split}").rename(new)
    assert listed("WildDeepfake", root) == before


def test_wilddeepfake_can_be_tested_without_its_training_part(tmp_path):
    root = WILDDEEPFAKE.write(tmp_path)
    shutil.rmtree(root / "real_train")
    shutil.rmtree(root / "fake_train")
    assert {split for _, split, _ in listed("WildDeepfake", root)} == {"test"}


def test_ffiw_masks_belong_to_its_fakes(tmp_path):
    root = FFIW.write(tmp_path)
    masks = {(v.kind, v.name): v.mask for v in DATASETS.get("FFIW").videos(root) if v.mask}
    places = {"a": "train", "d": "test", "f": "test"}
    assert masks == {
        ("FFIW_Fake", name): root / "target_mask" / split / f"{name}.mp4" for name, split in places.items()
    }


def test_ffiw_reads_its_two_releases(tmp_path):
    root = FFIW.write(tmp_path / "whole")
    before = listed("FFIW", root)
    two = tmp_path / "two"
    tests = two / "FFIW10K-v1-release-test" / "FFIW10K-v1-release-test"
    for folder in ("source", "target"):
        (tests / folder).mkdir(parents=True)
        (root / folder / "test").rename(tests / folder / "test")
    root.rename(two / "FFIW10K-v1-release")
    assert listed("FFIW", two) == before
    assert [split for _, split, _ in listed("FFIW", tests)] == ["test"] * 7


def test_folders_may_contain_splits_videos_sequences_and_pictures_of_any_name(tmp_path):
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


def test_videos_that_differ_only_in_their_suffix_are_distinct(tmp_path):
    lay(tmp_path, dict.fromkeys(("real/a.mp4", "real/a.avi", "real/a_b.mp4", "real/a/b.mp4"), ""))
    (tmp_path / "fake").mkdir()
    found = {name: path for (_, _, name), path in paths("folders", tmp_path).items()}
    assert found == {
        "a_b": tmp_path / "real" / "a" / "b.mp4",
        "a": tmp_path / "real" / "a.avi",
        "a~2": tmp_path / "real" / "a.mp4",
        "a_b~2": tmp_path / "real" / "a_b.mp4",
    }


def test_empty_folders_are_an_error(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "fake").mkdir()
    with pytest.raises(MissingError, match="has no videos"):
        listed("folders", tmp_path)


def test_links_are_followed_but_loops_are_not(tmp_path):
    lay(tmp_path, put("elsewhere/clips", "far") | put("root/real", "near", missing="broken"))
    (tmp_path / "root" / "fake").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "clips" / "up").symlink_to(tmp_path / "elsewhere")
    # A broken link is a video that cannot be opened, and is not ignored.
    assert [name for *_, name in listed("folders", tmp_path / "root")] == ["broken", "near", "clips_far"]


@pytest.mark.parametrize("place", ["DF40", "."])
@pytest.mark.parametrize(("domain", "folder"), [("ff", "ffpp"), ("cdf", "cdfv2")])
def test_df40_and_its_reals_may_be_siblings(tmp_path, domain, folder, place):
    root = df40(f"rddm_{domain}").write(tmp_path)
    before = listed(f"rddm_{domain}", root)
    (root / "DF40").mkdir()
    (root / "rddm").rename(root / "DF40" / "RDDM")
    (root / "DF40" / "RDDM" / domain).rename(root / "DF40" / "RDDM" / folder)
    assert listed(f"rddm_{domain}", root / place) == before


def test_df40_reads_reals_in_the_form_of_the_fakes(tmp_path):
    root = df40("fomm_ff").write(tmp_path)
    assert all(v.frames for v in DATASETS.get("fomm_ff").videos(root) if v.name != "002")
    shutil.rmtree(root / "fomm")
    lay(root, put("fomm/ff/videos", "953_974"))
    home = root / "FaceForensics++" / YOUTUBE / "c23" / "videos"
    shutil.rmtree(home)
    with pytest.raises(MissingError, match="has no videos, but the fakes are videos"):
        listed("fomm_ff", root)
    lay(home, put(".", "953 974 071 001 002"))
    found = list(DATASETS.get("fomm_ff").videos(root))
    assert [(v.name, v.path.suffix, v.frames) for v in found] == [
        ("953", ".mp4", ()),
        ("974", ".mp4", ()),
        ("001", ".mp4", ()),
        ("002", ".mp4", ()),
        ("953_974", ".mp4", ()),
    ]


def test_masks_and_landmarks_next_to_crops_are_not_sequences(tmp_path):
    root = df40("fomm_ff").write(tmp_path)
    before = listed("fomm_ff", root)
    for folder in sorted((root / "fomm" / "ff" / "frames").iterdir()):
        folder.rename(root / "fomm" / "ff" / folder.name)
    lay(root, sequence("fomm/ff/masks/953_974", "blank", "blank"))
    assert listed("fomm_ff", root) == before
    lay(tmp_path / "own", sequence("real/masks", "blank") | put("fake", "a"))
    # In plain folders, `masks` is an ordinary name.
    assert listed("folders", tmp_path / "own") == [("real", "test", "masks"), ("fake", "test", "a")]


def test_names_are_matched_without_case_and_punctuation():
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


def test_the_hint_for_an_unknown_data_set_has_a_similar_name_or_a_list():
    with pytest.raises(UsageError, match="unknown data set 'FF-DG'") as raised:
        names_of("FF-DG")
    assert "'FF-DF'" in raised.value.hint
    with pytest.raises(UsageError) as raised:
        names_of("imagenet")
    assert "Celeb-DF-v2" in raised.value.hint and "df40" in raised.value.hint
