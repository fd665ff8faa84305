"""Faces, landmarks and masks of videos and sequences, with a fake face finder."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import read_benchmark
from deepscan.data.crops.crop_videos import in_crop
from deepscan.faces.align import align
from deepscan.faces.face import Detection
from deepscan.media.jobs import DecodeJob, DecodeOptions, FrameReady
from deepscan.media.pool import DecodePool
from tests import awkward

from .numbered import FACE, FACELESS, RECIPE, Finder


def test_crops_show_the_largest_face_of_the_sampled_frames(data, clips):
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
        # The finder's points are a rotated template, so alignment maps them back to the template.
        np.testing.assert_allclose(points, RECIPE.template, atol=1e-3)


@pytest.mark.parametrize("resize", [None, 48])
def test_landmarks_are_in_pixels_of_the_stored_crop(resize):
    recipe = CropRecipe(side=64, resize=resize)
    image = np.zeros((96, 160, 3), np.uint8)
    (x, y) = np.rint(FACE[2]).astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    crop = align(image, FACE, recipe)[..., 0].astype(float)
    rows, columns = np.indices(crop.shape)
    centre = [(columns * crop).sum() / crop.sum(), (rows * crop).sum() / crop.sum()]
    # The dot is accurate to half a pixel, which the crop enlarges a little.
    assert np.abs(in_crop(FACE, recipe)[2] - centre).max() < 0.7


def test_masks_are_aligned_like_their_frames(data, clips):
    # The mask is the video itself, so it must look like the crops in grey.
    data.put("plain", "c23/R_fake/train/one.mp4", "masks/R_fake/one.mp4")
    (video,) = read_benchmark(data.prepare().json).videos
    assert [path.rsplit("/", 3)[1:] for path in video.masks] == [
        ["masks", "one", f"{frame:03}.png"] for frame in (0, 3, 6)
    ]
    for crop, mask in zip(video.frames, video.masks, strict=True):
        grey = cv2.cvtColor(cv2.imread(crop), cv2.COLOR_BGR2GRAY)
        moved = cv2.imread(mask, cv2.IMREAD_UNCHANGED)
        assert moved.shape == grey.shape
        # The order of grey conversion and alignment changes the rounding.
        assert np.abs(moved.astype(int) - grey).max() <= 2
        assert grey.std() > 20, "the crop is not uniform"


def test_masks_that_end_early_or_differ_in_size_are_missing_with_a_warning(data):
    clips_of = {"one": ("plain", "other"), "two": ("other", "faceless")}
    clips_of |= {"three": ("other", "empty"), "four": ("other", "plain")}
    for name, (clip, mask) in clips_of.items():
        data.put(clip, f"c23/R_fake/train/{name}.mp4")
        data.put(mask, f"masks/R_fake/{name}.mp4")
    videos = {video.name: video for video in read_benchmark(data.prepare().json).videos}
    assert [mask.rsplit("/", 1)[-1] for mask in videos["one"].masks] == ["000.png", "003.png", ""]
    assert videos["two"].masks == videos["three"].masks == ()
    assert len(videos["four"].masks) == 3, "additional masks do not matter"
    warnings = {line["name"]: line["warnings"] for line in data.journal()}
    assert warnings == {
        "one": ["missing masks: 1 of 3: there are fewer masks than frames"],
        "two": ["missing masks: 3 of 3: they are 192 x 96 pixels, but the frames 160 x 96"],
        "three": ["missing masks: 3 of 3: the file is empty"],
        "four": [],
    }


def test_masks_added_later_are_cut_by_the_next_run(data, decoded):
    data.put("other", "c23/R_fake/train/one.mp4")
    assert read_benchmark(data.prepare().json).videos[0].masks == ()
    data.put("other", "masks/R_fake/one.mp4")
    assert len(read_benchmark(data.prepare().json).videos[0].masks) == 3


def test_a_folder_of_masks_is_matched_by_frame_index(data):
    data.put("plain", "c23/R_fake/train/one.mp4")
    folder = data.root / "masks/R_fake/one.mp4"
    folder.mkdir(parents=True)
    for at in range(7):
        cv2.imwrite(str(folder / f"{at + 5}.png"), np.full((96, 160), 30 * at, np.uint8))
    (folder / "Thumbs.db").write_bytes(b"not a mask")
    (video,) = read_benchmark(data.prepare().json).videos
    masks = [cv2.imread(mask, cv2.IMREAD_GRAYSCALE) for mask in video.masks]
    assert [mask.max() for mask in masks] == [0, 90, 180]


def picture(path, size=(160, 96)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), awkward.picture(5, *size)[..., ::-1])


def test_pictures_of_a_sequence_get_a_margin(data, monkeypatch):
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
    # The finder sees the padded picture, so the landmarks are shifted by the margin.
    expected = align(awkward.picture(5), FACE - np.float32(24), RECIPE)
    np.testing.assert_array_equal(cv2.imread(video.frames[0])[..., ::-1], expected)
    (line,) = data.journal()
    assert line["warnings"] == ["unreadable pictures: 1 of 3"]


def test_a_sequence_without_a_face_or_a_readable_picture_is_dropped(data):
    picture(data.root / "c23/R_real/test/blank/0.png", (FACELESS[0] - 48, 96))
    broken = data.root / "c23/R_real/test/broken"
    broken.mkdir(parents=True)
    (broken / "0.png").write_bytes(b"")
    data.put("other", "c23/R_real/test/good.mp4")
    data.prepare()
    assert {line["name"]: (line["status"], line["detail"]) for line in data.journal()} == {
        "blank": ("no_face", "no face was found in 1 sampled frame"),
        "broken": ("decode_error", "none of the 1 pictures can be read"),
        "good": ("ok", ""),
    }


def test_a_sequence_that_is_new_or_has_grown_is_cut_again(data):
    data.put("other", "c23/R_real/test/good.mp4")
    sequence = data.root / "c23/R_real/test/seq"
    sequence.mkdir()
    found = []
    for count in (0, 2, 5):
        for at in range(count):
            # All files have the same size, so that the sum does not depend on the sampled ones.
            picture(sequence / f"{at}.png")
        videos = {video.name: video for video in read_benchmark(data.prepare(frames=2).json).videos}
        found.append([Path(frame).name for frame in videos["seq"].frames] if "seq" in videos else [])
    assert found == [[], ["000.png", "001.png"], ["000.png", "004.png"]]


def test_a_face_that_cannot_be_aligned_fails_only_its_video(data, monkeypatch):
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
    assert bad["detail"].startswith("cropping a face failed at frame 6")
    assert not (data.out / "Replica/c23/R_real/frames/bad").exists(), "crops of other frames are removed"
