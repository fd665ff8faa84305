"""Benchmark files are written in the format that DeepfakeBench and this program read."""

import json
import os

import pytest

from deepscan.data.benchmarks.benchmark import Benchmark, FaceVideo, read_benchmark, write_benchmark

from .benchmark_files import crops


def _videos(tmp_path, dataset, compression=""):
    """Crops inside and outside the file's folder, some with masks."""
    kinds = (("x_Real", 0, "train"), ("x_Fake", 1, "train"), ("x_Fake", 1, "test"))
    for kind, label, split in kinds:
        frames = crops(tmp_path, f"crops/{kind}/{split}/ä b", (2, 10))
        masks = crops(tmp_path, f"out/masks/{kind}/{split}", (2, 10)) if label else ()
        yield FaceVideo(
            dataset,
            kind,
            label,
            split,
            "ä b",
            tuple(str(tmp_path / frame) for frame in frames),
            tuple(str(tmp_path / mask) for mask in masks),
            compression,
        )


@pytest.mark.parametrize(("name", "level"), [("x", ""), ("x", "c23"), ("x_c40", "c40")])
def test_files_round_trip(tmp_path, name, level):
    videos = tuple(_videos(tmp_path, name, level))
    path = tmp_path / "out" / f"{name}.json"
    write_benchmark(path, videos, nested=bool(level))
    assert read_benchmark(path) == Benchmark(tuple(sorted(videos, key=lambda video: video.kind != "x_Real")))
    assert set(os.listdir(path.parent)) == {"masks", path.name}


def test_the_file_has_the_structure_that_deepfakebench_expects(tmp_path):
    path = tmp_path / "out" / "x_c40.json"
    write_benchmark(path, _videos(tmp_path, "x_c40", "c40"), nested=True)
    stored = json.loads(path.read_text())["x"]
    assert all(set(stored[kind][split]) == {"c40"} for kind in stored for split in ("train", "val", "test"))
    assert stored["x_Fake"]["test"]["c40"]["ä b"] == {
        "label": "x_Fake",
        "frames": ["../crops/x_Fake/test/ä b/002.png", "../crops/x_Fake/test/ä b/010.png"],
        "masks": ["masks/x_Fake/test/002.png", "masks/x_Fake/test/010.png"],
    }


def test_file_and_crops_can_be_moved_together(tmp_path):
    videos = [
        FaceVideo("x", "x_Fake", 1, "test", "a", (str(tmp_path / "here" / crops(tmp_path / "here", "a")[0]),))
    ]
    write_benchmark(tmp_path / "here" / "x.json", videos, nested=False)
    (tmp_path / "here").rename(tmp_path / "there")
    assert read_benchmark(tmp_path / "there/x.json").videos[0].frames == (str(tmp_path / "there/a/000.png"),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "original", "label": 0}, "'original' does not match the label 0"),
        ({"compression": "c23"}, "nested=False"),
        ({}, "two videos named 'a'"),
    ],
)
def test_videos_that_would_not_round_trip_are_rejected(tmp_path, change, message):
    plain = {"dataset": "x", "kind": "x_Fake", "label": 1, "split": "test", "name": "a", "frames": ("0.png",)}
    videos = [FaceVideo(**plain), FaceVideo(**{**plain, **change})]
    with pytest.raises(ValueError, match=message):
        write_benchmark(tmp_path / "x.json", videos, nested=False)
    assert list(tmp_path.iterdir()) == []


def test_a_video_validates_its_fields():
    plain = {"dataset": "x", "kind": "k", "label": 1, "split": "test", "name": "a", "frames": ("0", "1")}
    for change in ({"label": 2}, {"split": "tests"}, {"masks": ("0",)}):
        with pytest.raises(ValueError):
            FaceVideo(**{**plain, **change})
