"""Training and scanning use the same crops: the landmarks are in the same places."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepscan.bench.stages import decode_within_memory
from deepscan.data.crops.crop_pictures import Cutter, find_landmarks
from deepscan.data.pictures import LabelledPicture
from deepscan.faces.align import align
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.jobs import DecodeOptions
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from tests.command import SAMPLES

SHARED = Path(__file__).parents[2] / "shared" / "data"
#: Largest allowed difference of the medians over all crops, as a fraction of the side.
LIMIT = 0.03


@pytest.fixture(scope="module")
def recipe():
    return load_card(DEFAULT_MODEL).crop


@pytest.fixture(scope="module")
def finder():
    return Mtcnn("exact", threads=2)


def sampled(paths, frames):
    """Yield every frame that a scan would use, with the faces it would find."""
    finder = Mtcnn("fast", threads=2)
    for path in paths:
        for frame in decode_within_memory([bytes(path)], DecodeOptions(frames=frames)).videos[0]:
            yield frame.image, finder.detect([frame.image])[0]


def tight(image, detection, random):
    """Return a picture as in face data sets: tight, not aligned, with random scale and shift."""
    eyes = detection.landmarks[:2].astype(np.float64)
    eye_distance = np.linalg.norm(eyes[1] - eyes[0])
    side = eye_distance / random.uniform(0.37, 0.46)
    left, top = eyes.mean(axis=0) - side * np.array([0.5, 0.29]) + random.uniform(-0.03, 0.03, 2) * side
    matrix = np.array([[224 / side, 0, -left * 224 / side], [0, 224 / side, -top * 224 / side]])
    return cv2.warpAffine(image, matrix, (224, 224), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)


def medians(crops, finder):
    """Return the median landmarks, detected again in each crop, as fractions of the side."""
    found = [points for points in find_landmarks(crops, finder) if points is not None]
    assert len(found) > 0.9 * len(crops)
    return np.median(found, axis=0) / crops[0].shape[0]


def cut(paths, recipe):
    pictures = [LabelledPicture(path, 0, "", "train", "", "") for path in paths]
    return [made[0] for made in Cutter(recipe)(pictures) if made is not None]


def test_training_and_scan_crops_of_the_same_faces_agree(recipe, finder, tmp_path):
    random = np.random.default_rng(0)
    scan, pictures = [], []
    for image, faces in sampled([SAMPLES / "real_astronaut.mp4", SAMPLES / "real_hopper.mp4"], 12):
        scan.append(align(image, faces[0].landmarks, recipe))
        pictures.append(tmp_path / f"{len(scan)}.png")
        cv2.imwrite(str(pictures[-1]), tight(image, faces[0], random)[..., ::-1])
    training = cut(pictures, recipe)
    assert len(training) == len(scan) == 24
    assert np.abs(medians(training, finder) - medians(scan, finder)).max() <= LIMIT


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs pictures and clips that are not part of the project")
def test_training_crops_of_the_data_set_and_scan_crops_of_clips_agree(recipe, finder):
    with (SHARED / "faces.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "DFDC"][::100]
    training = cut([SHARED / row["file"] for row in rows], recipe)
    with (SHARED / "clips.csv").open() as file:
        clips = [SHARED / row["file"] for row in csv.DictReader(file) if row["tier"] == "A"]
    scan = [
        align(image, faces[0].landmarks, recipe)
        for image, faces in sampled(clips, 2)
        if faces and faces[0].width >= 48
    ]
    assert len(training) > 100
    assert len(scan) > 60
    assert np.abs(medians(training, finder) - medians(scan, finder)).max() <= LIMIT
