"""What every data set's layout keeps, on a small replica of each."""

import shutil

import pytest

from deepscan.data.benchmarks.benchmark import SPLITS
from deepscan.data.datasets import DATASETS
from deepscan.errors import MissingError, UsageError

from .replicas import REPLICAS

EVERY = pytest.mark.parametrize("name", DATASETS.names)
NEEDED = [(name, needed) for name, replica in REPLICAS.items() for needed in replica.needed]


def given(name, root):
    return [(v.kind, v.split, v.compression, v.name) for v in DATASETS.get(name).videos(root)]


def test_every_layout_has_a_replica():
    assert set(REPLICAS) == set(DATASETS.names)


@EVERY
def test_each_video_is_given_once_for_its_kind_split_and_compression(name, tmp_path):
    replica = REPLICAS[name]
    root = replica.write(tmp_path)
    # A list may name its kinds by turns: the order is the replica's within each kind alone.
    found = given(name, root)
    assert sorted(found) == sorted(replica.expected)
    for key in {video[:3] for video in found}:
        assert [v for v in found if v[:3] == key] == [v for v in replica.expected if v[:3] == key]
    assert given(name, root) == found
    assert len(set(found)) == len(found)


@EVERY
def test_what_is_given_is_on_disk_or_would_lie_there(name, tmp_path):
    replica = REPLICAS[name]
    root = replica.write(tmp_path)
    for video in DATASETS.get(name).videos(root):
        status = replica.expected[video.kind, video.split, video.compression, video.name]
        # Whoever reads it counts what a list names or a link leads to and is not there.
        assert video.path.exists() == (status != "error") and video.path.parent.exists()
        assert video.path.exists() or video.path.stem == video.name
        assert video.path.is_dir() == (video.frames not in ((), (video.path,)))
        assert all(video.path in (frame, frame.parent) for frame in video.frames)
        assert video.mask is None or video.mask.exists()


@EVERY
def test_labels_and_levels_are_those_of_what_is_given(name, tmp_path):
    layout = DATASETS.get(name)
    found = given(name, REPLICAS[name].write(tmp_path))
    assert layout.dataset == name
    assert set(layout.kinds) == {kind for kind, *_ in found}
    # Whoever reads a benchmark file knows a label by its end alone.
    assert [layout.labels[kind] for kind in layout.kinds] == [0] + [1] * (len(layout.kinds) - 1)
    assert {split for _, split, *_ in found} <= set(SPLITS)
    assert {bool(compression) for *_, compression, _ in found} == {layout.nested}


@EVERY
def test_what_does_not_belong_there_is_passed_over(name, tmp_path):
    root = REPLICAS[name].write(tmp_path)
    before = given(name, root)
    folders = [path for path in sorted(root.rglob("*")) if path.is_dir()]
    for folder in (root, *folders):
        for stray in ("notes.txt", ".DS_Store", "._000.mp4", ".hidden.png"):
            (folder / stray).write_text("")
        if not any(path.suffix == ".png" for path in folder.iterdir()):
            (folder / "nothing here").mkdir()
    assert given(name, root) == before


@pytest.mark.parametrize(("name", "needed"), NEEDED)
def test_what_has_to_be_there_is_named_when_it_is_not(name, needed, tmp_path):
    root = REPLICAS[name].write(tmp_path)
    path = root / needed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MissingError) as raised:
        given(name, root)
    assert path.name in raised.value.hint.split("; the whole layout: ")[0]


@pytest.mark.parametrize(("name", "needed"), NEEDED)
def test_a_folder_that_was_never_filled_is_not_taken_for_the_data_set(name, needed, tmp_path):
    root = REPLICAS[name].write(tmp_path)
    path = root / needed
    if path.is_dir():
        shutil.rmtree(path)
        path.mkdir()
    else:
        path.write_text("")
    if name == "folders":
        # Of real and fake one may be empty: a false alarm rate takes no fakes.
        assert given(name, root)
        return
    with pytest.raises((MissingError, UsageError)) as raised:
        given(name, root)
    assert path.name in raised.value.message + raised.value.hint.split("; the whole layout: ")[0]


@EVERY
def test_a_folder_without_the_data_set_gets_a_hint_of_one_line_that_says_where_it_is_given_out(
    name, tmp_path
):
    layout = DATASETS.get(name)
    with pytest.raises(MissingError) as raised:
        given(name, tmp_path)
    hint = raised.value.hint
    assert layout.origin in hint and layout.expects in hint and "\n" not in raised.value.message + hint
    assert "https://" in layout.origin or name == "folders"
