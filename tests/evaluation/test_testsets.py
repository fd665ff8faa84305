"""The videos of a test set, and their crops for a model, from every supported source."""

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
from deepscan.evaluation.protocols import TestSet as ProtocolTestSet
from deepscan.evaluation.testsets import crop_reader, from_benchmark, from_generator, from_pictures
from deepscan.faces.align import align
from tests.data.crops.test_crop_cache import COLOURS, DOTS, RECIPE, DotFinder
from tests.evaluation.replica import benchmark, toy_scorer, write_crop

#: The recipe of DeepfakeBench, the default of benchmark files.
PLAIN = CropRecipe()
TIGHT = CropRecipe(side=160, scale=0.75, shift=(0.0, -0.16), interpolation="area", border="reflect")
TEST = ProtocolTestSet("Mine", "Mine")


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return toy_scorer(tmp_path_factory.mktemp("models") / "toy").card


def frame():
    """A frame of soft blobs, which hardly changes when it is interpolated twice."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (480, 480), interpolation=cv2.INTER_CUBIC)


#: A slightly rotated face whose crop at scale 1.3 is 300 pixels wide in the frame.
ANGLE = np.radians(9)
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
FACE = (((PLAIN.template - 128) * 300 / 256) @ TURN.T + 240).astype(np.float32)


def read(tmp_path, card, source, target, stored=0):
    """Return the crop for a model made from a crop of another recipe, with the notes."""
    crop = align(frame(), FACE, source)
    if stored:
        crop = cv2.resize(crop, (stored, stored), interpolation=cv2.INTER_AREA)
    path = tmp_path / "crop.png"
    assert cv2.imwrite(str(path), crop[..., ::-1])
    reader, notes = crop_reader(source, replace(card, crop=target), "these crops")
    return reader(FaceVideo("Mine", "x_fake", 1, "test", "v", (str(path),)), 0), notes


@pytest.mark.parametrize("resize", [None, 224, 448])
def test_crops_of_the_models_recipe_equal_those_of_a_scan(tmp_path, card, resize):
    target = replace(PLAIN, resize=resize)
    crop, notes = read(tmp_path, card, PLAIN, target)
    np.testing.assert_array_equal(crop, align(frame(), FACE, target))
    assert notes == ()


@pytest.mark.parametrize(
    "target", [TIGHT, CropRecipe(side=224, scale=1.0), CropRecipe(side=112, scale=1.2, resize=64)]
)
@pytest.mark.parametrize(
    ("source", "stored", "max_error", "mean_error"),
    [
        # Interpolated twice instead of once.
        (PLAIN, 0, 3, 0.4),
        (CropRecipe(side=320, scale=1.5), 0, 3, 0.4),
        # Half of the detail is lost too; an offset of half a pixel would give 1.8 on average.
        (PLAIN, 128, 5, 0.6),
    ],
)
def test_crops_of_another_recipe_are_realigned(tmp_path, card, source, stored, max_error, mean_error, target):
    crop, (note,) = read(tmp_path, card, source, target, stored)
    errors = np.abs(crop.astype(int) - align(frame(), FACE, target))
    assert errors.max() <= max_error
    assert errors.mean() <= mean_error
    origin = f"crops of {source.side} px at scale {source.scale:g} for a model with scale {target.scale:g}"
    assert note == f"re-cropped from {origin}"


@pytest.mark.parametrize(
    ("target", "share"),
    [
        # A crop of scale 1.5 extends 0.2 beyond one of 1.3, half of it on each side.
        (CropRecipe(scale=1.5), "7%"),
        (CropRecipe(shift=(0.1, 0.0)), "10%"),
    ],
)
def test_crops_that_are_too_tight_are_rejected(tmp_path, card, target, share):
    path = benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2]}})
    with pytest.raises(
        ContractError, match=rf"Mine\.json are too tight .* whose crop extends {share} beyond them"
    ) as caught:
        from_benchmark([TEST], tmp_path, replace(card, crop=target))
    assert caught.value.exit_code == ExitCode.CONTRACT
    assert caught.value.hint == f"prepare them for this model: deepscan prepare ... --model {card.name}"
    content = {"crop": CropRecipe(side=512, scale=2.0).to_json()}
    sidecar(path).write_text(json.dumps(content))
    assert from_benchmark([TEST], tmp_path, replace(card, crop=target)).notes[0].startswith("re-cropped from")


def test_unreadable_pictures_give_no_crop(tmp_path, card):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for target in (PLAIN, TIGHT):
        reader, _ = crop_reader(PLAIN, replace(card, crop=target), "these")
        for name in ("broken.png", "absent.png"):
            assert reader(FaceVideo("Mine", "x_fake", 1, "test", "v", (str(tmp_path / name),)), 0) is None


def test_videos_without_crops_have_a_reason(tmp_path, card):
    path = benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2, 3], "g": [4], "h": [5]}})
    content = json.loads(path.read_text())
    fakes = content["Mine"]["x_fake"]["test"]
    fakes["g"]["frames"] = []
    fakes["h"]["frames"] = ["nowhere/h/0.png"]
    fakes["f again"] = fakes["f"]
    path.write_text(json.dumps(content))
    dataset = from_benchmark([TEST], tmp_path, card)
    assert {(video.kind, video.label, video.name): len(video.frames) for video in dataset.videos} == {
        ("x_real", 0, "r"): 1,
        ("x_fake", 1, "f"): 2,
        ("x_fake", 1, "g"): 0,
        ("x_fake", 1, "h"): 0,
    }
    assert dataset.without == {("x_fake", "g"): "no_frames", ("x_fake", "h"): "no_file"}
    assert dataset.dropped == {"duplicate": 1}
    assert {video.dataset for video in dataset.videos} == {"Mine"}


def test_videos_without_crops_in_the_journal_have_no_score(tmp_path, card):
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
    dataset = from_benchmark([TEST], tmp_path, card)
    assert dataset.without == {("x_fake", "g"): "no_face", ("x_fake", "h"): "timeout"}
    assert [(video.kind, video.label, video.name) for video in dataset.videos if not video.frames] == [
        ("x_fake", 1, "g"),
        ("x_fake", 1, "h"),
    ]


def test_test_sets_of_a_data_set_share_its_videos_and_read_only_their_kinds(tmp_path, card):
    kinds = {name: {"000": [grey]} for grey, name in enumerate(("FF-real", "FF-DF", "FF-NT", "FF-FS"))}
    benchmark(tmp_path, "FaceForensics++", kinds, level="c23")
    tests = [
        ProtocolTestSet(kind, "FaceForensics++", (kind,), compression="c23") for kind in ("FF-DF", "FF-NT")
    ]
    dataset = from_benchmark(tests, tmp_path, card)
    assert [video.kind for video in dataset.videos] == ["FF-real", "FF-DF", "FF-NT"]
    assert dataset.tests == tuple(tests)
    whole = from_benchmark([ProtocolTestSet("all", "FaceForensics++", compression="c23")], tmp_path, card)
    assert len(whole.videos) == 4
    assert whole.key == dataset.key, "scores of some kinds can be extended by those of others"


def test_the_key_depends_on_videos_and_crops(tmp_path, card):
    path = benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2]}})
    keys = [from_benchmark([TEST], tmp_path, card).key]
    sidecar(path).write_text(json.dumps({"crop": CropRecipe(side=512).to_json()}))
    keys.append(from_benchmark([TEST], tmp_path, card).key)
    benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}, "x_fake": {"f": [2], "g": [3]}})
    keys.append(from_benchmark([TEST], tmp_path, card).key)
    assert len(set(keys)) == 3


def test_a_kind_without_any_crop_has_videos_without_scores(tmp_path, card):
    benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}})
    common = {"schema": 1, "path": "f", "kind": "y_fake", "split": "test", "compression": ""}
    line = {**common, "name": "f", "status": "no_face"}
    (tmp_path / "Mine.videos.jsonl").write_text(json.dumps(line) + "\n")
    found = from_benchmark([ProtocolTestSet("y_fake", "Mine", ("y_fake",))], tmp_path, card)
    assert [(video.kind, video.name, len(video.frames)) for video in found.videos] == [
        ("x_real", "r", 1),
        ("y_fake", "f", 0),
    ]
    assert found.without == {("y_fake", "f"): "no_face"}


def test_a_file_without_videos_in_the_split_is_an_error(tmp_path, card):
    benchmark(tmp_path, "Mine", {"x_real": {"r": [1]}})
    content = json.loads((tmp_path / "Mine.json").read_text())
    content["Mine"]["x_real"]["test"] = {}
    (tmp_path / "Mine.json").write_text(json.dumps(content))
    with pytest.raises(MissingError, match="no videos in the split test") as raised:
        from_benchmark([TEST], tmp_path, card)
    assert "--split test" in raised.value.hint
    with pytest.raises(MissingError, match=r"Other\.json is not in"):
        from_benchmark([ProtocolTestSet("Other", "Other")], tmp_path, card)


def dotted(path, grey):
    """Write a picture with the dots that `DotFinder` reports as a face."""
    image = np.full((64, 64, 3), grey, np.uint8)
    for (x, y), colour in zip(DOTS.astype(int), COLOURS, strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = colour
    assert cv2.imwrite(str(path), image[..., ::-1])


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """A folder with faces.csv: two sources, two splits, a video of two frames and one without a face."""
    monkeypatch.setattr(crop_pictures, "open_finder", DotFinder)
    in_process = partial(testsets_module.prepare_crops, workers=0)
    monkeypatch.setattr(testsets_module, "prepare_crops", in_process)
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


def test_each_source_of_a_picture_folder_is_a_test_set(tmp_path, faces, card):
    one, two = from_pictures(faces, replace(card, crop=RECIPE), tmp_path / "cache")
    assert [(dataset.name, dataset.tests[0].name, dataset.tests[0].split) for dataset in (one, two)] == [
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
    assert "used to select the epoch" in one.notes[0]
    greys = [
        dataset.read(video, number)
        for dataset in (one, two)
        for video in dataset.videos
        for number in range(len(video.frames))
    ]
    # The lower left corner is free of dots.
    assert [int(crop[-1, 0, 0]) for crop in greys] == [60, 80, 100, 160]
    assert all(crop.shape == (32, 32, 3) for crop in greys)


def test_only_the_sources_of_the_training_recipe_are_used(tmp_path, faces, card):
    trained = replace(card, crop=RECIPE, trained={"recipe": {"sources": ["two"]}})
    (dataset,) = from_pictures(faces, trained, tmp_path / "cache")
    assert dataset.name == "two"


def test_the_hint_for_a_folder_without_val(tmp_path, faces, card):
    index = faces / "faces.csv"
    index.write_text(index.read_text().replace(",val,", ",train,"))
    with pytest.raises(UsageError, match="no pictures in the split val") as caught:
        from_pictures(faces, replace(card, crop=RECIPE), tmp_path / "cache")
    assert "into val" in caught.value.hint


def test_pictures_of_generators_are_cropped_at_their_centre(tmp_path, card):
    for kind, grey in (("0_real", 50), ("1_fake", 200)):
        folder = tmp_path / "test" / "progan" / "cat" / kind
        folder.mkdir(parents=True)
        image = np.zeros((128, 96, 3), np.uint8)
        image[32:96, 16:80] = grey
        assert cv2.imwrite(str(folder / "x.png"), image)
    dataset = from_generator(ProtocolTestSet("progan", "progan"), tmp_path, card)
    assert [(video.kind, video.label) for video in dataset.videos] == [("0_real", 0), ("1_fake", 1)]
    crops = [dataset.read(video, 0) for video in dataset.videos]
    assert [np.unique(crop).tolist() for crop in crops] == [[50], [200]], "the model's side is 64 pixels"
    (tmp_path / "test" / "progan" / "cat" / "1_fake" / "x.png").write_bytes(b"")
    assert dataset.read(dataset.videos[1], 0) is None
    with pytest.raises(MissingError) as caught:
        from_generator(ProtocolTestSet("dalle", "dalle"), tmp_path, card)
    assert "diffusion_datasets/laion/0_real" in caught.value.hint
