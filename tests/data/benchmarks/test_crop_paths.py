"""Crops of a benchmark file are located for every published form of paths."""

import os

import pytest

from deepscan.data.benchmarks.benchmark import read_benchmark
from deepscan.data.benchmarks.benchmark_file import CropPaths, frame_order

from .benchmark_files import crops, entry, file, uadfv


def test_digits_in_names_are_compared_as_numbers():
    names = ["a/frame_10.jpg", "a/7.png", "a/frame_9.jpg", "a/img", "a/07b.png"]
    assert sorted(names, key=frame_order) == [
        "a/7.png",
        "a/07b.png",
        "a/frame_9.jpg",
        "a/frame_10.jpg",
        "a/img",
    ]


@pytest.mark.parametrize(
    "listed",
    [
        "UADFV\\real\\frames\\0000\\{}",
        "./datasets/rgb/UADFV/real/frames/0000/{}",
        ".\\datasets\\rgb\\UADFV\\real\\frames\\0000\\{}",
        "./datasets/UADFV/real/frames/0000/{}",
        "deepfakes_detection_datasets/UADFV/real/frames/0000/{}",
        "/somewhere/else/deepfakes_detection_datasets/UADFV/real/frames/0000/{}",
        "D:\\mine\\datasets\\UADFV\\real\\frames\\0000\\{}",
        "../crops/UADFV/real/frames/0000/{}",
    ],
)
def test_crops_are_found_under_the_root(tmp_path, listed):
    found = crops(tmp_path / "crops", "UADFV/real/frames/0000")
    video = entry("UADFV_Real", [listed.format(os.path.basename(frame)) for frame in found])
    path = file(tmp_path / "dataset_json", {"UADFV_Real": {"test": {"0000": video}}})
    (video,) = read_benchmark(path, root=tmp_path / "crops").videos
    assert video.frames == tuple(str(tmp_path / "crops" / frame) for frame in found)


def test_absolute_paths_and_paths_relative_to_the_parent_need_no_root(tmp_path):
    absolute = [str(tmp_path / frame) for frame in crops(tmp_path, "a/1")]
    relative = crops(tmp_path, "b/2")
    kinds = {"x_Real": {"test": {"1": entry("x_Real", absolute), "2": entry("x_Real", relative)}}}
    videos = read_benchmark(file(tmp_path / "dataset_json", kinds)).videos
    assert [video.frames for video in videos] == [
        tuple(str(tmp_path / frame) for frame in frames) for frames in (crops(tmp_path, "a/1"), relative)
    ]


def test_a_root_takes_precedence_over_the_files_folder(tmp_path):
    crops(tmp_path / "given", "UADFV/UADFV_Real/frames/0000")
    crops(tmp_path / "given", "UADFV/UADFV_Fake/frames/0000")
    videos = read_benchmark(uadfv(tmp_path), root=tmp_path / "given").videos
    assert all(frame.startswith(f"{tmp_path}/given/") for video in videos for frame in video.frames)


def test_videos_of_one_kind_may_have_different_prefixes_and_bases(tmp_path):
    names = {"1": "UADFV/a/1/000.png", "2": "./datasets/rgb/UADFV/a/2/000.png", "3": "b/3/000.png"}
    for folder, video in (("crops/UADFV", "a/1"), ("crops/UADFV", "a/2"), ("json", "b/3")):
        crops(tmp_path / folder, video, (0,))
    kinds = {"x_Fake": {"test": {name: entry("x_Fake", [path]) for name, path in names.items()}}}
    read = read_benchmark(file(tmp_path / "json", kinds), root=tmp_path / "crops")
    assert [os.path.relpath(video.frames[0], tmp_path) for video in read.videos] == [
        "crops/UADFV/a/1/000.png",
        "crops/UADFV/a/2/000.png",
        "json/b/3/000.png",
    ]


def test_crops_are_not_checked_one_by_one(tmp_path, monkeypatch):
    frames = crops(tmp_path, "data/a", range(50)) + crops(tmp_path, "data/b", range(50))
    checked = []
    for name in ("isfile", "isdir"):
        original = getattr(os.path, name)
        monkeypatch.setattr(
            os.path, name, lambda path, original=original: checked.append(path) or original(path)
        )
    places = CropPaths([tmp_path])
    assert places.locate("x", frames[:50]) == tuple(str(tmp_path / frame) for frame in frames[:50])
    assert places.locate("x", frames[50:]) == tuple(str(tmp_path / frame) for frame in frames[50:])
    assert places.locate("x", ["data/a/another.png"]) == (str(tmp_path / "data/a/another.png"),)
    assert checked == [str(tmp_path / "data/a/000.png"), str(tmp_path / "data/a"), str(tmp_path / "data/b")]
