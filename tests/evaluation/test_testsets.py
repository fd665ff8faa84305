"""The videos of a test set and their crops as a model takes them, whatever lies on the disk."""

import json
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.data.crops import crop_pictures
from deepscan.data.crops.prepared_files import sidecar
from deepscan.errors import ContractError, ExitCode, MissingError, UsageError
from deepscan.evaluation import testsets as testsets_module
from deepscan.evaluation.protocols import TestSet as AskedSet
from deepscan.evaluation.testsets import crop_reader, from_benchmark, from_generator, from_pictures
from deepscan.faces.align import align
from tests.data.crops.test_crop_cache import COLOURS, DOTS, RECIPE, DotFinder
from tests.evaluation.replica import benchmark, toy_scorer, write_crop

#: DeepfakeBench's own, which is meant where nothing is stated.
PLAIN = CropRecipe()
TIGHT = CropRecipe(side=160, scale=0.75, shift=(0.0, -0.16), interpolation="area", border="reflect")
TEST = AskedSet("Mine", "Mine")


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return toy_scorer(tmp_path_factory.mktemp("models") / "toy").card


def frame():
    """A frame of soft blobs, so that reading it between its pixels twice costs little."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (480, 480), interpolation=cv2.INTER_CUBIC)


#: A face that is turned a little and whose crop at scale 1.3 is 300 pixels wide in the frame.
ANGLE = np.radians(9)
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
FACE = (((PLAIN.template - 128) * 300 / 256) @ TURN.T + 240).astype(np.float32)


def read(tmp_path, card, given, wanted, stored=0):
    """Return the crop that a model gets of the face's crop by another recipe, and what is said of it."""
    crop = align(frame(), FACE, given)
    if stored:
        crop = cv2.resize(crop, (stored, stored), interpolation=cv2.INTER_AREA)
    path = tmp_path / "crop.png"
    assert cv2.imwrite(str(path), crop[..., ::-1])
    reader, notes = crop_reader(given, replace(card, crop=wanted), "these crops")
    return reader(FaceVideo("Mine", "x_fake", 1, "test", "v", (str(path),)), 0), notes


@pytest.mark.parametrize("resize", [None, 224, 448])
def test_crops_of_the_models_own_recipe_are_what_a_scan_would_give_it(tmp_path, card, resize):
    wanted = replace(PLAIN, resize=resize)
    crop, notes = read(tmp_path, card, PLAIN, wanted)
    np.testing.assert_array_equal(crop, align(frame(), FACE, wanted))
    assert notes == ()


@pytest.mark.parametrize(
    "wanted", [TIGHT, CropRecipe(side=224, scale=1.0), CropRecipe(side=112, scale=1.2, resize=64)]
)
@pytest.mark.parametrize(
    ("given", "stored", "most", "mean"),
    [
        # Read between pixels twice instead of once.
        (PLAIN, 0, 3, 0.4),
        (CropRecipe(side=320, scale=1.5), 0, 3, 0.4),
        # Half of the detail is gone as well; half a pixel off would be 1.8 on average.
        (PLAIN, 128, 5, 0.6),
    ],
)
def test_crops_of_another_recipe_are_cut_to_where_the_frame_itself_would_have_been(
    tmp_path, card, given, stored, most, mean, wanted
):
    crop, (note,) = read(tmp_path, card, given, wanted, stored)
    apart = np.abs(crop.astype(int) - align(frame(), FACE, wanted))
    assert apart.max() <= most
    assert apart.mean() <= mean
    origin = f"crops of {given.side} px at scale {given.scale:g}, for a model of {wanted.scale:g}"
    assert note == f"cut anew out of {origin}"


@pytest.mark.parametrize(
    ("wanted", "share"),
    [
        # Of a side of 1.5 faces 0.2 lie outside of 1.3, a half of that on each side.
        (CropRecipe(scale=1.5), "7%"),
        (CropRecipe(shift=(0.1, 0.0)), "10%"),
    ],
)
def test_crops_that_show_too_little_are_refused(tmp_path, card, wanted, share):
    path = benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2]}})
    with pytest.raises(
        ContractError, match=rf"Mine\.json show less .* takes \(by {share} of its crop\)"
    ) as caught:
        from_benchmark([TEST], tmp_path, replace(card, crop=wanted))
    assert caught.value.exit_code == ExitCode.CONTRACT
    assert caught.value.hint == f"cut them for it: deepscan prepare ... --model {card.name}"
    stated = {"crop": CropRecipe(side=512, scale=2.0).to_json()}
    sidecar(path).write_text(json.dumps(stated))
    assert from_benchmark([TEST], tmp_path, replace(card, crop=wanted)).notes[0].startswith("cut anew out of")


def test_a_picture_that_is_none_gives_no_crop(tmp_path, card):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for wanted in (PLAIN, TIGHT):
        reader, _ = crop_reader(PLAIN, replace(card, crop=wanted), "these")
        for name in ("broken.png", "absent.png"):
            assert reader(FaceVideo("Mine", "x_fake", 1, "test", "v", (str(tmp_path / name),)), 0) is None


def test_a_benchmarks_videos_come_with_what_became_of_the_others(tmp_path, card):
    path = benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2, 3], "g": [4], "h": [5]}})
    stated = json.loads(path.read_text())
    fakes = stated["Mine"]["x_fake"]["test"]
    fakes["g"]["frames"] = []
    fakes["h"]["frames"] = ["nowhere/h/0.png"]
    fakes["f again"] = fakes["f"]
    path.write_text(json.dumps(stated))
    made = from_benchmark([TEST], tmp_path, card)
    assert {(video.kind, video.label, video.name): len(video.frames) for video in made.videos} == {
        ("x_real", 0, "r"): 1,
        ("x_fake", 1, "f"): 2,
        ("x_fake", 1, "g"): 0,
        ("x_fake", 1, "h"): 0,
    }
    assert made.without == {("x_fake", "g"): "no_frames", ("x_fake", "h"): "no_file"}
    assert made.dropped == {"duplicate": 1}
    assert {video.dataset for video in made.videos} == {"Mine"}


def test_videos_that_prepare_got_nothing_of_are_videos_without_a_score(tmp_path, card):
    benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2]}})
    journal = [
        ("x_fake", "test", "f", "ok"),
        ("x_fake", "test", "g", "no_face"),
        ("x_fake", "test", "h", "timeout"),
        ("x_fake", "val", "i", "no_face"),
        # A first attempt, and the second.
        ("x_real", "test", "r", "decode_error"),
        ("x_real", "test", "r", "ok"),
    ]
    lines = [
        {
            "schema": 1,
            "path": name,
            "kind": kind,
            "split": split,
            "name": name,
            "compression": "",
            "status": status,
        }
        for kind, split, name, status in journal
    ]
    (tmp_path / "Mine.videos.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    made = from_benchmark([TEST], tmp_path, card)
    assert made.without == {("x_fake", "g"): "no_face", ("x_fake", "h"): "timeout"}
    assert [(video.kind, video.label, video.name) for video in made.videos if not video.frames] == [
        ("x_fake", 1, "g"),
        ("x_fake", 1, "h"),
    ]


def test_tests_of_one_data_set_share_its_videos_and_only_their_kinds_are_read(tmp_path, card):
    of = {name: {"000": [grey]} for grey, name in enumerate(("FF-real", "FF-DF", "FF-NT", "FF-FS"))}
    benchmark(tmp_path, "FaceForensics++", of, level="c23")
    tests = [AskedSet(kind, "FaceForensics++", (kind,), compression="c23") for kind in ("FF-DF", "FF-NT")]
    made = from_benchmark(tests, tmp_path, card)
    assert [video.kind for video in made.videos] == ["FF-real", "FF-DF", "FF-NT"]
    assert made.tests == tuple(tests)
    whole = from_benchmark([AskedSet("all", "FaceForensics++", compression="c23")], tmp_path, card)
    assert len(whole.videos) == 4
    assert whole.key == made.key, "the scores of some kinds go on with those of others"


def test_what_the_videos_depend_on_is_in_their_key(tmp_path, card):
    path = benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2]}})
    keys = [from_benchmark([TEST], tmp_path, card).key]
    sidecar(path).write_text(json.dumps({"crop": CropRecipe(side=512).to_json()}))
    keys.append(from_benchmark([TEST], tmp_path, card).key)
    benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2], "g": [3]}})
    keys.append(from_benchmark([TEST], tmp_path, card).key)
    assert len(set(keys)) == 3


def test_a_kind_of_which_no_video_got_a_crop_is_missing_and_no_error(tmp_path, card):
    benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}})
    common = {"schema": 1, "path": "f", "kind": "y_fake", "split": "test", "compression": ""}
    line = {**common, "name": "f", "status": "no_face"}
    (tmp_path / "Mine.videos.jsonl").write_text(json.dumps(line) + "\n")
    found = from_benchmark([AskedSet("y_fake", "Mine", ("y_fake",))], tmp_path, card)
    assert [(video.kind, video.name, len(video.frames)) for video in found.videos] == [
        ("x_real", "r", 1),
        ("y_fake", "f", 0),
    ]
    assert found.without == {("y_fake", "f"): "no_face"}


def test_a_file_without_a_video_in_the_split_is_told(tmp_path, card):
    benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}})
    stated = json.loads((tmp_path / "Mine.json").read_text())
    stated["Mine"]["x_real"]["test"] = {}
    (tmp_path / "Mine.json").write_text(json.dumps(stated))
    with pytest.raises(MissingError, match="no video in the split test") as raised:
        from_benchmark([TEST], tmp_path, card)
    assert "--split test" in raised.value.hint
    with pytest.raises(MissingError, match=r"no Other\.json"):
        from_benchmark([AskedSet("Other", "Other")], tmp_path, card)


def dotted(path, grey):
    """A picture whose dots `DotFinder` takes for a face."""
    image = np.full((64, 64, 3), grey, np.uint8)
    for (x, y), colour in zip(DOTS.astype(int), COLOURS, strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = colour
    assert cv2.imwrite(str(path), image[..., ::-1])


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """A folder with faces.csv: two sources, two splits, a video of two frames and one without a face."""
    monkeypatch.setattr(crop_pictures, "open_finder", DotFinder)
    in_here = partial(testsets_module.prepare_crops, workers=0)
    monkeypatch.setattr(testsets_module, "prepare_crops", in_here)
    data = tmp_path / "faces"
    data.mkdir()
    rows = [
        ("a0.png", "real", "A", "val", "one", "a"),
        ("a1.png", "real", "A", "val", "one", "a"),
        ("b.png", "fake", "A", "val", "one", "b"),
        ("c.png", "fake", "C", "val", "one", "c"),
        ("d.png", "real", "D", "train", "one", "d"),
        ("e.png", "fake", "E", "val", "two", "e"),
    ]
    for index, (name, *_) in enumerate(rows):
        dotted(data / name, 60 + 20 * index)
    write_crop(data / "c.png", 90)
    lines = [",".join(("file", "label", "group", "split", "source", "video")), *map(",".join, rows)]
    (data / "faces.csv").write_text("\n".join(lines) + "\n")
    return data


def test_each_source_of_a_folder_of_faces_is_a_test_set_of_its_val(tmp_path, faces, card):
    one, two = from_pictures(faces, replace(card, crop=RECIPE), tmp_path / "cache")
    assert [(made.name, made.tests[0].name, made.tests[0].split) for made in (one, two)] == [
        ("one", "one", "val"),
        ("two", "two", "val"),
    ]
    assert [(v.kind, v.label, v.name, v.split, len(v.frames)) for v in one.videos] == [
        ("real", 0, "a", "val", 2),
        ("fake", 1, "b", "val", 1),
        ("fake", 1, "c", "val", 0),
    ]
    assert one.without == {("fake", "c"): "no_face"}
    assert one.groups == {("real", "a"): "A", ("fake", "b"): "A", ("fake", "c"): "C"}
    assert "chose the epoch" in one.notes[0]
    greys = [
        made.read(video, number)
        for made in (one, two)
        for video in made.videos
        for number in range(len(video.frames))
    ]
    # The lower left corner is free of dots.
    assert [int(crop[-1, 0, 0]) for crop in greys] == [60, 80, 100, 160]
    assert all(crop.shape == (32, 32, 3) for crop in greys)


def test_only_the_sources_that_a_model_was_trained_on_are_its_own(tmp_path, faces, card):
    trained = replace(card, crop=RECIPE, trained={"recipe": {"sources": ["two"]}})
    (made,) = from_pictures(faces, trained, tmp_path / "cache")
    assert made.name == "two"


def test_a_folder_without_val_says_what_to_do(tmp_path, faces, card):
    index = faces / "faces.csv"
    index.write_text(index.read_text().replace(",val,", ",train,"))
    with pytest.raises(UsageError, match="no picture in the split val") as caught:
        from_pictures(faces, replace(card, crop=RECIPE), tmp_path / "cache")
    assert "into val" in caught.value.hint


def test_a_generators_pictures_are_read_from_their_middle_and_not_resized(tmp_path, card):
    for kind, grey in (("0_real", 50), ("1_fake", 200)):
        folder = tmp_path / "test" / "progan" / "cat" / kind
        folder.mkdir(parents=True)
        image = np.zeros((128, 96, 3), np.uint8)
        image[32:96, 16:80] = grey
        assert cv2.imwrite(str(folder / "x.png"), image)
    made = from_generator(AskedSet("progan", "progan"), tmp_path, card)
    assert [(video.kind, video.label) for video in made.videos] == [("0_real", 0), ("1_fake", 1)]
    crops = [made.read(video, 0) for video in made.videos]
    assert [np.unique(crop).tolist() for crop in crops] == [[50], [200]], "64 pixels are the model's side"
    (tmp_path / "test" / "progan" / "cat" / "1_fake" / "x.png").write_bytes(b"")
    assert made.read(made.videos[1], 0) is None
    with pytest.raises(MissingError) as caught:
        from_generator(AskedSet("dalle", "dalle"), tmp_path, card)
    assert "diffusion_datasets/laion/0_real" in caught.value.hint
