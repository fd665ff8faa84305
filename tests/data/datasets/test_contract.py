"""The contract of every data set's layout, tested on a small replica of each."""

import shutil

import pytest

from deepscan.data.benchmarks.benchmark import SPLITS
from deepscan.data.datasets import DATASETS
from deepscan.errors import MissingError, UsageError

from .replicas import REPLICAS

EVERY_DATASET = pytest.mark.parametrize("name", DATASETS.names)
NEEDED = [(name, needed) for name, replica in REPLICAS.items() for needed in replica.needed]


def listed(name, root):
    return [(v.kind, v.split, v.compression, v.name) for v in DATASETS.get(name).videos(root)]


def test_every_layout_has_a_replica():
    assert set(REPLICAS) == set(DATASETS.names)


@EVERY_DATASET
def test_each_video_is_yielded_once_for_its_kind_split_and_compression(name, tmp_path):
    replica = REPLICAS[name]
    root = replica.write(tmp_path)
    # Lists may interleave kinds, so only the order within each kind is compared.
    found = listed(name, root)
    assert sorted(found) == sorted(replica.expected)
    for key in {video[:3] for video in found}:
        assert [v for v in found if v[:3] == key] == [v for v in replica.expected if v[:3] == key]
    assert listed(name, root) == found
    assert len(set(found)) == len(found)


@EVERY_DATASET
def test_paths_exist_or_are_where_the_file_is_expected(name, tmp_path):
    replica = REPLICAS[name]
    root = replica.write(tmp_path)
    for video in DATASETS.get(name).videos(root):
        status = replica.expected[video.kind, video.split, video.compression, video.name]
        # Missing listed files and broken links are yielded, so that readers can count them.
        assert video.path.exists() == (status != "error") and video.path.parent.exists()
        assert video.path.exists() or video.path.stem == video.name
        assert video.path.is_dir() == (video.frames not in ((), (video.path,)))
        assert all(video.path in (frame, frame.parent) for frame in video.frames)
        assert video.mask is None or video.mask.exists()


@EVERY_DATASET
def test_declared_kinds_and_levels_match_the_videos(name, tmp_path):
    layout = DATASETS.get(name)
    found = listed(name, REPLICAS[name].write(tmp_path))
    assert layout.dataset == name
    assert set(layout.kinds) == {kind for kind, *_ in found}
    # Readers of benchmark files derive the label from the ending of the name.
    assert [layout.labels[kind] for kind in layout.kinds] == [0] + [1] * (len(layout.kinds) - 1)
    assert {split for _, split, *_ in found} <= set(SPLITS)
    assert {bool(compression) for *_, compression, _ in found} == {layout.nested}


@EVERY_DATASET
def test_unrelated_files_are_ignored(name, tmp_path):
    root = REPLICAS[name].write(tmp_path)
    before = listed(name, root)
    folders = [path for path in sorted(root.rglob("*")) if path.is_dir()]
    for folder in (root, *folders):
        for stray in ("notes.txt", ".DS_Store", "._000.mp4", ".hidden.png"):
            (folder / stray).write_text("")
        if not any(path.suffix == ".png" for path in folder.iterdir()):
            (folder / "nothing here").mkdir()
    assert listed(name, root) == before


@pytest.mark.parametrize(("name", "needed"), NEEDED)
def test_a_missing_required_file_is_named(name, needed, tmp_path):
    root = REPLICAS[name].write(tmp_path)
    path = root / needed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MissingError) as raised:
        listed(name, root)
    assert path.name in raised.value.hint.split("; full layout: ")[0]


@pytest.mark.parametrize(("name", "needed"), NEEDED)
def test_an_empty_required_folder_is_an_error(name, needed, tmp_path):
    root = REPLICAS[name].write(tmp_path)
    path = root / needed
    if path.is_dir():
        shutil.rmtree(path)
        path.mkdir()
    else:
        path.write_text("")
    if name == "folders":
        # One of real and fake may be empty: a false positive rate needs no fakes.
        assert listed(name, root)
        return
    with pytest.raises((MissingError, UsageError)) as raised:
        listed(name, root)
    assert path.name in raised.value.message + raised.value.hint.split("; full layout: ")[0]


@EVERY_DATASET
def test_the_hint_for_a_missing_data_set_names_origin_and_layout(name, tmp_path):
    layout = DATASETS.get(name)
    with pytest.raises(MissingError) as raised:
        listed(name, tmp_path)
    hint = raised.value.hint
    assert layout.origin in hint and layout.expects in hint and "\n" not in raised.value.message + hint
    assert "https://" in layout.origin or name == "folders"
