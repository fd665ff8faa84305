"""Preparing a small data set: crops, benchmark file, journal, and resuming an earlier run."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import cv2
import pytest

from deepscan import devices
from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import read_benchmark
from deepscan.data.crops import prepare as prepare_module
from deepscan.data.crops.prepare import PrepareListener, PrepareOptions, prepare_dataset
from deepscan.data.crops.prepared_files import read_crop_recipe
from deepscan.data.datasets.layout import SourceVideo
from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError
from deepscan.faces.finder import open_finder

from .numbered import Finder, Replica

#: Videos are decoded by processes.
pytestmark = pytest.mark.slow


class Recorder(PrepareListener):
    """Records all events."""

    def __init__(self):
        self.plans, self.lines = [], []

    def planned(self, todo, done):
        self.plans.append((todo, done))

    def ended(self, line):
        self.lines.append(line)


def test_the_benchmark_has_videos_with_faces_and_the_journal_has_all(data):
    data.put("plain", "c23/R_real/train/one.mp4", "c40/R_real/train/one.mp4")
    data.put("other", "c23/R_fake/train/before.mp4")
    data.put("faceless", "c23/R_fake/test/three.mp4")
    data.put("empty", "c23/R_real/test/four.mp4")
    recorder = Recorder()
    prepared = data.prepare(recorder)
    assert prepared.json == data.out / "Replica.json"
    assert prepared.videos == 2
    assert int(prepared.exit_code) == 3, "a file that cannot be decoded is a failure"
    found = {(line["kind"], line["split"], line["name"]): line for line in data.journal()}
    assert {key: (line["status"], line["sampled"], line["faces"]) for key, line in found.items()} == {
        ("R_real", "train", "one"): ("ok", 3, 3),
        ("R_fake", "train", "before"): ("ok", 3, 3),
        ("R_fake", "test", "three"): ("no_face", 3, 0),
        ("R_real", "test", "four"): ("decode_error", 0, 0),
    }, "nothing of c40, which was not requested"
    assert recorder.plans == [(4, 0)]
    assert sorted(recorder.lines, key=json.dumps) == data.journal()
    videos = read_benchmark(prepared.json).videos
    assert [(v.kind, v.label, v.split, v.name, v.compression) for v in videos] == [
        ("R_real", 0, "train", "one", "c23"),
        ("R_fake", 1, "train", "before", "c23"),
    ], "sorted by kinds of the layout, whichever ended first"
    base = "Replica/c23/R_real"
    written = {name for name in data.files() if name.startswith(base)}
    assert written == {f"{base}/frames/one/{at:03}.png" for at in (0, 3, 6)} | {
        f"{base}/landmarks/one/{at:03}.npy" for at in (0, 3, 6)
    }
    assert not (data.out / "Replica/c23/R_fake/frames/three").exists()


def test_a_video_of_several_splits_is_cut_once(data, decoded):
    data.put("other", "c23/R_real/all/one.mp4")
    data.prepare(splits=("test",))
    videos = read_benchmark(data.prepare().json).videos
    assert [video.split for video in videos] == ["train", "val", "test"]
    assert len({video.frames for video in videos}) == 1
    assert decoded == {"one.mp4": 1}


def test_a_changed_video_is_updated_in_all_of_its_splits(data):
    data.put("other", "c23/R_real/all/one.mp4")
    data.prepare(splits=("test",))
    data.put("plain", "c23/R_real/all/one.mp4")
    recorder = Recorder()
    videos = read_benchmark(data.prepare(recorder, splits=("val",)).json).videos
    assert recorder.plans == [(2, 0)]
    assert [video.split for video in videos] == ["val", "test"], (
        "splits that were not requested are not added"
    )
    for video in videos:
        assert [Path(frame).name for frame in video.frames] == ["000.png", "003.png", "006.png"]
        assert all(Path(frame).is_file() for frame in video.frames)


def test_videos_of_one_name_in_two_splits_do_not_share_a_folder(data):
    data.put("plain", "c23/R_real/train/one.mp4")
    data.put("other", "c23/R_real/val/one.mp4")
    videos = read_benchmark(data.prepare().json).videos
    assert [(video.split, video.name) for video in videos] == [("train", "one"), ("val", "one")]
    stems = [[path.rsplit("/", 1)[1] for path in video.frames] for video in videos]
    assert stems == [["000.png", "003.png", "006.png"], ["000.png", "001.png", "003.png"]]
    assert all(Path(path).is_file() for video in videos for path in video.frames)
    assert len({Path(video.frames[0]).parent for video in videos}) == 2


def test_a_video_listed_twice_counts_once(data, monkeypatch, decoded):
    data.put("other", "c23/R_real/test/one.mp4")
    once = Replica.videos
    monkeypatch.setattr(Replica, "videos", lambda self, root: [*once(self, root), *once(self, root)])
    prepared = data.prepare()
    assert (prepared.videos, prepared.repeated, len(prepared.lines)) == (1, 1, 1)
    assert decoded == {"one.mp4": 1}


def test_byte_identical_videos_are_reported_and_kept(data):
    data.put("other", "c23/R_real/all/one.mp4", "c23/R_fake/test/two.mp4")
    data.put("plain", "c23/R_fake/test/three.mp4")
    data.put("empty", "c23/R_fake/test/four.mp4", "c23/R_fake/test/five.mp4")
    assert not data.prepare(kinds=("R_fake",)).same, "videos without crops are not reported"
    prepared = data.prepare()
    assert prepared.videos == 5
    # The same path in three splits counts as one video.
    assert [[(line["kind"], line["name"]) for line in group] for group in prepared.same] == [
        [("R_fake", "two"), ("R_real", "one")]
    ]
    hashes = {line["name"]: line["sha256"] for line in data.journal()}
    assert (
        hashes["one"]
        == hashes["two"]
        == sha256((data.root / "c23/R_fake/test/two.mp4").read_bytes()).hexdigest()
    )
    assert hashes["three"] != hashes["one"]


def test_a_kind_missing_in_a_compression_is_an_error(data):
    data.put("other", "c23/R_real/test/one.mp4", "c23/R_fake/test/two.mp4", "c40/R_real/test/one.mp4")
    with pytest.raises(MissingError, match="has no R_fake in c40") as raised:
        data.prepare(compression="c40", kinds=())
    assert "--kind" in raised.value.hint
    assert data.files() == set()
    assert data.prepare(compression="c40", kinds=("R_real",)).videos == 1


def test_names_unsuitable_for_folders_are_replaced(data, monkeypatch):
    names = ("a\\b", "a_b", "c/d", "ä" * 200)
    files = [data.put("other", f"c23/R_real/test/{at}.mp4") for at in range(len(names))]
    videos = [
        SourceVideo(file, "R_real", "test", name, "c23") for file, name in zip(files, names, strict=True)
    ]
    monkeypatch.setattr(Replica, "videos", lambda self, root: videos)
    read = read_benchmark(data.prepare(kinds=("R_real",)).json)
    assert {video.name for video in read.videos} == set(names), "the benchmark keeps the original names"
    assert not read.drops
    assert len({Path(video.frames[0]).parent for video in read.videos}) == len(names)


def test_splits_kinds_and_compressions_can_be_prepared_one_after_another(data, decoded):
    for number in range(3):
        data.put("other", f"c23/R_real/train/r{number}.mp4")
        data.put("other", f"c23/R_fake/test/f{number}.mp4")
    data.put("other", "c40/R_real/train/c.mp4")
    assert data.prepare(limit=1).videos == 2
    assert sorted(decoded) == ["f0.mp4", "r0.mp4"]
    assert data.prepare(splits=("train",)).videos == 4
    assert data.prepare(kinds=("R_fake",)).videos == 6
    assert data.prepare(compression="c40", kinds=("R_real",)).videos == 7
    assert set(decoded.values()) == {1}
    assert {v.name for v in read_benchmark(data.out / "Replica.json", compression="c40").videos} == {"c"}
    assert len(read_benchmark(data.out / "Replica.json").videos) == 6


def test_a_finished_video_is_cut_again_only_if_its_file_or_crops_change(data, decoded):
    for name in ("one", "two", "three"):
        data.put("other", f"c23/R_real/train/{name}.mp4")
    data.put("empty", "c23/R_real/train/late.mp4")
    data.put("faceless", "c23/R_real/train/blank.mp4")
    data.prepare()
    before = (data.journal(), (data.out / "Replica.json").read_bytes())
    decoded.clear()
    data.prepare()
    assert not decoded
    assert (data.journal(), (data.out / "Replica.json").read_bytes()) == before
    data.put("plain", "c23/R_real/train/late.mp4")
    (data.out / "Replica/c23/R_real/frames/two/001.png").write_bytes(b"")
    shutil.rmtree(data.out / "Replica/c23/R_real/frames/three")
    (data.out / "Replica/c23/R_real/landmarks/one/001.npy").unlink()
    assert data.prepare().videos == 4
    assert decoded == {"late.mp4": 1, "one.mp4": 1, "two.mp4": 1, "three.mp4": 1}
    decoded.clear()
    data.prepare(retry=frozenset({"no_face"}))
    assert decoded == {"blank.mp4": 1}


def test_a_run_with_other_settings_is_not_resumed(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.prepare()
    before = data.files()
    for other in (
        {"frames": 2},
        {"faces": "exact"},
        {"faces_device": "cuda"},
        {"recipe": CropRecipe(side=48)},
    ):
        with pytest.raises(ContractError, match=r"was prepared with other settings: \w+ was "):
            data.prepare(**other)
    assert data.files() == before
    data.prepare(frames=2, overwrite=True)
    (video,) = read_benchmark(data.out / "Replica.json").videos
    assert [path.rsplit("/", 1)[1] for path in video.frames] == ["000.png", "003.png"]
    assert not (data.out / "Replica/c23/R_real/frames/one/001.png").exists(), (
        "frames of the first run are removed"
    )


def test_a_missing_device_leaves_no_files(data, monkeypatch):
    data.put("other", "c23/R_real/train/one.mp4")
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    monkeypatch.setattr(prepare_module, "open_finder", open_finder)
    with pytest.raises(MissingError, match="--faces-device cuda"):
        data.prepare(faces_device="cuda")
    monkeypatch.setattr(prepare_module, "open_finder", Finder)
    data.prepare()


def test_another_root_needs_another_name(data, tmp_path):
    data.put("other", "c23/R_real/train/one.mp4")
    data.prepare()
    data.root.rename(tmp_path / "moved")
    data.root = tmp_path / "moved"
    with pytest.raises(ContractError, match="root was"):
        data.prepare()
    prepared = data.prepare(name="second")
    assert prepared.json == data.out / "second.json"
    assert read_benchmark(prepared.json).videos[0].dataset == "second"


def test_a_foreign_file_of_the_same_name_is_kept(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.out.mkdir()
    (data.out / "Replica.json").write_text("precious")
    with pytest.raises(UsageError, match="with its settings does not"):
        data.prepare()
    assert (data.out / "Replica.json").read_text() == "precious"


def test_an_overwrite_without_videos_keeps_the_existing_files(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.prepare()
    before = {name: (data.out / name).read_bytes() for name in data.files()}
    with pytest.raises(MissingError, match="no such video"):
        data.prepare(overwrite=True, splits=("val",))
    assert {name: (data.out / name).read_bytes() for name in data.files()} == before


def test_crops_are_never_written_into_the_data_set(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.root.rename(data.root.parent / "Replica")
    data.root = data.out = data.root.parent / "Replica"
    with pytest.raises(UsageError, match="into the data set"):
        prepare_dataset(Replica(), data.root, data.root.parent, PrepareOptions())


def test_a_data_set_without_any_face_gives_no_benchmark(data):
    data.put("faceless", "c23/R_real/train/one.mp4")
    data.put("empty", "c23/R_fake/train/two.mp4")
    with pytest.raises(UsageError, match=r"no video gave a crop: 1 no_face, 1 decode_error$"):
        data.prepare()
    assert not (data.out / "Replica.json").exists()


def test_a_crop_that_cannot_be_written_ends_the_run(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.out.mkdir()
    (data.out / "Replica").write_text("in the way")
    with pytest.raises(DeepscanError, match="cannot be written") as raised:
        data.prepare()
    assert "run the command again" in raised.value.hint
    assert data.journal() == []


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"kinds": ("R_fale",)}, "did you mean 'R_fake'?"),
        ({"splits": ("dev",)}, "choose from: train, val, test"),
        ({"compression": "c32"}, "did you mean 'c23'?"),
        ({"faces": "quick"}, "choose from: fast, exact, facenet"),
        ({"faces_device": "auto"}, "choose from: cpu, cuda"),
        ({"retry": frozenset({"noface"})}, "did you mean 'no_face'?"),
        ({"frames": 0}, "leave it out for its default"),
        ({"name": "a/b"}, "use a name without slashes"),
        ({"name": "a\\b"}, "use a name without slashes"),
    ],
)
def test_options_are_validated(data, options, hint):
    data.put("other", "c23/R_real/train/one.mp4")
    with pytest.raises(UsageError) as raised:
        data.prepare(**options)
    assert raised.value.hint == hint


def test_a_name_that_cannot_be_a_folder_is_rejected(data, monkeypatch):
    path = data.put("other", "c23/R_real/train/one.mp4")
    video = SourceVideo(path, "R_real", "train", "..", "c23")
    monkeypatch.setattr(Replica, "videos", lambda self, root: [video])
    with pytest.raises(ContractError, match=r"a video named '\.\.'"):
        data.prepare()


def test_the_recipe_is_stored_with_the_benchmark(data, tmp_path):
    data.put("other", "c23/R_real/train/one.mp4")
    recipe = CropRecipe(
        side=64, scale=0.8, shift=(0.0, -0.1), interpolation="area", border="reflect", resize=48
    )
    prepared = data.prepare(recipe=recipe)
    assert read_crop_recipe(prepared.json) == recipe
    assert cv2.imread(read_benchmark(prepared.json).videos[0].frames[0]).shape == (48, 48, 3)
    assert read_crop_recipe(tmp_path / "of_somebody_else.json") == CropRecipe(256, 1.3)
    prepared.json.with_name("Replica.crop.json").write_text("[]")
    with pytest.raises(ContractError, match="cannot be read"):
        read_crop_recipe(prepared.json)
