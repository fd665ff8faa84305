"""FaceForensics++ and related data sets, with incomplete or irregular downloads."""

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


def test_videos_not_in_a_list_are_ignored(root):
    (root / YOUTUBE / "c23" / "videos" / "999.mp4").write_text("")
    assert "999" not in {video.name for video in videos(root)}


def test_suffixes_may_be_upper_case(root):
    path = root / YOUTUBE / "c23" / "videos" / "953.mp4"
    path.rename(path.with_suffix(".MP4"))
    assert path.with_suffix(".MP4") in {video.path for video in videos(root)}


def test_fakes_have_their_masks_in_every_compression(root):
    masked = {(v.kind, v.name, v.compression): v.mask for v in videos(root) if v.mask}
    assert masked == {
        ("FF-DF", name, compression): root / DEEPFAKES / "masks" / "videos" / f"{name}.mp4"
        for name in ("071_054", "953_974", "974_953", "001_002")
        for compression in ("c23", "c40")
    }


def test_a_compression_without_videos_is_ignored(root):
    (root / DEEPFAKES / "raw" / "videos").mkdir(parents=True)
    assert {video.compression for video in videos(root)} == {"c23", "c40"}


def test_all_three_compressions_are_read(root):
    lay(root, put(f"{DEEPFAKES}/raw/videos", "071_054") | put(f"{YOUTUBE}/raw/videos", "071"))
    assert Counter(video.compression for video in videos(root)) == {"raw": 16, "c23": 16, "c40": 16}


@pytest.mark.parametrize("folder", ["splits", "dataset/splits"])
def test_lists_may_be_in_the_folders_of_the_repository(root, folder):
    before = videos(root)
    (root / folder).mkdir(parents=True)
    for name in LISTS:
        (root / name).rename(root / folder / name)
    assert videos(root) == before


def test_the_hint_for_missing_lists_names_their_origin(root):
    (root / "val.json").unlink()
    with pytest.raises(MissingError) as raised:
        videos(root)
    assert "github.com/ondyari/FaceForensics/tree/master/dataset/splits" in raised.value.hint


def test_the_hint_for_a_missing_method_suggests_preparing_a_single_one(root):
    shutil.rmtree(root / MANIPULATED / "Face2Face")
    with pytest.raises(MissingError) as raised:
        videos(root, "FaceForensics++")
    assert "Face2Face" in raised.value.hint and "FF-DF" in raised.value.hint


def test_a_pair_listed_in_both_orders_counts_once(root):
    before = videos(root)
    pairs = json.loads(LISTS["test.json"])
    (root / "test.json").write_text(json.dumps([*pairs, [pairs[0][1], pairs[0][0]]]))
    assert videos(root) == before


@pytest.mark.parametrize("text", ['{"a": 1}', "[[1, 2]]", '[["071"]]', "[", "\ufeff["])
def test_an_invalid_list_is_rejected(root, text):
    (root / "test.json").write_text(text)
    with pytest.raises(UsageError, match=r"test\.json cannot be read"):
        videos(root)


def test_masks_of_actors_are_found(tmp_path):
    root = DEEPFAKEDETECTION.write(tmp_path)
    masked = {(v.kind, v.split, v.name): v.mask for v in videos(root, "DeepFakeDetection") if v.mask}
    mask = root / MANIPULATED / "DeepFakeDetection" / "masks" / "videos" / f"{SWAP}.mp4"
    assert masked == {("DFD_fake", split, SWAP): mask for split in ("train", "val", "test")}
