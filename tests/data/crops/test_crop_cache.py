"""Crops and their cache, with a fake face finder."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.crops import crop_cache as crops_module
from deepscan.data.crops import crop_pictures
from deepscan.data.crops.crop_cache import CropSet, cache_key, prepare_crops
from deepscan.data.crops.crop_pictures import find_landmarks
from deepscan.data.pictures import LabelledPicture
from deepscan.errors import MissingError, UsageError
from deepscan.faces.align import align
from deepscan.faces.face import Detection

RECIPE = CropRecipe(side=32, scale=0.75, shift=(0.0, -0.16), interpolation="area", border="reflect")
#: Five coloured dots represent eyes, nose and mouth corners, as (x, y) in a picture of 64: their positions in
#: the crop, scaled by 1.5 and shifted.
DOTS = np.rint(RECIPE.template * 1.5 + (7, 6)).astype(np.float32)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))


class DotFinder:
    """Reports the dots as landmarks; a picture without them has no face."""

    def __init__(self, mode="fast", device="cpu", threads=None):
        pass

    def detect(self, images):
        return [self._faces(image.astype(int)) for image in images]

    @staticmethod
    def _faces(image):
        found = []
        for colour in COLOURS:
            y, x = np.nonzero((np.abs(image - colour) < 60).all(axis=2))
            if not len(x):
                return []
            # The margin has mirrored dots: those of the picture are nearest to the centre.
            nearest = np.argsort(np.hypot(x - image.shape[1] / 2, y - image.shape[0] / 2))[:9]
            found.append((x[nearest].mean(), y[nearest].mean()))
        return [Detection(np.zeros(4, np.float32), np.array(found, np.float32), 1.0)]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_pictures, "open_finder", DotFinder)
    made = []
    for at in range(5):
        image = np.full((64, 64, 3), 40 + 20 * at, np.uint8)
        if at != 2:
            for (x, y), colour in zip(DOTS.astype(int), COLOURS, strict=True):
                image[y - 1 : y + 2, x - 1 : x + 2] = colour
        path = tmp_path / f"{at}.png"
        cv2.imwrite(str(path), image[..., ::-1])
        made.append(LabelledPicture(path, at % 2, f"g{at}", "val" if at == 4 else "train", "made", f"v{at}"))
    return made


def test_landmarks_exclude_the_margin(pictures):
    image = cv2.imread(str(pictures[0].path))[..., ::-1].copy()
    found = find_landmarks([image, np.zeros((64, 64, 3), np.uint8)], DotFinder())
    np.testing.assert_allclose(found[0], DOTS, atol=0.5)
    assert found[1] is None


def test_crops_are_aligned_and_pictures_without_a_face_are_counted(pictures, tmp_path):
    progress = []
    made = prepare_crops(
        pictures,
        RECIPE,
        tmp_path / "cache",
        workers=0,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert made.crops.shape == (4, 32, 32, 3)
    assert made.dropped == 1
    assert made.labels.tolist() == [0, 1, 1, 0]
    assert made.groups == ("g0", "g1", "g3", "g4")
    assert made.where("val").tolist() == [3]
    assert progress == [(5, 5)]
    for (x, y), colour in zip(RECIPE.template, COLOURS, strict=True):
        pixel = made.crops[0, round(float(y)), round(float(x))].astype(int)
        # Dots of 3 pixels are 2 wide in the crop, so their colour is mixed with the background.
        assert pixel[np.array(colour) == 255].min() > pixel[np.array(colour) == 0].max()


def test_the_second_call_reads_the_cache(pictures, tmp_path, monkeypatch):
    first = prepare_crops(pictures, RECIPE, tmp_path / "cache", workers=0)
    monkeypatch.setattr(crops_module, "_fill", None)
    again = prepare_crops(pictures, RECIPE, tmp_path / "cache", workers=0)
    assert np.array_equal(first.crops, again.crops)
    assert (first.labels.tolist(), first.dropped, first.key) == (
        again.labels.tolist(),
        again.dropped,
        again.key,
    )
    (index,) = (tmp_path / "cache").glob("*.json")
    assert json.loads(index.read_text())["recipe"] == RECIPE.to_json()


class Interrupted(DotFinder):
    """Processes one batch, and is then interrupted."""

    calls = 0

    def detect(self, images):
        Interrupted.calls += 1
        if Interrupted.calls > 1:
            raise KeyboardInterrupt
        return super().detect(images)


def test_interrupted_cutting_is_resumed(pictures, tmp_path, monkeypatch):
    whole = prepare_crops(pictures, RECIPE, tmp_path / "whole", workers=0)
    monkeypatch.setattr(crops_module, "_BATCH", 2)
    monkeypatch.setattr(crop_pictures, "open_finder", Interrupted)
    cache, progress = tmp_path / "cache", []
    with pytest.raises(KeyboardInterrupt):
        prepare_crops(pictures, RECIPE, cache, workers=0)
    # Simulate an interruption in the middle of a line and of a crop.
    (journal,), (crops,) = cache.glob("*.journal"), cache.glob("*.tmp")
    journal.write_text(journal.read_text() + "[2")
    crops.write_bytes(crops.read_bytes() + b"half")
    monkeypatch.setattr(crop_pictures, "open_finder", DotFinder)
    again = prepare_crops(
        pictures, RECIPE, cache, workers=0, on_progress=lambda *count: progress.append(count)
    )
    assert progress == [(4, 5), (5, 5)]
    assert np.array_equal(again.crops, whole.crops)
    assert (again.groups, again.dropped) == (whole.groups, whole.dropped)
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".u8"]


def test_the_key_depends_on_recipe_and_content_but_not_on_paths(pictures, tmp_path):
    key = cache_key(pictures, RECIPE)
    moved = []
    for picture in pictures:
        path = tmp_path / f"moved-{picture.path.name}"
        path.write_bytes(picture.path.read_bytes())
        moved.append(LabelledPicture(path, picture.label, picture.group, picture.split, picture.source, "v"))
    assert cache_key(moved, RECIPE) == key
    assert cache_key(moved, CropRecipe(side=32, scale=0.8)) != key
    moved[0].path.write_bytes(pictures[1].path.read_bytes())
    assert cache_key(moved, RECIPE) != key


def test_a_broken_picture_is_named(pictures, tmp_path):
    pictures[1].path.write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"1\.png is not a readable picture"):
        prepare_crops(pictures, RECIPE, tmp_path / "cache", workers=0)


def test_pictures_without_any_face_are_an_error_and_leave_no_cache(pictures, tmp_path):
    with pytest.raises(UsageError, match="no face was found in any of the 1 pictures"):
        prepare_crops(pictures[2:3], RECIPE, tmp_path / "cache", workers=0)

    assert not list((tmp_path / "cache").iterdir())


def test_worker_processes_use_the_real_face_finder(tmp_path):
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 128, np.uint8))
    with pytest.raises(UsageError, match="no face was found in any of the 1 pictures"):
        prepare_crops(
            [LabelledPicture(path, 0, "g", "train", "", "v")], RECIPE, tmp_path / "cache", workers=1
        )


def test_a_crop_set_validates_its_lengths():
    with pytest.raises(ValueError, match="do not match the lengths"):
        CropSet(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(1, np.int64), ("a",), ("v",), ("train",), 0, "")


def test_masks_are_aligned_like_their_pictures(pictures, tmp_path):
    image = cv2.imread(str(pictures[1].path))
    # The forged pixels are those of the first dot.
    mask = (np.abs(image[..., ::-1].astype(int) - COLOURS[0]).max(axis=2) == 0).astype(np.uint8) * 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    with_layer = [pictures[0], dataclasses.replace(pictures[1], mask=tmp_path / "mask.png"), *pictures[2:]]
    assert cache_key(with_layer, RECIPE) != cache_key(pictures, RECIPE)
    made = prepare_crops(with_layer, RECIPE, tmp_path / "cache", workers=0)
    forged = made.layers["forged"]
    assert forged.known.tolist() == [False, True, False, False]
    x, y = np.rint(RECIPE.template[0]).astype(int)
    assert forged.values[1, y, x] > 100
    assert np.abs(np.argwhere(forged.values[1] > 100) - (y, x)).max() <= 2
    assert not forged.values[[0, 2, 3]].any()
    assert not prepare_crops(pictures, RECIPE, tmp_path / "other", workers=0).layers
    cv2.imwrite(str(tmp_path / "mask.png"), mask[:32])
    with pytest.raises(UsageError, match="64 x 32 pixels, but its picture 64 x 64"):
        prepare_crops(with_layer, RECIPE, tmp_path / "cache", workers=0)


def test_landmarks_of_a_face_become_a_mask_of_their_hull(pictures, tmp_path):
    np.save(tmp_path / "0.npy", DOTS)
    with_layer = [dataclasses.replace(pictures[0], face=tmp_path / "0.npy"), *pictures[1:]]
    face = prepare_crops(with_layer, RECIPE, tmp_path / "cache", workers=0).layers["face"]
    assert face.known.tolist() == [True, False, False, False]
    inside = np.rint(RECIPE.template.mean(axis=0)).astype(int)
    assert face.values[0, inside[1], inside[0]] == 255
    assert face.values[0, 0].max() == 0
    np.save(tmp_path / "0.npy", DOTS[:2])
    with pytest.raises(UsageError, match="at least three"):
        prepare_crops(with_layer, RECIPE, tmp_path / "cache", workers=0)


def test_an_unreadable_file_is_reported_before_any_cutting(pictures, tmp_path, monkeypatch):
    pictures[-1].path.write_bytes(b"no picture")
    monkeypatch.setattr(crops_module, "_fill", None)
    with pytest.raises(UsageError, match=r"4\.png is not a readable picture"):
        prepare_crops(pictures, RECIPE, tmp_path / "cache", workers=0)


def test_frames_of_a_video_are_sampled_evenly():
    labels = np.array([0] * 10 + [1] * 3)
    crops = CropSet(
        np.zeros((13, 8, 8, 3), np.uint8),
        labels,
        ("g",) * 13,
        ("a",) * 10 + ("b",) * 3,
        ("train",) * 13,
        0,
        "",
    )
    assert crops.where("train").tolist() == list(range(13))
    assert crops.where("train", 4).tolist() == [0, 3, 6, 9, 10, 11, 12]
    assert crops.where("train", 4, "first").tolist() == [0, 1, 2, 3, 10, 11, 12]
    assert not len(crops.where("val", 4))


@pytest.mark.parametrize("fault", ["cut", "mask"])
def test_an_error_in_a_worker_process_keeps_its_type(tmp_path, fault):
    from tests.command import SAMPLES

    video = cv2.VideoCapture(str(SAMPLES / "real_astronaut.mp4"))
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), video.read()[1])
    picture = LabelledPicture(path, 0, "g", "train", "", "v")
    if fault == "cut":
        # A valid header without pixels: only full decoding fails.
        path.write_bytes(path.read_bytes()[:60])
    else:
        cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((8, 8), np.uint8))
        picture = dataclasses.replace(picture, mask=tmp_path / "mask.png")
    with pytest.raises(UsageError, match=r"not a readable picture|8 x 8 pixels") as raised:
        prepare_crops([picture], CropRecipe(side=32, scale=0.8), tmp_path / "cache", workers=1)
    assert raised.value.hint


def test_aligned_crops_are_not_searched_for_a_face(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_pictures, "find_landmarks", None)
    stored, image = CropRecipe(side=64, scale=1.3), np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    cv2.imwrite(str(tmp_path / "0.png"), image)
    picture = LabelledPicture(tmp_path / "0.png", 0, "g", "train", "made", "v", aligned=stored)
    same = prepare_crops([picture], stored, tmp_path / "same", workers=0)
    assert np.array_equal(same.crops[0], image[..., ::-1])
    tighter = dataclasses.replace(stored, side=32, scale=0.75)
    cut = prepare_crops([picture], tighter, tmp_path / "tighter", workers=0)
    points = stored.template
    assert np.array_equal(cut.crops[0], align(image[..., ::-1].astype(np.uint8), points, tighter))
    # The same crop stored at twice the size shows the same face.
    cv2.imwrite(str(tmp_path / "1.png"), np.repeat(np.repeat(image, 2, axis=0), 2, axis=1))
    large = dataclasses.replace(picture, path=tmp_path / "1.png")
    assert prepare_crops([large], stored, tmp_path / "large", workers=0).crops.shape == (1, 64, 64, 3)
    assert cache_key([large], stored) != cache_key([picture], stored)
    (tmp_path / "1.png").unlink()
    with pytest.raises(MissingError, match=r"1\.png is missing"):
        prepare_crops([large], stored, tmp_path / "large", workers=0)
