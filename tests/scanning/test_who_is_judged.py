"""Test who is judged in scans of synthetic frames, with the real face finder and filter."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from deepscan.faces.face_filter import FaceFilter
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.frames import Frame
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.pipeline import Pipeline
from deepscan.scanning.sources import local_items
from tests.faces.alive import speaking
from tests.scanning.test_pipeline import Pool, Scorer, report

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SIDE = 288


class Reddish(Scorer):
    """Stub that calls a crop fake if its centre is more red than blue, like the astronaut's."""

    def score(self, crops):
        middle = crops[:, 16:48, 16:48].mean(axis=(1, 2))
        return np.where(middle[:, 0] > middle[:, 2] * 1.35, 0.98, 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def finder():
    return Mtcnn("fast", threads=1)


@pytest.fixture(scope="module")
def portrait(finder):
    """Return the astronaut, cut to a square around the face, and the landmarks in it."""
    picture = skimage.data.astronaut()
    face = finder.detect([picture])[0][0]
    middle = (face.box[:2] + face.box[2:]) / 2
    reach = 1.1 * face.height
    low = np.maximum(middle - reach, 0).astype(int)
    part = picture[low[1] : int(middle[1] + reach), low[0] : int(middle[0] + reach)]
    by = np.array([SIDE / part.shape[1], SIDE / part.shape[0]])
    square = cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return square, ((face.landmarks - low) * by).astype(np.float32)


def scanned(finder, left, right, scorer):
    """Return the record of a six-second video with two pictures side by side, filmed by an unsteady hand."""
    frames = []
    for index in range(8):
        rng = np.random.default_rng(index)
        image = np.concatenate([left(index), right(index)], axis=1)
        moved = np.float32([[1, 0, rng.uniform(-4, 4)], [0, 1, rng.uniform(-4, 4)]])
        image = cv2.warpAffine(image, moved, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        noisy = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        frames.append(Frame(index, 0.75 * index, noisy))
    pool = Pool({b"a": (frames, report())})
    options = ScanOptions(model="none")
    pipeline = Pipeline(options, pool, finder, [scorer], "run", pytest.fail, FaceFilter())
    (record,) = pipeline.scan(local_items([b"a"]))
    return record


def reasons(record):
    return {track["reason"]: track for track in record.tracks if track["sightings"] >= 4}


def test_a_photo_next_to_a_living_face_does_not_decide(finder, portrait):
    picture, landmarks = portrait
    blue = np.ascontiguousarray(picture[..., ::-1])
    record = scanned(finder, lambda at: speaking(blue, landmarks, at), lambda at: picture, Reddish())
    tracks = reasons(record)
    assert set(tracks) == {None, "still"}
    assert (tracks["still"]["score"], tracks[None]["score"]) == (pytest.approx(0.98), pytest.approx(0.1))
    assert record.score == pytest.approx(0.1)


def test_a_photo_alone_is_judged(finder, portrait):
    picture, _ = portrait
    record = scanned(finder, lambda at: picture, lambda at: np.full_like(picture, 90), Reddish())
    (track,) = record.tracks
    assert (track["still"], track["counted"], track["reason"]) == (True, True, None)
    assert (record.status, record.score) == ("ok", pytest.approx(0.98))


@pytest.mark.parametrize(("name", "seed"), [("rings", 38), ("sockets", 14)])
def test_a_pattern_next_to_a_living_face_does_not_decide(finder, portrait, name, seed):
    spec = importlib.util.spec_from_file_location("made_patterns", SCRIPTS / "made_patterns.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pattern = module.pattern(name, np.random.default_rng(seed))
    picture, landmarks = portrait
    record = scanned(finder, lambda at: speaking(picture, landmarks, at), lambda at: pattern, Scorer(0.4))
    tracks = reasons(record)
    assert set(tracks) == {None, "no_face"}
    assert tracks["no_face"]["quality"]["size"] > 40 and not tracks["no_face"]["poor"]
