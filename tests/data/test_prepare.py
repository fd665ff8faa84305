"""What becomes of a small data set of numbered frames, with a face finder that needs no nets."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest

from deepscan.data import prepare as prepare_module
from deepscan.data.benchmark import read_benchmark
from deepscan.data.extract import in_crop
from deepscan.data.layouts.layout import Layout, SourceVideo
from deepscan.data.prepare import Listener, PrepareOptions, prepare, read_crop_recipe
from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError
from deepscan.faces.align import align
from deepscan.faces.face import Detection
from deepscan.faces.recipe import CropRecipe
from deepscan.media.pool import DecodeJob, DecodeOptions, DecodePool, FrameReady
from tests import awkward

RECIPE = CropRecipe(side=64)
#: Where the finder sees a face in frames of 160 x 96, a little turned; on wider ones it sees none.
FACE = (RECIPE.template @ np.float32([[0.8, 0.1], [-0.1, 0.8]]) + (60, 20)).astype(np.float32)
FACELESS = (192, 96)


class Finder:
    """Sees the same two faces in every frame, but for wide ones."""

    mode = "fast"

    def __init__(self, mode="fast", device="cpu"):
        pass

    def detect(self, images):
        large = Detection(np.float32([40, 10, 140, 90]), FACE, 0.9)
        small = Detection(np.float32([0, 0, 10, 10]), FACE / 8, 0.99)
        return [[] if image.shape[1] == FACELESS[0] else [large, small] for image in images]


class Replica(Layout):
    """Videos as LEVEL/KIND/SPLIT/NAME.mp4, those in `all` being in every split, and masks in masks/KIND."""

    dataset = "Replica"
    labels = MappingProxyType({"R_real": 0, "R_fake": 1})
    origin = "nowhere"
    expects = "folders"
    nested = True

    def videos(self, root):
        for level in ("c23", "c40"):
            for kind in self.labels:
                for path in sorted((root / level / kind).glob("*/*")):
                    mask = root / "masks" / kind / path.name
                    for split in (
                        ("train", "val", "test") if path.parent.name == "all" else (path.parent.name,)
                    ):
                        frames = tuple(sorted(path.iterdir())) if path.is_dir() else ()
                        given = mask if mask.exists() else None
                        yield SourceVideo(path, kind, split, path.stem, level, given, frames)


class Heard(Listener):
    """Keeps what it is told."""

    def __init__(self):
        self.plans, self.lines = [], []

    def planned(self, todo, done):
        self.plans.append((todo, done))

    def ended(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {
        "plain": awkward.video(folder / "plain.mp4", 7),
        "other": awkward.video(folder / "other.mp4", 4, gop=1),
        "faceless": awkward.video(folder / "faceless.mp4", 4, size=FACELESS),
        "empty": awkward.empty(folder / "empty.mp4"),
    }


@pytest.fixture
def data(tmp_path, clips, monkeypatch):
    """Puts clips of the data set in their places, and prepares it."""
    monkeypatch.setattr(prepare_module, "FaceFinder", Finder)

    class Data:
        root, out = tmp_path / "raw", tmp_path / "out"

        def put(self, clip, place):
            path = self.root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clips.get(clip, clip), path)
            return path

        def prepare(self, listener=None, **options):
            options = PrepareOptions(**{"recipe": RECIPE, "frames": 3, "workers": 1, **options})
            return prepare(Replica(), self.root, self.out, options, listener)

        def journal(self):
            lines = (self.out / "Replica.videos.jsonl").read_text().splitlines()
            return sorted((json.loads(line) for line in lines), key=json.dumps)

        def files(self):
            return {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}

    return Data()


@pytest.fixture
def decoded(monkeypatch):
    """Counts what the pool is given to decode."""
    counts = Counter()
    submit = DecodePool.submit

    def counting(pool, job):
        counts[job.path.decode().rsplit("/", 1)[1]] += 1
        submit(pool, job)

    monkeypatch.setattr(DecodePool, "submit", counting)
    return counts


def test_a_benchmark_holds_what_has_faces_and_the_journal_everything(data):
    data.put("plain", "c23/R_real/train/one.mp4")
    data.put("other", "c23/R_fake/train/before.mp4")
    data.put("faceless", "c23/R_fake/test/three.mp4")
    data.put("empty", "c23/R_real/test/four.mp4")
    data.put("plain", "c40/R_real/train/one.mp4")
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


def test_crops_are_the_largest_face_of_the_sampled_frames(data, clips):
    data.put("plain", "c23/R_real/train/one.mp4")
    (video,) = read_benchmark(data.prepare().json).videos
    frames = []
    with DecodePool(DecodeOptions(frames=3), 1) as pool:
        pool.submit(DecodeJob(0, os.fsencode(clips["plain"])))
        while pool.busy:
            for event in pool.poll(0.5):
                if isinstance(event, FrameReady):
                    frames.append(align(event.frame.image, FACE, RECIPE))
                    event.release()
    assert len(frames) == len(video.frames) == 3
    for path, expected in zip(video.frames, frames, strict=True):
        np.testing.assert_array_equal(cv2.imread(path)[..., ::-1], expected)
        points = np.load(path.replace("/frames/", "/landmarks/").replace(".png", ".npy"))
        # The finder's points are a turned copy of the template: alignment turns them back onto it.
        np.testing.assert_allclose(points, RECIPE.template, atol=1e-3)


@pytest.mark.parametrize("resize", [None, 48])
def test_landmarks_are_told_in_the_pixels_of_the_crop_as_it_is_stored(resize):
    recipe = CropRecipe(side=64, resize=resize)
    image = np.zeros((96, 160, 3), np.uint8)
    (x, y) = np.rint(FACE[2]).astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    crop = align(image, FACE, recipe)[..., 0].astype(float)
    rows, columns = np.indices(crop.shape)
    middle = [(columns * crop).sum() / crop.sum(), (rows * crop).sum() / crop.sum()]
    # The dot is drawn to half a pixel, which the crop makes a little larger.
    assert np.abs(in_crop(FACE, recipe)[2] - middle).max() < 0.7


def test_masks_move_with_their_frames(data, clips):
    # The mask is the video itself, so that it must look as the crops do, but for their colours.
    data.put("plain", "c23/R_fake/train/one.mp4")
    data.put("plain", "masks/R_fake/one.mp4")
    (video,) = read_benchmark(data.prepare().json).videos
    assert [path.rsplit("/", 3)[1:] for path in video.masks] == [
        ["masks", "one", f"{at:03}.png"] for at in (0, 3, 6)
    ]
    for crop, mask in zip(video.frames, video.masks, strict=True):
        grey = cv2.cvtColor(cv2.imread(crop), cv2.COLOR_BGR2GRAY)
        moved = cv2.imread(mask, cv2.IMREAD_UNCHANGED)
        assert moved.shape == grey.shape
        # Greyed before or after it was cut: a rounding each.
        assert np.abs(moved.astype(int) - grey).max() <= 2
        assert grey.std() > 20, "there is something to see"


def test_masks_that_end_early_or_are_of_another_size_are_missing_and_told(data):
    data.put("plain", "c23/R_fake/train/one.mp4")
    data.put("other", "masks/R_fake/one.mp4")
    data.put("other", "c23/R_fake/train/two.mp4")
    data.put("faceless", "masks/R_fake/two.mp4")
    data.put("other", "c23/R_fake/train/three.mp4")
    data.put("empty", "masks/R_fake/three.mp4")
    data.put("other", "c23/R_fake/train/four.mp4")
    data.put("plain", "masks/R_fake/four.mp4")
    videos = {video.name: video for video in read_benchmark(data.prepare().json).videos}
    assert [mask.rsplit("/", 1)[-1] for mask in videos["one"].masks] == ["000.png", "003.png", ""]
    assert videos["two"].masks == videos["three"].masks == ()
    assert len(videos["four"].masks) == 3, "masks of more frames do as well"
    warnings = {line["name"]: line["warnings"] for line in data.journal()}
    assert warnings == {
        "one": ["masks that are missing: 1 of 3: the masks end before the frames"],
        "two": ["masks that are missing: 3 of 3: they are 192 x 96 pixels, the frames 160 x 96"],
        "three": ["masks that are missing: 3 of 3: the file is empty"],
        "four": [],
    }


def test_masks_that_come_later_are_cut_later(data, decoded):
    data.put("other", "c23/R_fake/train/one.mp4")
    assert read_benchmark(data.prepare().json).videos[0].masks == ()
    data.put("other", "masks/R_fake/one.mp4")
    assert len(read_benchmark(data.prepare().json).videos[0].masks) == 3


def test_a_folder_of_masks_goes_by_the_frames_of_a_video(data):
    data.put("plain", "c23/R_fake/train/one.mp4")
    folder = data.root / "masks/R_fake/one.mp4"
    folder.mkdir(parents=True)
    for at in range(7):
        cv2.imwrite(str(folder / f"{at + 5}.png"), np.full((96, 160), 30 * at, np.uint8))
    (folder / "Thumbs.db").write_bytes(b"no mask")
    (video,) = read_benchmark(data.prepare().json).videos
    masks = [cv2.imread(mask, cv2.IMREAD_GRAYSCALE) for mask in video.masks]
    assert [mask.max() for mask in masks] == [0, 90, 180]


def picture(path, size=(160, 96)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), awkward.picture(5, *size)[..., ::-1])


def test_a_sequence_of_pictures_is_cut_with_a_margin_around_them(data, monkeypatch):
    seen = []
    detect = Finder.detect
    monkeypatch.setattr(
        Finder,
        "detect",
        lambda self, images: seen.extend(image.shape for image in images) or detect(self, images),
    )
    sequence = data.root / "c23/R_real/test/seq"
    for at in range(5):
        picture(sequence / f"{at:02}.png")
    (sequence / "02.png").write_bytes(b"no picture")
    (video,) = read_benchmark(data.prepare().json).videos
    assert seen == [(96 + 2 * 24, 160 + 2 * 24, 3)] * 2, "a quarter of the short side, reflected"
    assert [path.rsplit("/", 1)[1] for path in video.frames] == ["000.png", "004.png"]
    # The finder saw the padded picture: there the face lies where it says, here a margin before that.
    expected = align(awkward.picture(5), FACE - np.float32(24), RECIPE)
    np.testing.assert_array_equal(cv2.imread(video.frames[0])[..., ::-1], expected)
    (line,) = data.journal()
    assert line["warnings"] == ["pictures that cannot be read: 1 of 3"]


def test_a_sequence_without_a_face_or_a_picture_is_dropped(data):
    picture(data.root / "c23/R_real/test/blank/0.png", (FACELESS[0] - 48, 96))
    broken = data.root / "c23/R_real/test/broken"
    broken.mkdir(parents=True)
    (broken / "0.png").write_bytes(b"")
    data.put("other", "c23/R_real/test/good.mp4")
    data.prepare()
    assert {line["name"]: (line["status"], line["detail"]) for line in data.journal()} == {
        "blank": ("no_face", "no face was found in 1 sampled frames"),
        "broken": ("decode_error", "none of its 1 pictures can be read"),
        "good": ("ok", ""),
    }


def test_a_video_of_several_splits_is_cut_once(data, decoded):
    data.put("other", "c23/R_real/all/one.mp4")
    data.prepare(splits=("test",))
    videos = read_benchmark(data.prepare().json).videos
    assert [video.split for video in videos] == ["train", "val", "test"]
    assert len({video.frames for video in videos}) == 1
    assert decoded == {"one.mp4": 1}


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


def test_splits_kinds_compressions_and_limits_come_one_after_another(data, decoded):
    for number in range(3):
        data.put("other", f"c23/R_real/train/r{number}.mp4")
        data.put("other", f"c23/R_fake/test/f{number}.mp4")
    data.put("other", "c40/R_real/train/c.mp4")
    assert data.prepare(limit=1).videos == 2
    assert sorted(decoded) == ["f0.mp4", "r0.mp4"]
    assert data.prepare(splits=("train",)).videos == 4
    assert data.prepare(kinds=("R_fake",)).videos == 6
    assert data.prepare(compression="c40").videos == 7
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
    assert data.prepare().videos == 4
    assert decoded == {"late.mp4": 1, "two.mp4": 1, "three.mp4": 1}
    decoded.clear()
    data.prepare(retry=frozenset({"no_face"}))
    assert decoded == {"blank.mp4": 1}


def test_what_was_begun_otherwise_is_not_gone_on_with(data):
    data.put("other", "c23/R_real/train/one.mp4")
    data.prepare()
    before = data.files()
    for other in ({"frames": 2}, {"faces": "exact"}, {"recipe": CropRecipe(side=48)}):
        with pytest.raises(ContractError, match=r"was prepared otherwise: \w+ was "):
            data.prepare(**other)
    assert data.files() == before
    data.prepare(frames=2, overwrite=True)
    (video,) = read_benchmark(data.out / "Replica.json").videos
    assert [path.rsplit("/", 1)[1] for path in video.frames] == ["000.png", "003.png"]
    assert not (data.out / "Replica/c23/R_real/frames/one/001.png").exists(), (
        "no frame of the first run stays"
    )


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
        prepare(Replica(), data.root, data.root.parent, PrepareOptions())


def test_no_face_at_all_is_no_benchmark(data):
    data.put("faceless", "c23/R_real/train/one.mp4")
    with pytest.raises(UsageError, match="no face was found in any of 1 videos"):
        data.prepare()
    assert not (data.out / "Replica.json").exists()
    assert data.journal()[0]["status"] == "no_face"


def test_a_face_that_cannot_be_cut_out_is_an_error_of_its_video_alone(data, monkeypatch):
    detect = Finder.detect

    def degenerate(self, images):
        point = Detection(np.float32([0, 0, 9, 9]), np.full((5, 2), 7, np.float32), 0.9)
        found = zip(images, detect(self, images), strict=True)
        return [[point] if awkward.number_of(image) == 6 else faces for image, faces in found]

    monkeypatch.setattr(Finder, "detect", degenerate)
    data.put("plain", "c23/R_real/train/bad.mp4")
    data.put("other", "c23/R_real/train/good.mp4")
    assert data.prepare().videos == 1
    bad = next(line for line in data.journal() if line["name"] == "bad")
    assert bad["status"] == "error"
    assert bad["detail"].startswith("cutting a face out failed at frame 6")
    assert not (data.out / "Replica/c23/R_real/frames/bad").exists(), "crops of other frames are taken back"


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
        ({"faces": "quick"}, "choose from: fast, exact"),
        ({"retry": frozenset({"noface"})}, "did you mean 'no_face'?"),
        ({"frames": 0}, "leave it out for its default"),
        ({"name": "a/b"}, "leave / out"),
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
