"""What is prepared of a small data set, what is told of it, and how it goes on behind what is there."""

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


class Heard(PrepareListener):
    """Keeps what it is told."""

    def __init__(self):
        self.plans, self.lines = [], []

    def planned(self, todo, done):
        self.plans.append((todo, done))

    def ended(self, line):
        self.lines.append(line)


def test_a_benchmark_holds_what_has_faces_and_the_journal_everything(data):
    data.put("plain", "c23/R_real/train/one.mp4", "c40/R_real/train/one.mp4")
    data.put("other", "c23/R_fake/train/before.mp4")
    data.put("faceless", "c23/R_fake/test/three.mp4")
    data.put("empty", "c23/R_real/test/four.mp4")
    heard = Heard()
    prepared = data.prepare(heard)
    assert prepared.json == data.out / "Replica.json"
    assert prepared.videos == 2
    assert int(prepared.exit_code) == 3, "a file that cannot be decoded is a failure"
    found = {(line["kind"], line["split"], line["name"]): line for line in data.journal()}
    assert {key: (line["status"], line["sampled"], line["faces"]) for key, line in found.items()} == {
        ("R_real", "train", "one"): ("ok", 3, 3),
        ("R_fake", "train", "before"): ("ok", 3, 3),
        ("R_fake", "test", "three"): ("no_face", 3, 0),
        ("R_real", "test", "four"): ("decode_error", 0, 0),
    }, "and nothing of c40, which was not asked for"
    assert heard.plans == [(4, 0)]
    assert sorted(heard.lines, key=json.dumps) == data.journal()
    videos = read_benchmark(prepared.json).videos
    assert [(v.kind, v.label, v.split, v.name, v.compression) for v in videos] == [
        ("R_real", 0, "train", "one", "c23"),
        ("R_fake", 1, "train", "before", "c23"),
    ], "kinds as the layout has them, whatever ended first"
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


def test_a_video_of_several_splits_that_changes_changes_in_all(data):
    data.put("other", "c23/R_real/all/one.mp4")
    data.prepare(splits=("test",))
    data.put("plain", "c23/R_real/all/one.mp4")
    heard = Heard()
    videos = read_benchmark(data.prepare(heard, splits=("val",)).json).videos
    assert heard.plans == [(2, 0)]
    assert [video.split for video in videos] == ["val", "test"], "what was not asked for stays away"
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


def test_a_video_that_is_named_twice_counts_once(data, monkeypatch, decoded):
    data.put("other", "c23/R_real/test/one.mp4")
    once = Replica.videos
    monkeypatch.setattr(Replica, "videos", lambda self, root: [*once(self, root), *once(self, root)])
    prepared = data.prepare()
    assert (prepared.videos, prepared.repeated, len(prepared.lines)) == (1, 1, 1)
    assert decoded == {"one.mp4": 1}


def test_videos_of_the_same_bytes_are_told_and_kept(data):
    data.put("other", "c23/R_real/all/one.mp4", "c23/R_fake/test/two.mp4")
    data.put("plain", "c23/R_fake/test/three.mp4")
    data.put("empty", "c23/R_fake/test/four.mp4", "c23/R_fake/test/five.mp4")
    assert not data.prepare(kinds=("R_fake",)).same, "what has no crops is dropped for that alone"
    prepared = data.prepare()
    assert prepared.videos == 5
    # One path in three splits is one video.
    assert [[(line["kind"], line["name"]) for line in group] for group in prepared.same] == [
        [("R_fake", "two"), ("R_real", "one")]
    ]
    sums = {line["name"]: line["sha256"] for line in data.journal()}
    assert (
        sums["one"] == sums["two"] == sha256((data.root / "c23/R_fake/test/two.mp4").read_bytes()).hexdigest()
    )
    assert sums["three"] != sums["one"]


def test_a_kind_that_was_not_downloaded_in_a_compression_is_not_left_out_silently(data):
    data.put("other", "c23/R_real/test/one.mp4", "c23/R_fake/test/two.mp4", "c40/R_real/test/one.mp4")
    with pytest.raises(MissingError, match="has no R_fake in c40") as raised:
        data.prepare(compression="c40", kinds=())
    assert "--kind" in raised.value.hint
    assert data.files() == set()
    assert data.prepare(compression="c40", kinds=("R_real",)).videos == 1


def test_names_that_cannot_be_folders_names_get_others(data, monkeypatch):
    names = ("a\\b", "a_b", "c/d", "ä" * 200)
    files = [data.put("other", f"c23/R_real/test/{at}.mp4") for at in range(len(names))]
    videos = [
        SourceVideo(file, "R_real", "test", name, "c23") for file, name in zip(files, names, strict=True)
    ]
    monkeypatch.setattr(Replica, "videos", lambda self, root: videos)
    read = read_benchmark(data.prepare(kinds=("R_real",)).json)
    assert {video.name for video in read.videos} == set(names), "and keep their own in the benchmark"
    assert not read.drops
    assert len({Path(video.frames[0]).parent for video in read.videos}) == len(names)


def test_splits_kinds_compressions_and_limits_come_one_after_another(data, decoded):
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


def test_what_is_done_stays_done_until_its_file_or_its_crops_change(data, decoded):
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


def test_what_was_begun_otherwise_is_not_gone_on_with(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.prepare()
    before = data.files()
    for other in (
        {"frames": 2},
        {"faces": "exact"},
        {"faces_device": "cuda"},
        {"recipe": CropRecipe(side=48)},
    ):
        with pytest.raises(ContractError, match=r"was prepared otherwise: \w+ was "):
            data.prepare(**other)
    assert data.files() == before
    data.prepare(frames=2, overwrite=True)
    (video,) = read_benchmark(data.out / "Replica.json").videos
    assert [path.rsplit("/", 1)[1] for path in video.frames] == ["000.png", "003.png"]
    assert not (data.out / "Replica/c23/R_real/frames/one/001.png").exists(), (
        "no frame of the first run stays"
    )


def test_a_device_that_is_not_there_leaves_nothing_that_says_it_was_used(data, monkeypatch):
    data.put("other", "c23/R_real/train/one.mp4")
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    monkeypatch.setattr(prepare_module, "open_finder", open_finder)
    with pytest.raises(MissingError, match="--faces-device cuda"):
        data.prepare(faces_device="cuda")
    monkeypatch.setattr(prepare_module, "open_finder", Finder)
    data.prepare()


def test_another_folder_of_videos_needs_a_name_of_its_own(data, tmp_path):
    data.put("other", "c23/R_real/train/one.mp4")
    data.prepare()
    data.root.rename(tmp_path / "moved")
    data.root = tmp_path / "moved"
    with pytest.raises(ContractError, match="root was"):
        data.prepare()
    prepared = data.prepare(name="second")
    assert prepared.json == data.out / "second.json"
    assert read_benchmark(prepared.json).videos[0].dataset == "second"


def test_a_file_of_that_name_that_was_not_made_here_is_kept(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.out.mkdir()
    (data.out / "Replica.json").write_text("precious")
    with pytest.raises(UsageError, match="nothing that says how it was made"):
        data.prepare()
    assert (data.out / "Replica.json").read_text() == "precious"


def test_an_overwrite_that_finds_no_data_leaves_what_is_there(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.prepare()
    before = {name: (data.out / name).read_bytes() for name in data.files()}
    with pytest.raises(MissingError, match="no such video"):
        data.prepare(overwrite=True, splits=("val",))
    assert {name: (data.out / name).read_bytes() for name in data.files()} == before


def test_crops_never_go_among_the_videos(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.root.rename(data.root.parent / "Replica")
    data.root = data.out = data.root.parent / "Replica"
    with pytest.raises(UsageError, match="among the videos"):
        prepare_dataset(Replica(), data.root, data.root.parent, PrepareOptions())


def test_no_face_at_all_is_no_benchmark(data):
    data.put("faceless", "c23/R_real/train/one.mp4")
    data.put("empty", "c23/R_fake/train/two.mp4")
    with pytest.raises(UsageError, match=r"no video gave a crop: 1 no_face, 1 decode_error$"):
        data.prepare()
    assert not (data.out / "Replica.json").exists()


def test_a_disk_that_takes_no_crop_ends_the_run_with_a_word(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.out.mkdir()
    (data.out / "Replica").write_text("in the way")
    with pytest.raises(DeepscanError, match="cannot be written") as raised:
        data.prepare()
    assert "repeat the command" in raised.value.hint
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
        ({"name": "a/b"}, "leave slashes out"),
        ({"name": "a\\b"}, "leave slashes out"),
    ],
)
def test_options_check_themselves(data, options, hint):
    data.put("other", "c23/R_real/train/one.mp4")
    with pytest.raises(UsageError) as raised:
        data.prepare(**options)
    assert raised.value.hint == hint


def test_a_name_that_no_folder_can_have_is_refused(data, monkeypatch):
    path = data.put("other", "c23/R_real/train/one.mp4")
    video = SourceVideo(path, "R_real", "train", "..", "c23")
    monkeypatch.setattr(Replica, "videos", lambda self, root: [video])
    with pytest.raises(ContractError, match=r"a video called '\.\.'"):
        data.prepare()


def test_the_recipe_stands_beside_the_benchmark(data, tmp_path):
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
