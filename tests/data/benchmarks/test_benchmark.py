"""Benchmark files in every form in which they go about: what is read, what is left out, what is refused."""

import json
import os

import pytest

from deepscan.data.benchmarks.benchmark import Drop, FaceVideo, find_benchmark, read_benchmark
from deepscan.data.benchmarks.benchmark_file import label_of, split_level
from deepscan.errors import MissingError, UsageError

from .benchmark_files import crops, entry, ff, file, uadfv


def _places(videos):
    return [(video.kind, video.split, video.name) for video in videos]


def test_videos_are_read_with_label_split_name_and_frames(tmp_path):
    read = read_benchmark(uadfv(tmp_path))
    frames = tuple(str(tmp_path / f"UADFV/UADFV_Fake/frames/0000/{at:03d}.png") for at in (0, 1))
    assert read.videos[2] == FaceVideo("UADFV", "UADFV_Fake", 1, "val", "0000", frames)
    assert _places(read.videos) == [
        (kind, split, "0000") for kind in ("UADFV_Real", "UADFV_Fake") for split in ("val", "test")
    ]
    assert [video.label for video in read.videos] == [0, 0, 1, 1]
    assert read.dropped == {}


def test_splits_and_kinds_are_chosen_and_reals_stay(tmp_path):
    assert {video.split for video in read_benchmark(uadfv(tmp_path), splits=["test"]).videos} == {"test"}
    read = read_benchmark(ff(tmp_path), kinds=["FF-NT"])
    assert [video.kind for video in read.videos] == ["FF-real", "FF-NT"]


@pytest.mark.parametrize(
    ("name", "asked", "level"),
    [
        ("FaceForensics++", None, "c23"),
        ("FaceForensics++", "c40", "c40"),
        ("FaceForensics++_c40", None, "c40"),
        ("FaceForensics++_c40", "c23", "c23"),
    ],
)
def test_a_level_of_compression_is_taken(tmp_path, name, asked, level):
    videos = read_benchmark(ff(tmp_path, name=name, key="FaceForensics++"), compression=asked).videos
    assert [video.compression for video in videos] == [level] * 3
    assert all(f"/{level}/" in frame for video in videos for frame in video.frames)
    assert {video.dataset for video in videos} == {name}


def test_a_level_is_known_by_what_is_there_not_by_the_data_sets_name(tmp_path):
    videos = read_benchmark(ff(tmp_path, ["raw"], "simswap_ff", "roop")).videos
    assert [(video.name, video.compression) for video in videos] == [
        ("000", "raw"),
        ("000_003", "raw"),
        ("000_003", "raw"),
    ]
    # A level that is asked for of a data set without levels is no matter.
    assert {video.compression for video in read_benchmark(uadfv(tmp_path), compression="c23").videos} == {""}


def test_a_video_may_be_named_like_a_level(tmp_path):
    frames = crops(tmp_path, "x/raw")
    path = file(tmp_path, {"UADFV_Fake": {"test": {"raw": entry("UADFV_Fake", frames)}}})
    (video,) = read_benchmark(path).videos
    assert (video.name, video.compression, len(video.frames)) == ("raw", "", 2)


def test_several_levels_without_the_usual_one_must_be_chosen_from(tmp_path):
    path = ff(tmp_path, ["raw", "c40"])
    with pytest.raises(UsageError, match="no compression in FF-real/train 'c23'") as raised:
        read_benchmark(path)
    assert raised.value.hint == "choose from: raw, c40"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("whichisreal_Fake", 1),
        ("whichisreal_Real", 0),
        ("DFD_real", 0),
        ("FF-real", 0),
        ("FF-DF", 1),
        ("DFDCP_FakeA", 1),
        ("REAL", 0),
        ("realistic", 1),
    ],
)
def test_a_label_is_real_if_its_name_ends_so(name, label):
    assert label_of(name) == label


def test_labels_can_be_overruled(tmp_path):
    kinds = {
        kind: {"test": {"a": entry(stated, crops(tmp_path, f"{kind}/a"))}}
        for kind, stated in (
            *(("pristine", "pristine"), ("youtube", "real"), ("surreal", "surreal"), ("x", 0)),
            ("x_Fake", None),
        )
    }
    path = file(tmp_path, kinds)
    assert [video.label for video in read_benchmark(path).videos] == [1, 0, 0, 0, 1]
    labels = {"pristine": 0, "surreal": 1, "x": 1}
    assert [video.label for video in read_benchmark(path, labels=labels).videos] == [0, 0, 1, 1, 1]


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    names = ["10.png", "9.png", "000.png", "100.png"]
    (tmp_path / "a").mkdir()
    path = file(tmp_path, {"x_Fake": {"test": {"a": entry("x_Fake", [f"a/{name}" for name in names])}}})
    (video,) = read_benchmark(path).videos
    assert [os.path.basename(frame) for frame in video.frames] == ["000.png", "9.png", "10.png", "100.png"]


def test_masks_go_with_the_frames_of_their_numbers(tmp_path):
    videos = {video.kind: video for video in read_benchmark(ff(tmp_path), compression="c40").videos}
    swap = videos["FF-DF"]
    # Masks are those of c23, listed backwards, whatever the level of the crops.
    assert [os.path.relpath(mask, tmp_path) for mask in swap.masks] == [
        f"ff/FF-DF/c23/masks/000_003/{at:03d}.png" for at in (0, 1)
    ]
    assert videos["FF-NT"].masks == ()


@pytest.mark.parametrize(
    ("frames", "masks", "given"),
    [((0, 1, 2), (2, 0), ["000.png", "", "002.png"]), ((3, 7), (0, 1), ["000.png", "001.png"])],
)
def test_a_frame_without_a_mask_has_none_and_masks_of_other_names_go_in_their_order(
    tmp_path, frames, masks, given
):
    stated = entry("x_Fake", crops(tmp_path, "f/a", frames), masks=crops(tmp_path, "m/a", masks))
    (video,) = read_benchmark(file(tmp_path, {"x_Fake": {"test": {"a": stated}}})).videos
    assert [os.path.basename(mask) for mask in video.masks] == given


def test_what_is_left_out_is_told(tmp_path):
    frames = crops(tmp_path, "x/a")
    (tmp_path / "x/gone").mkdir()
    videos = {
        "a": entry("x_Fake", frames),
        "empty": entry("x_Fake", []),
        "": entry("x_Fake", None),
        "lost": entry("x_Fake", ["x/lost/000.png"]),
        "again": entry("x_Fake", frames[::-1]),
        "gone": entry("x_Fake", ["x/gone/000.png"]),
    }
    read = read_benchmark(file(tmp_path, {"x_Fake": {"test": videos}}))
    # That a crop is missing from a folder that is there shows when it is read.
    assert [video.name for video in read.videos] == ["a", "gone"]
    assert read.dropped == {"no frames": 2, "no file": 1, "duplicate": 1}
    assert Drop("duplicate", "x_Fake", "test", "again") in read.drops


def test_the_second_video_of_a_name_is_left_out(tmp_path):
    first, second = (json.dumps(entry("x_Fake", crops(tmp_path, f"x/{name}"))) for name in "ab")
    text = '{"UADFV": {"x_Fake": {"test": {"v": %s, "v": %s, "w": %s}}}}'
    path = file(tmp_path, text % (first, second, second))
    read = read_benchmark(path)
    assert [(video.name, video.frames[0][-9:]) for video in read.videos] == [
        ("v", "a/000.png"),
        ("w", "b/000.png"),
    ]
    assert read.drops == (Drop("duplicate", "x_Fake", "test", "v"),)


def test_one_name_in_several_kinds_or_splits_is_no_duplicate(tmp_path):
    assert read_benchmark(ff(tmp_path)).dropped == read_benchmark(uadfv(tmp_path)).dropped == {}


def test_an_unnamed_video_in_place_of_a_split_is_named_after_its_folder(tmp_path):
    val = {**entry("DFDC_Fake", crops(tmp_path, "test/frames/abc")), "xyz": entry("DFDC_Fake", [])}
    read = read_benchmark(file(tmp_path, {"DFDC_Fake": {"test": {}, "val": val}}, "DFDC"))
    assert [(video.name, video.split) for video in read.videos] == [("abc", "val")]
    assert read.drops == (Drop("no frames", "DFDC_Fake", "val", "xyz"),)


def test_a_data_set_of_one_class_is_read(tmp_path):
    path = file(tmp_path, {"x_Fake": {"test": {"a": entry("x_Fake", crops(tmp_path, "a"))}}})
    assert [video.label for video in read_benchmark(path).videos] == [1]


def test_other_names_of_val_are_known(tmp_path):
    path = file(tmp_path, {"x_Fake": {"Validation": {"a": entry("x_Fake", crops(tmp_path, "a"))}}})
    assert read_benchmark(path, splits=["val"]).videos[0].split == "val"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "another structure: the file: no object"),
        ("{}", "holds 0 data sets"),
        ('{"a": {}, "b": {}}', "holds 2 data sets, none of them UADFV"),
        ('{"UADFV": {"k": []}}', "another structure: k: no object"),
        ('{"UADFV": {"k": {"a video": {"frames": []}}}}', "k/a video: no split"),
        ('{"UADFV": {"k": {"test": []}}}', "k/test: no object"),
        ('{"UADFV": {"k": {"test": {"v": ["0.png"]}}}}', "k/test/v: no object"),
        ('{"UADFV": {"k": {"test": {"v": {"frames": "0.png"}}}}}', "k/test/v: no list of paths"),
        ('{"UADFV": {"k": {"test": {"v": {"frames": [0]}}}}}', "k/test/v: no list of paths"),
        ('{"UADFV": {"k": {"test": {}, "test": {}}}}', "k: 'test' stands there twice"),
        ('{"UADFV": {"k": {"test": {"c23": {}, "c23": {}}}}}', "k/test: 'c23' stands there twice"),
    ],
)
def test_what_is_no_benchmark_file_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as raised:
        read_benchmark(file(tmp_path, text))
    assert "\n" not in raised.value.hint


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UsageError, match="is not JSON"):
        read_benchmark(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ({"splits": ["tests"]}, "no split 'tests'", "did you mean 'test'?"),
        ({"splits": ["val"]}, "no split 'val'", "choose from: train, test"),
        ({"kinds": ["FF-FD"]}, "no kind 'FF-FD'", "did you mean 'FF-DF'?"),
        ({"compression": "c32"}, "no compression 'c32'", "did you mean 'c23'?"),
        ({"compression": "raw"}, "no compression in FF-real/train 'raw'", "choose from: c23, c40"),
    ],
)
def test_what_a_file_does_not_have_is_told(tmp_path, asked, message, hint):
    with pytest.raises(UsageError, match=message) as raised:
        read_benchmark(ff(tmp_path), **asked)
    assert raised.value.hint == hint


def test_no_crops_at_all_are_told(tmp_path):
    path = file(tmp_path, {"x_Fake": {"test": {"a": entry("x_Fake", ["lost\\a\\000.png"])}}})
    with pytest.raises(MissingError, match=r"none of the crops .* such as lost/a/000\.png") as raised:
        read_benchmark(path)
    assert "--root" in raised.value.hint


def test_no_file_is_told(tmp_path):
    with pytest.raises(MissingError, match=r"there is no .*x\.json"):
        read_benchmark(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("Celeb-DF-v2", "Celeb-DF-v2.json"),
        ("DFDC", "dataset_json/DFDC.json"),
        ("DeeperForensics-1.0", "test_DFR.json"),
        ("WildDeepfake", "dataset_json/test_WDF.json"),
        ("FFIW", "test_FFIW.json"),
        ("test_FFIW", "FFIW.json"),
        ("DFDCP", "dfdcp.json"),
        ("simswap_ff", "dataset_json/simswap_ff.json"),
        ("uniface_cdf", "UniFace_cdf.json"),
        ("FF-DF_c40", "FF-DF_c40.json"),
        ("FF-DF_c40", "FF-DF.json"),
    ],
)
def test_a_data_sets_file_is_found(tmp_path, asked, there):
    # Beside others that are named nearly like it.
    for path in ("DFDC-Preview.json", "Celeb-DF-v1.json", "simswap_cdf.json", there):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert find_benchmark(tmp_path, asked) == tmp_path / there


def test_a_name_as_it_stands_comes_first(tmp_path):
    for path in ("FF-DF.json", "FF-DF_c40.json", "test_FFIW.json", "FFIW.json"):
        (tmp_path / path).touch()
    assert find_benchmark(tmp_path, "FF-DF_c40").name == "FF-DF_c40.json"
    assert find_benchmark(tmp_path, "FFIW").name == "FFIW.json"
    assert find_benchmark(tmp_path, "test_FFIW").name == "test_FFIW.json"


@pytest.mark.parametrize("data", ["there", "not-there"])
def test_a_data_set_that_is_not_there_is_told(tmp_path, data):
    (tmp_path / "there").mkdir()
    with pytest.raises(MissingError, match=r"there is no simswap_ff\.json") as raised:
        find_benchmark(tmp_path / data, "simswap_ff")
    assert "deepscan prepare simswap_ff" in raised.value.hint


def test_a_name_and_its_level_come_apart():
    assert split_level("FF-DF_c40") == ("FF-DF", "c40")
    assert split_level("uniface_cdf") == ("uniface_cdf", "")
