"""Benchmark files in every published variant: what is read, skipped and rejected."""

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
    frames = tuple(str(tmp_path / f"UADFV/UADFV_Fake/frames/0000/{frame:03d}.png") for frame in (0, 1))
    assert read.videos[2] == FaceVideo("UADFV", "UADFV_Fake", 1, "val", "0000", frames)
    assert _places(read.videos) == [
        (kind, split, "0000") for kind in ("UADFV_Real", "UADFV_Fake") for split in ("val", "test")
    ]
    assert [video.label for video in read.videos] == [0, 0, 1, 1]
    assert read.dropped == {}


def test_splits_and_kinds_are_selected_and_reals_are_kept(tmp_path):
    assert {video.split for video in read_benchmark(uadfv(tmp_path), splits=["test"]).videos} == {"test"}
    read = read_benchmark(ff(tmp_path), kinds=["FF-NT"])
    assert [video.kind for video in read.videos] == ["FF-real", "FF-NT"]


@pytest.mark.parametrize(
    ("name", "requested", "level"),
    [
        ("FaceForensics++", None, "c23"),
        ("FaceForensics++", "c40", "c40"),
        ("FaceForensics++_c40", None, "c40"),
        ("FaceForensics++_c40", "c23", "c23"),
    ],
)
def test_a_compression_level_is_selected(tmp_path, name, requested, level):
    videos = read_benchmark(ff(tmp_path, name=name, key="FaceForensics++"), compression=requested).videos
    assert [video.compression for video in videos] == [level] * 3
    assert all(f"/{level}/" in frame for video in videos for frame in video.frames)
    assert {video.dataset for video in videos} == {name}


def test_levels_are_detected_by_content_not_by_the_name_of_the_data_set(tmp_path):
    videos = read_benchmark(ff(tmp_path, ["raw"], "simswap_ff", "roop")).videos
    assert [(video.name, video.compression) for video in videos] == [
        ("000", "raw"),
        ("000_003", "raw"),
        ("000_003", "raw"),
    ]
    # A requested level is ignored for a data set without levels.
    assert {video.compression for video in read_benchmark(uadfv(tmp_path), compression="c23").videos} == {""}


def test_a_video_may_have_the_name_of_a_level(tmp_path):
    frames = crops(tmp_path, "x/raw")
    path = file(tmp_path, {"UADFV_Fake": {"test": {"raw": entry("UADFV_Fake", frames)}}})
    (video,) = read_benchmark(path).videos
    assert (video.name, video.compression, len(video.frames)) == ("raw", "", 2)


def test_several_levels_without_the_default_need_a_choice(tmp_path):
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
def test_a_label_is_real_if_its_name_ends_in_real(name, label):
    assert label_of(name) == label


def test_labels_can_be_overridden(tmp_path):
    kinds = {
        kind: {"test": {"a": entry(label, crops(tmp_path, f"{kind}/a"))}}
        for kind, label in (
            *(("pristine", "pristine"), ("youtube", "real"), ("surreal", "surreal"), ("x", 0)),
            ("x_Fake", None),
        )
    }
    path = file(tmp_path, kinds)
    assert [video.label for video in read_benchmark(path).videos] == [1, 0, 0, 0, 1]
    labels = {"pristine": 0, "surreal": 1, "x": 1}
    assert [video.label for video in read_benchmark(path, labels=labels).videos] == [0, 0, 1, 1, 1]


def test_frames_are_sorted_by_number(tmp_path):
    names = ["10.png", "9.png", "000.png", "100.png"]
    (tmp_path / "a").mkdir()
    path = file(tmp_path, {"x_Fake": {"test": {"a": entry("x_Fake", [f"a/{name}" for name in names])}}})
    (video,) = read_benchmark(path).videos
    assert [os.path.basename(frame) for frame in video.frames] == ["000.png", "9.png", "10.png", "100.png"]


def test_masks_are_matched_by_frame_number(tmp_path):
    videos = {video.kind: video for video in read_benchmark(ff(tmp_path), compression="c40").videos}
    swap = videos["FF-DF"]
    # The masks of all levels are those of c23, listed backwards.
    assert [os.path.relpath(mask, tmp_path) for mask in swap.masks] == [
        f"ff/FF-DF/c23/masks/000_003/{frame:03d}.png" for frame in (0, 1)
    ]
    assert videos["FF-NT"].masks == ()


@pytest.mark.parametrize(
    ("frames", "masks", "expected"),
    [((0, 1, 2), (2, 0), ["000.png", "", "002.png"]), ((3, 7), (0, 1), ["000.png", "001.png"])],
)
def test_frames_may_lack_masks_and_masks_of_other_names_are_matched_by_order(
    tmp_path, frames, masks, expected
):
    video = entry("x_Fake", crops(tmp_path, "f/a", frames), masks=crops(tmp_path, "m/a", masks))
    (video,) = read_benchmark(file(tmp_path, {"x_Fake": {"test": {"a": video}}})).videos
    assert [os.path.basename(mask) for mask in video.masks] == expected


def test_skipped_videos_are_reported(tmp_path):
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
    # A crop that is missing from an existing folder is noticed when it is read.
    assert [video.name for video in read.videos] == ["a", "gone"]
    assert read.dropped == {"no frames": 2, "no file": 1, "duplicate": 1}
    assert Drop("duplicate", "x_Fake", "test", "again") in read.drops


def test_the_second_video_of_a_name_is_skipped(tmp_path):
    first, second = (json.dumps(entry("x_Fake", crops(tmp_path, f"x/{name}"))) for name in "ab")
    text = '{"UADFV": {"x_Fake": {"test": {"v": %s, "v": %s, "w": %s}}}}'
    path = file(tmp_path, text % (first, second, second))
    read = read_benchmark(path)
    assert [(video.name, video.frames[0][-9:]) for video in read.videos] == [
        ("v", "a/000.png"),
        ("w", "b/000.png"),
    ]
    assert read.drops == (Drop("duplicate", "x_Fake", "test", "v"),)


def test_the_same_name_in_other_kinds_or_splits_is_not_a_duplicate(tmp_path):
    assert read_benchmark(ff(tmp_path)).dropped == read_benchmark(uadfv(tmp_path)).dropped == {}


def test_an_unnamed_video_instead_of_a_split_is_named_after_its_folder(tmp_path):
    val = {**entry("DFDC_Fake", crops(tmp_path, "test/frames/abc")), "xyz": entry("DFDC_Fake", [])}
    read = read_benchmark(file(tmp_path, {"DFDC_Fake": {"test": {}, "val": val}}, "DFDC"))
    assert [(video.name, video.split) for video in read.videos] == [("abc", "val")]
    assert read.drops == (Drop("no frames", "DFDC_Fake", "val", "xyz"),)


def test_a_data_set_of_one_class_is_read(tmp_path):
    path = file(tmp_path, {"x_Fake": {"test": {"a": entry("x_Fake", crops(tmp_path, "a"))}}})
    assert [video.label for video in read_benchmark(path).videos] == [1]


def test_other_names_of_val_are_accepted(tmp_path):
    path = file(tmp_path, {"x_Fake": {"Validation": {"a": entry("x_Fake", crops(tmp_path, "a"))}}})
    assert read_benchmark(path, splits=["val"]).videos[0].split == "val"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "structure: the file: not an object"),
        ("{}", "has 0 data sets"),
        ('{"a": {}, "b": {}}', "has 2 data sets, none of them named UADFV"),
        ('{"UADFV": {"k": []}}', "structure: k: not an object"),
        ('{"UADFV": {"k": {"a video": {"frames": []}}}}', "k/a video: not a split"),
        ('{"UADFV": {"k": {"test": []}}}', "k/test: not an object"),
        ('{"UADFV": {"k": {"test": {"v": ["0.png"]}}}}', "k/test/v: not an object"),
        ('{"UADFV": {"k": {"test": {"v": {"frames": "0.png"}}}}}', "k/test/v: not a list of paths"),
        ('{"UADFV": {"k": {"test": {"v": {"frames": [0]}}}}}', "k/test/v: not a list of paths"),
        ('{"UADFV": {"k": {"test": {}, "test": {}}}}', "k: 'test' occurs twice"),
        ('{"UADFV": {"k": {"test": {"c23": {}, "c23": {}}}}}', "k/test: 'c23' occurs twice"),
    ],
)
def test_files_of_another_structure_are_rejected(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as raised:
        read_benchmark(file(tmp_path, text))
    assert "\n" not in raised.value.hint


def test_a_binary_file_is_rejected(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UsageError, match="is not JSON"):
        read_benchmark(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("requested", "message", "hint"),
    [
        ({"splits": ["tests"]}, "no split 'tests'", "did you mean 'test'?"),
        ({"splits": ["val"]}, "no split 'val'", "choose from: train, test"),
        ({"kinds": ["FF-FD"]}, "no kind 'FF-FD'", "did you mean 'FF-DF'?"),
        ({"compression": "c32"}, "no compression 'c32'", "did you mean 'c23'?"),
        ({"compression": "raw"}, "no compression in FF-real/train 'raw'", "choose from: c23, c40"),
    ],
)
def test_unknown_splits_kinds_and_compressions_are_rejected_with_a_hint(tmp_path, requested, message, hint):
    with pytest.raises(UsageError, match=message) as raised:
        read_benchmark(ff(tmp_path), **requested)
    assert raised.value.hint == hint


def test_a_file_whose_crops_are_all_missing_is_rejected(tmp_path):
    path = file(tmp_path, {"x_Fake": {"test": {"a": entry("x_Fake", ["lost\\a\\000.png"])}}})
    with pytest.raises(MissingError, match=r"none of the crops .* for example lost/a/000\.png") as raised:
        read_benchmark(path)
    assert "--root" in raised.value.hint


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(MissingError, match=r"x\.json does not exist"):
        read_benchmark(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("requested", "existing"),
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
def test_the_file_of_a_data_set_is_found(tmp_path, requested, existing):
    # Next to files of similar names.
    for path in ("DFDC-Preview.json", "Celeb-DF-v1.json", "simswap_cdf.json", existing):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert find_benchmark(tmp_path, requested) == tmp_path / existing


def test_an_exact_name_takes_precedence(tmp_path):
    for path in ("FF-DF.json", "FF-DF_c40.json", "test_FFIW.json", "FFIW.json"):
        (tmp_path / path).touch()
    assert find_benchmark(tmp_path, "FF-DF_c40").name == "FF-DF_c40.json"
    assert find_benchmark(tmp_path, "FFIW").name == "FFIW.json"
    assert find_benchmark(tmp_path, "test_FFIW").name == "test_FFIW.json"


@pytest.mark.parametrize("data", ["existing", "missing"])
def test_a_missing_data_set_has_a_hint_to_prepare_it(tmp_path, data):
    (tmp_path / "existing").mkdir()
    with pytest.raises(MissingError, match=r"simswap_ff\.json is not in") as raised:
        find_benchmark(tmp_path / data, "simswap_ff")
    assert "deepscan prepare simswap_ff" in raised.value.hint


def test_name_and_level_are_split():
    assert split_level("FF-DF_c40") == ("FF-DF", "c40")
    assert split_level("uniface_cdf") == ("uniface_cdf", "")
