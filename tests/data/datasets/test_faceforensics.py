"""FaceForensics++ and its kin, where a download is not quite as it should be."""

import json
import shutil
from collections import Counter

import pytest

from deepscan.data.datasets import DATASETS
from deepscan.errors import MissingError, UsageError

from .faceforensics_replicas import DEEPFAKEDETECTION, LISTS, MANIPULATED, SWAP, YOUTUBE, part
from .replica import lay, put

DEEPFAKES = f"{MANIPULATED}/Deepfakes"


@pytest.fixture
def root(tmp_path):
    return part("FF-DF").write(tmp_path)


def videos(root, name="FF-DF"):
    return list(DATASETS.get(name).videos(root))


def test_a_video_of_no_list_is_none_of_the_data_set(root):
    (root / YOUTUBE / "c23" / "videos" / "999.mp4").write_text("")
    assert "999" not in {video.name for video in videos(root)}


def test_suffixes_may_be_written_large(root):
    path = root / YOUTUBE / "c23" / "videos" / "953.mp4"
    path.rename(path.with_suffix(".MP4"))
    assert path.with_suffix(".MP4") in {video.path for video in videos(root)}


def test_masks_are_of_the_fakes_that_have_one_whatever_the_compression(root):
    masked = {(v.kind, v.name, v.compression): v.mask for v in videos(root) if v.mask}
    assert masked == {
        ("FF-DF", name, compression): root / DEEPFAKES / "masks" / "videos" / f"{name}.mp4"
        for name in ("071_054", "953_974", "974_953", "001_002")
        for compression in ("c23", "c40")
    }


def test_a_compression_without_videos_is_not_there(root):
    (root / DEEPFAKES / "raw" / "videos").mkdir(parents=True)
    assert {video.compression for video in videos(root)} == {"c23", "c40"}


def test_all_three_compressions_are_given(root):
    lay(root, put(f"{DEEPFAKES}/raw/videos", "071_054") | put(f"{YOUTUBE}/raw/videos", "071"))
    assert Counter(video.compression for video in videos(root)) == {"raw": 16, "c23": 16, "c40": 16}


@pytest.mark.parametrize("folder", ["splits", "dataset/splits"])
def test_lists_may_lie_where_the_repository_has_them(root, folder):
    before = videos(root)
    (root / folder).mkdir(parents=True)
    for name in LISTS:
        (root / name).rename(root / folder / name)
    assert videos(root) == before


def test_without_lists_the_hint_says_where_they_are_given_out(root):
    (root / "val.json").unlink()
    with pytest.raises(MissingError) as raised:
        videos(root)
    assert "github.com/ondyari/FaceForensics/tree/master/dataset/splits" in raised.value.hint


def test_whoever_has_one_method_is_told_that_it_can_be_prepared_alone(root):
    shutil.rmtree(root / MANIPULATED / "Face2Face")
    with pytest.raises(MissingError) as raised:
        videos(root, "FaceForensics++")
    assert "Face2Face" in raised.value.hint and "FF-DF" in raised.value.hint


def test_a_pair_named_both_ways_is_one(root):
    before = videos(root)
    pairs = json.loads(LISTS["test.json"])
    (root / "test.json").write_text(json.dumps([*pairs, [pairs[0][1], pairs[0][0]]]))
    assert videos(root) == before


@pytest.mark.parametrize("text", ['{"a": 1}', "[[1, 2]]", '[["071"]]', "[", "\ufeff["])
def test_a_list_that_says_something_else_is_refused_by_name(root, text):
    (root / "test.json").write_text(text)
    with pytest.raises(UsageError, match=r"test\.json cannot be read"):
        videos(root)


def test_masks_of_actors_are_found(tmp_path):
    root = DEEPFAKEDETECTION.write(tmp_path)
    masked = {(v.kind, v.split, v.name): v.mask for v in videos(root, "DeepFakeDetection") if v.mask}
    mask = root / MANIPULATED / "DeepFakeDetection" / "masks" / "videos" / f"{SWAP}.mp4"
    assert masked == {("DFD_fake", split, SWAP): mask for split in ("train", "val", "test")}
